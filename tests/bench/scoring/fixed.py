"""What a run costs that scores next to nothing, 1,000 rows, and where that goes.

    python -m tests.bench.scoring.fixed warm MODEL     in this process: one window to warm, then three; prints JSON

Warm: in a process that has its imports, with a Prefect server up. Cold: the command, less the bare imports of prefect,
great_expectations and scikit-learn in a process of their own.
"""

import collections
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

from tests.bench import report
from tests.bench.measuring import measured
from tests.bench.scoring import ours
from tests.bench.scoring.world import DAYS, LAMPLIGHTER, SMALL, job_of

IMPORTS = "import prefect, great_expectations, sklearn.ensemble"
_IMPORT_TIME = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)$", re.MULTILINE)
_MOST_PACKAGES = 12


def warm(model: str) -> dict:
    """Wall seconds of a window for each day, the first of which also warms, and the stages of the last run."""
    import contextlib
    import io

    began = time.perf_counter()
    from flows.score import score

    imports, job, walls = time.perf_counter() - began, job_of(model), []
    for day in DAYS[:4]:
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            score(job, day)
        walls.append(time.perf_counter() - began)
    manifest = ours.manifest_of(pathlib.Path(os.environ["LAMPLIGHTER_LAKE"]), job, DAYS[3])
    return {"imports_s": imports, "walls": walls, **ours.facts(manifest)}


def run(folder: pathlib.Path, environment: dict, model: str = "boosted", runs: int = 3) -> report.Part:
    with ours.a_lake(folder) as lake:
        given = environment | ours.places(folder, SMALL, lake)
        in_process = measured([sys.executable, "-m", __spec__.name, "warm", model], environment=given)
    if "failed" in in_process:
        return report.Part("What a run of 1,000 rows costs", [], [f"It failed: {in_process['failed']}"])
    cold = [ours.run(folder, model, SMALL, environment=environment) for _ in range(runs)]
    imports = _walls([sys.executable, "-c", IMPORTS], environment, runs)
    shows_help = _walls([LAMPLIGHTER, "--help"], environment, runs)
    bare = _walls([sys.executable, "-c", "pass"], environment, runs)
    said, command = in_process["said"], statistics.median(one["wall_s"] for one in cold)
    again = statistics.median(said["walls"][1:])
    figures = [
        report.Figure("fixed_cost_s", again, "s"),
        report.Figure("fixed_cost_cold_s", command - imports, "s", versus=imports, ratio=command / imports),
        report.Figure.against("help_s", shows_help, "s", bare),
    ]
    rows = [
        ("a run in a process that has its imports", again),
        ("the first one in that process", said["walls"][0]),
        ("`import flows.score`", said["imports_s"]),
        ("the command `lamplighter score`, cold", command),
        (f"`{IMPORTS}`, cold", imports),
        ("the command, beyond these", command - imports),
        ("`lamplighter --help`", shows_help),
        ("a bare interpreter", bare),
    ]
    lines = report.table(("", "seconds"), [(what, f"{seconds:.2f}") for what, seconds in rows])
    lines += ["", "By stage, seconds:", "", *_stages(said, again, cold[-1], command)]
    lines += ["", f"Imports of the command by package, own seconds ({model}, `-X importtime`):", ""]
    lines += report.table(("package", "seconds"), _packages(folder, environment, model))
    return report.Part("What a run of 1,000 rows costs, a Prefect server up", figures, lines)


def _walls(command: list[str], environment: dict, runs: int) -> float:
    return statistics.median(measured(command, environment=environment)["wall_s"] for _ in range(runs))


def _stages(said: dict, again: float, cold: dict, command: float) -> list[str]:
    cold_stages = cold["said"]["stages"]
    rows = [(name, f"{said['stages'].get(name, 0):.2f}", f"{seconds:.2f}") for name, seconds in cold_stages.items()]
    rest = ("everything else: start, imports, Prefect, reports, end", again - sum(said["stages"].values()))
    rows.append((rest[0], f"{rest[1]:.2f}", f"{command - sum(cold_stages.values()):.2f}"))
    return report.table(("stage", "in a process that has its imports", "the command, cold"), rows)


def _packages(folder: pathlib.Path, environment: dict, model: str) -> list[tuple[str, str]]:
    with ours.a_lake(folder) as lake:
        command = [
            sys.executable,
            "-X",
            "importtime",
            LAMPLIGHTER,
            "score",
            job_of(model),
            "--as-of",
            DAYS[0],
            "--json",
        ]
        given = environment | ours.places(folder, SMALL, lake)
        said = subprocess.run(command, env=given, capture_output=True, text=True, check=False).stderr
    spent = collections.Counter()
    for microseconds, module in _IMPORT_TIME.findall(said):
        spent[module.split(".")[0]] += int(microseconds) / 1e6
    found = [(name, f"{seconds:.2f}") for name, seconds in spent.most_common(_MOST_PACKAGES)]
    return [*found, ("all", f"{sum(spent.values()):.2f}")]


if __name__ == "__main__":
    print(json.dumps(warm(sys.argv[2])))
