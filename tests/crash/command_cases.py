"""The commands around a model and after a publication, as cases of `make crash`."""

import contextlib
import datetime as dt
import inspect
import json
import os
import re
import sqlite3
from collections.abc import Mapping

import flows.audit
import flows.monitor
import flows.promote
import flows.rollback
import tasks.audit
import tasks.monitor
import tasks.shards.examination
import tasks.shards.judging
from tasks.core import layout
from tasks.core.definitions.project import Project
from tasks.core.errors import Differs, LakeError
from tasks.core.models.model_version import Candidate
from tasks.core.models.registry import Registry
from tasks.core.pruning import pruning
from tasks.core.rows import snapshot
from tasks.core.runs.run import manifests
from tasks.core.storage import Folder
from tasks.report_model import write_model_page
from tests.crash.commands import Command, Files
from tests.crash.harness import BEFORE, DONE, SECOND, Here, forked, run_without_prefect
from tests.crash.scoring import prepare_new, score_before, the_flow, write_other_rows
from tests.flows.conftest import LABELS, World, add_wrong_version, make_warehouse, readings

MODEL = "readings"
the_promotion = inspect.unwrap(flows.promote.promote.fn)
the_rollback = inspect.unwrap(flows.rollback.rollback.fn)
the_look = inspect.unwrap(flows.monitor.monitor.fn)
the_audit = inspect.unwrap(flows.audit.audit.fn)

# -- around a model ---------------------------------------------------------------------------------------------------

_VERDICT_PAGE = re.compile(r"promote-(\d{4})-(\d{6})")


def _prepare_two_versions(world: World) -> None:
    """Version 1 is production, version 2 could be."""
    add_wrong_version(world)
    Registry(world.lake).set_alias(MODEL, "production", 1, at=BEFORE, actor="ann", reason="it was better")
    write_model_page(MODEL)


def _prepare_two_reigns(world: World) -> None:
    """Version 2 is production, and version 1 was."""
    add_wrong_version(world)


def _promote(_world: World, _: object) -> None:
    tasks.shards.examination.worker_count = lambda *_: 0
    tasks.shards.judging.dt = tasks.promote.dt
    the_promotion(MODEL, 2, "it is better", "production", "", force=False)


def _roll_back(_world: World, _: object) -> None:
    """As somebody who finds the run crashed, and has Prefect run it again: it stays the same flow run."""
    os.environ["PREFECT__RUNTIME__FLOW_RUN__ID"] = "4f0b1f0e-6a5e-4a3e-9a52-0d6c1f1a7f10"
    the_rollback(MODEL, "it is worse")


def _history(world: World) -> dict[str, object]:
    """What the history says, and what follows from it; a gap or a half of an event cannot be read."""
    registry = Registry(world.lake)
    events = [(one.sequence, one.action, one.alias, one.version, one.reason) for one in registry.history(MODEL)]
    versions = [(one.version, one.digest) for one in registry.versions(MODEL)]
    return {"history": (events, registry.aliases(MODEL)), "versions": versions}


def _without_half_events(files: Files) -> object:
    """Every byte; but what is half written of an event goes with the next one that is written."""
    return {key: data for key, data in files.items() if "/events/.tmp-" not in key}


def _with_the_page_of_the_event(files: Files) -> object:
    """Every byte; but of the verdicts' pages that one alone which an event names, whatever its number: each attempt has one."""
    files = _without_half_events(files)
    named = {name for key, data in files.items() if "/events/" in key for name in _pages_in(data)}
    told = {}
    for key, data in files.items():
        found = _VERDICT_PAGE.search(key)
        if found is None or found.group() in named:
            told[_VERDICT_PAGE.sub(r"promote-\1-N", key)] = _VERDICT_PAGE.sub(r"promote-\1-N", data.decode("latin-1"))
    return told


def _pages_in(data: bytes) -> list[str]:
    return [found.group() for found in _VERDICT_PAGE.finditer(data.decode())]


def _candidate(world: World) -> Candidate:
    """What another version is made of."""
    registry = Registry(world.lake)
    version = registry.version(MODEL, 1)
    rows, expected = registry.probe(version)
    return Candidate(
        model_bytes=registry.read(version, version.signature.model_file),
        signature=version.signature,
        profile=registry.profile(version),
        benchmark={},
        probe=rows,
        expected=expected,
        card={"note": "the same once more"},
    )


def _register(world: World, candidate: Candidate) -> None:
    Registry(world.lake).register(MODEL, candidate, at=SECOND, actor="ann")
    write_model_page(MODEL)


def _numbers(world: World) -> dict[str, object]:
    """Of the versions only that what has a number is whole: to register again is to register another one."""
    registry = Registry(world.lake)
    versions = registry.versions(MODEL)
    for one in versions:
        for file in one.manifest.files:
            registry.read(one, file)
    assert [one.version for one in versions] == list(range(1, len(versions) + 1))
    return {"newest": [registry.card(versions[-1]), registry.aliases(MODEL)]}


def _whole_versions(files: Files) -> object:
    """Everything; of the versions what each is made of, because one that was killed when all was done is there twice."""
    told: dict[str, object] = {}
    made = set()
    for key, data in files.items():
        if key.endswith("manifest.json"):
            said = json.loads(data)
            made.add(json.dumps([said["files"], said["registered_by"]], sort_keys=True))
        elif "/versions/0" not in key and not key.endswith("index.html"):
            told[key] = data
    return told | {"versions": made}


# -- monitor ----------------------------------------------------------------------------------------------------------

_DAYS, _LOOKED_AT = ("2024-05-01", "2024-05-02"), "2024-05-05"
_AT = dt.datetime(2024, 5, 7, tzinfo=dt.UTC)


def _prepare_labels(world: World) -> None:
    """Two days are published; the labels of the second have come, those of the first are late."""
    make_warehouse(world).close()
    world.change_job(labels=LABELS | {"delay": "1d", "revisit": ["2d"]}, training=None)
    for day in _DAYS:
        ended = forked(world.folder, lambda day=day: _score(day))
        assert ended.outcome == DONE, ended
    with sqlite3.connect(world.folder / "warehouse.sqlite") as database:
        database.execute("DELETE FROM outcomes WHERE at < '2024-05-02'")
    database.close()


def _score(day: str, rescore: str = "") -> str:
    run_without_prefect(BEFORE)
    the_flow("readings", day, rescore)
    return DONE


def _look(_world: World, _: object) -> None:
    tasks.monitor.scheduled_at = lambda: _AT
    the_look("readings", _LOOKED_AT)


def _what_was_found(world: World) -> dict[str, object]:
    """Each folder of what a look keeps, and what was told: each is replaced as a whole, one after the other."""
    root = world.lake.root
    tables = (layout.LABELS, layout.PERFORMANCE, layout.MONITORING)
    found = {
        str(folder.relative_to(root)): _bytes_below(folder)
        for table in tables
        for folder in (root / table).glob("readings/as_of=*")
    }
    nothing = {f"{table}/readings/as_of={day}": {} for table in tables for day in (*_DAYS, _LOOKED_AT)}
    alarms = _bytes_below(root / layout.alarms("readings"))
    for key, files in found.items():
        # A look that could not read something says so, and the next one of its day takes its place.
        if b"Labels could not be used" in files.get(layout.MONITORED, b""):
            found[key] = {}
    return nothing | found | {"alarms": alarms, "predictions": _bytes_below(root / "predictions")}


def _bytes_below(folder) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".tmp-"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _pages_by_name(files: Files) -> object:
    """Every byte; but pages say when they were written, and what was replaced is left to the next look to remove."""
    kept = {key: data for key, data in files.items() if not key.startswith("scratch/")}
    return {key: b"" if key.startswith("reports/") else data for key, data in kept.items()}


# -- audit ------------------------------------------------------------------------------------------------------------


def _prepare_tampered(world: World) -> None:
    """A day is published, and somebody has changed a byte of what readers see; of another day nobody has."""
    prepare_new(world)
    world.write_rows(readings(60, _DAYS[1]), "second.parquet")
    for day in _DAYS:
        ended = forked(world.folder, lambda day=day: _score(day))
        assert ended.outcome == DONE, ended
    (part,) = (world.lake.root / layout.PREDICTIONS).glob(f"readings/as_of={_DAYS[0]}/*.parquet")
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)


def _audit(_world: World, _: object) -> None:
    tasks.audit.Workers = Here
    tasks.audit.scheduled_at = lambda: _AT
    with contextlib.suppress(Differs):
        the_audit("readings", (), 0, "1")


def _what_was_audited(world: World) -> dict[str, object]:
    """The record, whole or not there; who was told; and what an audit has no business to change."""
    root = world.lake.root
    kept = {table: _bytes_below(root / table) for table in (*layout.TABLES, "runs", "models")}
    records = _bytes_below(root / layout.audits("readings"))
    # A disk that could not be read is a finding, of which somebody is told; the next audit of the day takes its place.
    if any(b"not to be " in record or b"could not read" in record for record in records.values()):
        return kept | {"record": {}, "told": {}}
    return kept | {"record": records, "told": _bytes_below(root / layout.alarms("readings"))}


# -- prune ------------------------------------------------------------------------------------------------------------

_LATER = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
_RETENTION = dict.fromkeys(("snapshots", "superseded", "unpublished", "reports"), "30d")


def _prepare_outlived(world: World) -> None:
    """A window that was published twice, long ago: what it showed first can go, and the rows that were pulled."""
    prepare_new(world)
    score_before(world)
    write_other_rows(world)
    ended = forked(world.folder, lambda: _score(_DAYS[0], "other rows"))
    assert ended.outcome == DONE, ended
    world.change_job(retention=_RETENTION)


def _prune(world: World, _: object) -> None:
    found = pruning.prune(world.lake, Project(Folder(world.folder)), "readings", now=_LATER)
    if found.problem:
        raise LakeError(found.problem)


def _what_is_kept(world: World) -> dict[str, object]:
    """What readers see, and what explains it: whatever is gone, a manifest says so before."""
    root = world.lake.root
    runs = manifests(world.lake, "readings", _DAYS[0])
    for one in runs:
        has_rows = world.lake.exists(f"{one.workspace}/{snapshot.SNAPSHOT}")
        assert has_rows or one.pruned, f"the rows of {one.run_id} are gone, and its manifest does not say so"
    kept = {table: _bytes_below(root / table) for table in layout.TABLES}
    whole = {f"rows of {one.run_id}": world.lake.exists(f"{one.workspace}/{snapshot.SNAPSHOT}") for one in runs}
    return kept | whole | {"runs": [(one.run_id, one.state, one.replaces) for one in runs]}


COMMANDS: Mapping[str, Command] = {
    one.name: one
    for one in (
        Command(
            "promote",
            _prepare_two_versions,
            _promote,
            _history,
            _with_the_page_of_the_event,
            settled=("NothingToDo",),
        ),
        Command("roll back", _prepare_two_reigns, _roll_back, _history, _without_half_events),
        Command("register", _candidate, _register, _numbers, _whole_versions),
        Command("look", _prepare_labels, _look, _what_was_found, _pages_by_name),
        Command("audit", _prepare_tampered, _audit, _what_was_audited, _pages_by_name),
        Command("prune", _prepare_outlived, _prune, _what_is_kept),
    )
}
