"""A question to a real PostgreSQL: its booleans, binds and errors."""

import datetime as dt

import pytest

from tasks.core.definitions.source import SqlSource
from tasks.core.definitions.window import WindowSpec
from tasks.core.errors import SourceError
from tasks.core.source import ask
from tasks.core.storage import Folder

DAY = WindowSpec(kind="interval", timezone="America/New_York").parse("2013-07-01")
KNOWN_AT = dt.datetime(2013, 7, 2, 6, 30, tzinfo=dt.UTC)


@pytest.fixture
def asked(postgresql, monkeypatch, tmp_path):
    monkeypatch.setenv("LAMPLIGHTER_TEST_URI", postgresql.uri)
    source = SqlSource(type="sql", driver="postgresql", uri_env="LAMPLIGHTER_TEST_URI", query="SELECT 1", retries=0)
    return lambda query: ask(source, query, window=DAY, known_at=KNOWN_AT, project=Folder(tmp_path))


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("SELECT true", True),
        ("SELECT false, 1", False),
        ("SELECT NULL::boolean", None),
        ("SELECT true WHERE false", None),
        ("SELECT count(*) > 2 FROM generate_series(1, 3)", True),
        ("SELECT max(n) >= 3 FROM generate_series(1, 3) AS n;", True),
        ("SELECT :start = timestamptz '2013-07-01 04:00Z' AND :end > :start AND :as_of = '2013-07-01'", True),
        ("SELECT n FROM generate_series(1, 100000) AS n", 1),
    ],
)
def test_the_first_value_of_the_first_row(asked, query, answer):
    assert asked(query) == answer


def test_what_is_wrong_is_told(asked):
    with pytest.raises(SourceError, match="no_such_table"):
        asked("SELECT true FROM no_such_table")
    with pytest.raises(SourceError, match="tries to write"):
        asked("CREATE TABLE t (a int)")
