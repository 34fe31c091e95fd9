"""All contenders in turn over the same rows with the same model, each in processes of its own; and what came of it."""

import dataclasses
import json
import os
import pathlib
import statistics
import sys

from tests.bench import report
from tests.bench.measuring import measured
from tests.bench.scoring import ours, peers, world

OURS, COMPILED = "lamplighter", "lamplighter, compiled"
# One that fails, or takes too long, is tried with so many rows less, down to the fewest.
_FEWER, _FEWEST = 4, 50_000
# Means of as many scores, summed in other orders.
_SAME_MEAN = 1e-9
WHAT = {
    "bare": "the model called once on a frame in memory, all cores",
    OURS: "`lamplighter score`: all of it",
    COMPILED: "`lamplighter score`, the trees compiled",
    "naive": "script: pandas, stock GX (12 checks), predict, to_parquet",
    "mlflow": "MLflow pyfunc in chunks, validates nothing",
    "ray": "Ray Data map_batches, 2 actors, validates nothing",
    "spark": "Spark mapInPandas, validates nothing",
}


@dataclasses.dataclass(frozen=True)
class Asked:
    """A contest: where, of whom, with which model, over how many rows, how often, and for how long at most."""

    folder: pathlib.Path
    environment: dict
    model: str
    rows: int
    contenders: tuple[str, ...]
    runs: int
    limit: float


@dataclasses.dataclass
class Found:
    """What a contender's runs were. `counted` seconds are held against others': of bare, those of the call alone."""

    rows: int
    runs: list[dict]
    failures: list[str]

    def median(self, name: str) -> float:
        return statistics.median(one[name] for one in self.runs)

    @property
    def per_row(self) -> float:
        return self.median("counted_s") / self.rows


def contenders_of(model: str, *, compiled: bool) -> tuple[str, ...]:
    return ("bare", OURS, *([COMPILED] if compiled else []), *peers.NAMES[1:])


def hold(asked: Asked) -> dict[str, Found]:
    """Rounds, of which every other one goes backwards: what a machine does in an hour falls on all."""
    found = {name: Found(asked.rows, [], []) for name in asked.contenders}
    for number in range(asked.runs):
        for name in asked.contenders[:: -1 if number % 2 else 1]:
            _take_turn(asked, name, found[name])
    return found


def _take_turn(asked: Asked, name: str, found: Found) -> None:
    """One run, with fewer rows where so many are too many for it; of one that failed with the fewest, none."""
    while found.rows >= min(_FEWEST, asked.rows):
        said = _run(asked, name, found.rows)
        _tell(name, asked.model, found.rows, said)
        if "failed" not in said:
            found.runs.append(said)
            return
        found.failures.append(f"{WHAT[name]}, {asked.model}, {found.rows:,} rows: {said['failed'].splitlines()[-1]}")
        found.rows //= _FEWER
        found.runs.clear()


def _run(asked: Asked, name: str, rows: int) -> dict:
    if rows != asked.rows:
        world.make(asked.folder, rows, world.columns_of(asked.folder), (asked.model,))
    if name in (OURS, COMPILED):
        said = ours.run(
            asked.folder,
            asked.model,
            rows,
            compiled=name == COMPILED,
            limit=asked.limit,
            environment=asked.environment,
        )
    else:
        command = [sys.executable, "-m", "tests.bench.scoring.peers", name, str(asked.folder), asked.model, str(rows)]
        said = measured(command, limit=asked.limit, environment=asked.environment)
    if "failed" in said:
        return said
    told = said["said"]
    return said | {"counted_s": told.get("work_s", said["wall_s"]), "cpu_s": told.get("work_cpu_s", said["cpu_s"])}


def _tell(name: str, model: str, rows: int, said: dict) -> None:
    what = said.get("failed") or f"{said['counted_s']:.1f} s, CPU {said['cpu_s']:.1f} s, {said['peak_mb']:.0f} MB"
    print(f"{model:10} {rows:>12,} rows  {name:24} {what}", file=sys.stderr, flush=True)


def part(asked: Asked, found: dict[str, Found]) -> report.Part:
    head = (asked.model, "rows", "wall s", "CPU s", "rows/s", "peak MB", "lamplighter's wall time against it")
    mine = found[OURS]
    lines = report.table(head, [_line(name, one, mine) for name, one in found.items()])
    lines += ["", *_notes(asked, found)]
    if mine.runs:
        lines += ["", "Where the time of a run goes, by its manifest, wall seconds:", "", *_stages(found)]
    title = f"Scoring {asked.rows:,} rows: {asked.model}; {asked.runs} run{'s' if asked.runs > 1 else ''} each"
    return report.Part(title, figures(asked, found), lines)


def _line(name: str, one: Found, mine: Found) -> tuple:
    if not one.runs:
        return (WHAT[name], "did not finish", "", "", "", "", "")
    wall = one.median("counted_s")
    ratio = f"{mine.per_row / one.per_row:.2f}x" if mine.runs and name != OURS else ""
    cells = (f"{one.rows:,}", f"{wall:.1f}", f"{one.median('cpu_s'):.1f}", f"{one.rows / wall:,.0f}")
    return (WHAT[name], *cells, f"{one.median('peak_mb'):,.0f}", ratio)


def _notes(asked: Asked, found: dict[str, Found]) -> list[str]:
    """What a reader must know to judge the table: who did not finish, and whether all did the same."""
    notes = [
        (
            "Wall and CPU seconds are of whole commands, from their start to their end; of the model called on a frame in memory, that call alone. Memory "
            "is the peak PSS of the process tree, the frame in memory included."
        )
    ]
    notes += [f"- Did not finish: {one}" for each in found.values() for one in each.failures]
    notes += [f"- NOT THE SAME WORK: {one}" for one in _differences(found)]
    if COMPILED in found:
        notes += ["", f"The compiled version: {_compilation(asked)}."]
    notes += ["", f"Load of the machine at the end: {os.getloadavg()[0]:.1f}."]
    return notes


def _compilation(asked: Asked) -> str:
    """What registration said of it: that it fell back to scikit-learn must not pass as a figure of compiled trees."""
    version = f"{world.job_of(asked.model, compiled=True)}/versions/0001/manifest.json"
    said = json.loads((asked.folder / "lake" / "models" / version).read_text()).get("compilation") or {}
    if not said.get("compiled"):
        return f"NOT COMPILED, {said.get('note') or 'and nobody said why'}"
    return f"on {said['rows']:,} rows its largest difference to scikit-learn is {said['largest_difference']:.3g}"


def _differences(found: dict[str, Found]) -> list[str]:
    """A contender that does less is no contender: rows scored, and the scores' mean, against the naive script's."""
    mine, theirs = found[OURS], found.get("naive")
    if not mine.runs:
        return []
    said, wrong = mine.runs[0]["said"], []
    if said["verdict"] not in ("published", "published_with_warnings") or said["rows"] != mine.rows:
        wrong.append(f"lamplighter: {said['verdict']}, {said['rows']:,} rows of {mine.rows:,}")
    if theirs and theirs.runs and theirs.rows == mine.rows:
        other = theirs.runs[0]["said"]
        if said["scored"] != other["scored"] or abs(said["mean"] - other["mean"]) > _SAME_MEAN:
            wrong.append(f"lamplighter {said['scored']:,} rows, mean {said['mean']!r}; naive {other}")
    compiled = found.get(COMPILED)
    if compiled and compiled.runs and compiled.rows == mine.rows:
        other = compiled.runs[0]["said"]
        if other["scored"] != said["scored"] or abs(other["mean"] - said["mean"]) > _SAME_MEAN:
            wrong.append(f"{COMPILED}: {other['scored']:,} rows, mean {other['mean']!r}; not compiled {said['mean']!r}")
    wrong += [
        f"{name} scored {one.runs[0]['said']['scored']:,} rows of {one.rows:,}"
        for name, one in found.items()
        if name in ("mlflow", "ray", "spark") and one.runs and one.runs[0]["said"]["scored"] != one.rows
    ]
    return wrong


def _stages(found: dict[str, Found]) -> list[str]:
    shown = {name: one for name, one in found.items() if name in (OURS, COMPILED) and one.runs}
    stages = {name: one.runs[-1]["said"]["stages"] for name, one in shown.items()}
    rows = [(stage, *(f"{stages[name].get(stage, 0):.1f}" for name in shown)) for stage in stages[OURS]]
    rest = (one.runs[-1]["wall_s"] - sum(stages[name].values()) for name, one in shown.items())
    rows.append(("everything else: start, imports, Prefect, reports, end", *(f"{one:.1f}" for one in rest)))
    return report.table(("stage", *shown), rows)


def figures(asked: Asked, found: dict[str, Found]) -> list[report.Figure]:
    """`score_wall_vs_<contender>_<model>`; where a contender had fewer rows, the times are brought to as many."""
    made = []
    for mine, ending in ((OURS, ""), (COMPILED, "_compiled")):
        if mine not in found or not found[mine].runs:
            continue
        for name, one in found.items():
            if name not in (OURS, COMPILED) and one.runs:
                versus = one.per_row * found[mine].rows
                title = f"score_wall_vs_{name}_{asked.model}{ending}"
                made.append(report.Figure.against(title, found[mine].median("counted_s"), "s", versus))
    return made + _memory(asked, found)


def _memory(asked: Asked, found: dict[str, Found]) -> list[report.Figure]:
    mine, naive = found[OURS], found.get("naive")
    if not mine.runs:
        return []
    name, peak = "peak_mb" if asked.model == "boosted" else f"peak_mb_{asked.model}", mine.median("peak_mb")
    if naive and naive.runs and naive.rows == mine.rows:
        return [report.Figure.against(name, peak, "MB", naive.median("peak_mb"))]
    return [report.Figure(name, peak, "MB")]
