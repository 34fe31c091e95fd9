"""What the tests of challengers share: a version beside production, and what each of the two has left."""

import pathlib
import shutil

from tasks.core.models.registry import Registry
from tasks.core.runs import challenger
from tests.flows.conftest import CHALLENGED_AT, DAY

FEATURES = {"kind": "string", "x": "float64", "y": "float64"}
OF_TIME = {"timings", "started_at", "finished_at", "peak_memory_bytes", "trigger"}


def record(world):
    """The challenger's record of what readers see."""
    found = challenger.read(world.lake, world.published())
    assert found is not None
    return found


def of_production(world):
    """All that production's run left, but for times: tables, manifest, and every file of its workspace and its table."""
    manifest = world.published()
    lake = pathlib.Path(world.lake.root)
    files = {
        str(path.relative_to(lake))
        for folder in ("predictions", "quarantine", "metrics", "runs", "superseded")
        for path in (lake / folder).rglob("*")
        if path.is_file() and "challenger" not in str(path.relative_to(lake)) and not path.name.startswith(".")
    }
    told = {key: value for key, value in manifest.model_dump(mode="json").items() if key not in OF_TIME}
    told["files"].pop("metrics")
    return world.partition_bytes(), world.table("quarantine").to_dict(), told, files


def challengers_of(world, as_of=DAY):
    folder = world.folder / "lake/challengers/readings" / f"as_of={as_of}"
    return {path.name: path.read_bytes() for path in folder.glob("*")}


def log(world):
    """How many rows each call was given, and the processes."""
    lines = [line.split() for line in (world.folder / "hostile/log").read_text().splitlines()]
    return [int(rows) for rows, _ in lines], {int(pid) for _, pid in lines}


def page(world):
    return (world.folder / f"lake/reports/readings/as_of={DAY}.html").read_text()


def every_file(world):
    lake = pathlib.Path(world.lake.root)
    return {str(path.relative_to(lake)) for path in lake.rglob("*") if path.is_file()}


def as_without_challenger(world):
    """What production's run leaves where no challenger is named; afterwards the lake is as before."""
    # The challenger has no part in production's plan, and neither has the folder: many tests have the same.
    known = world.job_file.read_text()
    if known in _alone:
        return _alone[known]
    aside = world.folder / "aside"
    shutil.copytree(world.lake.root, aside)
    Registry(world.lake).drop_alias("readings", "challenger", at=CHALLENGED_AT, actor="test", reason="a test")
    state = world.score()
    _alone[known] = (state.type.value, state.name, state.message, *of_production(world))
    assert not (world.folder / "lake/challengers").exists()
    shutil.rmtree(world.lake.root)
    aside.rename(world.lake.root)
    return _alone[known]


_alone = {}
