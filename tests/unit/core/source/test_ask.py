"""A question to the source: the first value of its first row, by the same door as the rows."""

import contextlib
import datetime as dt
import sqlite3

import pytest

from tasks.core.definitions.source import SqlSource
from tasks.core.definitions.window import WindowSpec
from tasks.core.errors import JobError, SourceError
from tasks.core.source import ask, problems
from tasks.core.storage import Folder

DAY = WindowSpec(kind="interval").parse("2013-07-01")
KNOWN_AT = dt.datetime(2013, 7, 2, 6, 30, tzinfo=dt.UTC)


@pytest.fixture
def asked(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "w.sqlite")):
        pass

    def ask_it(query, **fields):
        source = SqlSource(
            type="sql", query="SELECT 1", **{"driver": "sqlite", "uri": "w.sqlite", "retries": 0, **fields}
        )
        return ask(source, query, window=DAY, known_at=KNOWN_AT, project=Folder(tmp_path))

    return ask_it


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("SELECT 1", 1),
        ("SELECT 1 > 2, 7", 0),
        ("SELECT 'yes'", "yes"),
        ("SELECT 2.5", 2.5),
        ("SELECT NULL", None),
        ("SELECT 1 WHERE 1 = 2", None),
        ("SELECT 3 UNION ALL SELECT 4", 3),
        ("SELECT :as_of", "2013-07-01"),
        ("SELECT :start || '..' || :end", "2013-07-01 00:00:00..2013-07-02 00:00:00"),
        ("SELECT :known_at", "2013-07-02 06:30:00"),
    ],
)
def test_the_first_value_of_the_first_row(asked, query, answer):
    assert asked(query) == answer


def test_what_is_wrong_is_told_as_of_the_rows(asked):
    with pytest.raises(SourceError, match="no such table: loads"):
        asked("SELECT * FROM loads")
    with pytest.raises(SourceError, match="tries to write"):
        asked("CREATE TABLE t (a)")
    with pytest.raises(JobError, match="binds :today"):
        asked("SELECT :today")
    with pytest.raises(SourceError, match="does not exist"):
        asked("SELECT 1", uri="elsewhere.sqlite")


def test_what_may_pass_is_tried_again(asked, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.core.source.sqlite._WAIT_FOR_LOCK_SECONDS", 0.0)
    naps = []
    monkeypatch.setattr(problems, "_sleep", naps.append)
    with contextlib.closing(sqlite3.connect(tmp_path / "w.sqlite", isolation_level=None)) as other:
        other.execute("CREATE TABLE loads (a)")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SourceError, match=r"3 attempts"):
            asked("SELECT count(*) FROM loads", retries=2)
    assert len(naps) == 2
