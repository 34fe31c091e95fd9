"""The bench's results: one JSON file of figures, `results/latest.json`, and one of Markdown beside it, with the machine."""

import dataclasses
import datetime as dt
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
from collections.abc import Iterable, Sequence

RESULTS = pathlib.Path(__file__).parent / "results"
ROOT = pathlib.Path(__file__).parents[2]
LIBRARIES = (
    "lamplighter",
    "prefect",
    "great-expectations",
    "scikit-learn",
    "pandas",
    "numpy",
    "pyarrow",
    "joblib",
    "mlflow",
    "mlflow-skinny",
    "ray",
    "pyspark",
    "polars",
    "pandera",
)


@dataclasses.dataclass(frozen=True)
class Figure:
    """A value; where it was held against another one, that one and the ratio of the two."""

    name: str
    value: float
    unit: str
    versus: float | None = None
    ratio: float | None = None

    @classmethod
    def against(cls, name: str, value: float, unit: str, versus: float) -> "Figure":
        return cls(name, value, unit, versus, value / versus)


@dataclasses.dataclass(frozen=True)
class Part:
    """What one part of the bench found: its figures, and lines of Markdown."""

    title: str
    figures: list[Figure]
    lines: list[str]


def table(head: Sequence[str], rows: Iterable[Sequence]) -> list[str]:
    return [_row(head), _row(["---"] * len(head)), *map(_row, rows)]


def _row(cells: Sequence) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def write(parts: Sequence[Part], said: Sequence[str] = ()) -> None:
    """Writes all of it. Called after every part, so that one that dies takes no other's figures along."""
    figures = [dataclasses.asdict(one) for part in parts for one in part.figures]
    lines = ["# Benchmark", "", *said, "", *machine(), ""]
    for part in parts:
        lines += [f"## {part.title}", "", *part.lines, ""]
    lines += ["## Figures", "", *table(("name", "value", "unit", "versus", "ratio"), map(_cells, figures)), ""]
    RESULTS.mkdir(exist_ok=True, parents=True)
    (RESULTS / "latest.json").write_text(json.dumps(figures, indent=2) + "\n")
    (RESULTS / "latest.md").write_text("\n".join(lines))


def add(part: Part, name: str) -> None:
    """Writes a part that is measured alone: its figures into the others' place or beside them, its lines to a file of its own."""
    RESULTS.mkdir(exist_ok=True, parents=True)
    latest, mine = RESULTS / "latest.json", {one.name for one in part.figures}
    others = json.loads(latest.read_text()) if latest.exists() else []
    kept = [one for one in others if one["name"] not in mine]
    latest.write_text(json.dumps([*kept, *map(dataclasses.asdict, part.figures)], indent=2) + "\n")
    lines = [f"# {part.title}", "", *machine(), "", *part.lines]
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _cells(figure: dict) -> list[str]:
    def said(value) -> str:
        return value if isinstance(value, str) else "" if value is None else f"{value:.4g}"

    return [said(value) for value in figure.values()]


def machine() -> list[str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    facts = [
        ("when", dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("commit", _commit()),
        ("machine", f"{_processor()}, {os.cpu_count()} cores, {memory:.1f} GB"),
        ("load when this was written", f"{os.getloadavg()[0]:.1f}"),
        ("system", f"{platform.system()} {platform.release()}, Python {platform.python_version()}, {_java()}"),
        ("libraries", ", ".join(_versions())),
    ]
    return table(("", ""), facts)


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    return (git("rev-parse", "HEAD") or "unknown") + (" and what was not committed" if git("status", "--short") else "")


def _processor() -> str:
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _java() -> str:
    try:
        said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    except OSError:
        return "no Java"
    return "Java " + said.partition('"')[2].partition('"')[0]


def _versions() -> Iterable[str]:
    for name in LIBRARIES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"{name} not installed"
