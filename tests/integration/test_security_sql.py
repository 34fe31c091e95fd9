"""Names and values that are SQL, from a real PostgreSQL through a job and back into one: none of them is ever run."""

import pyarrow as pa
import pytest

from tasks.core.definitions.source import SqlSource
from tasks.core.definitions.window import WindowSpec
from tasks.core.delivery.delivering import Deliverer
from tasks.core.source import open_source
from tasks.core.storage import Folder
from tests.delivery_tools import NOON, a_job, a_schema, publish, rows_of, withdraw

pytest.importorskip("adbc_driver_postgresql")

DAY = "2024-05-01"
DROP = "DROP TABLE victim"
NAMES = [
    f'x"; {DROP}; --',
    f'x"); {DROP}; --',
    f"x'; {DROP}; --",
    f"x$$; {DROP}; $$",
    f"x\\'; {DROP}; --",
    f"x /* */; {DROP}; /*",
    f"x; {DROP}",
    ":start",
    "$1",
    "%s",
    "?",
    "{0}",
    "COPY x FROM PROGRAM 'touch /tmp/owned'",
]
VALUES = [*NAMES, *(f"{name}\n\\.\n{DROP};" for name in NAMES), "\\.", "\\N", "\t", "'' OR 1=1", "\x7f"]


@pytest.fixture
def schema(postgresql, monkeypatch):
    with a_schema(postgresql, monkeypatch) as name:
        postgresql.execute(
            f"CREATE TABLE {name}.victim (n int)", f"ALTER DATABASE postgres SET search_path = {name}, public"
        )
        yield name
        assert postgresql.execute(f"SELECT count(*) FROM {name}.victim")[0][0] == 0
        postgresql.execute("ALTER DATABASE postgres RESET search_path")


def test_names_and_values_of_a_delivery_are_quoted_and_bound(lake, postgresql, schema):
    job = a_job(f"{schema}.scores", columns=dict.fromkeys(NAMES, "string"), pass_through=NAMES)
    count = len(VALUES)
    publish(lake, job, DAY, "r1", rows_of(job, "r1", count, **dict.fromkeys(NAMES, VALUES)))

    assert Deliverer(lake, job).deliver([DAY]).failed == ()

    quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in NAMES)
    found = postgresql.execute(f"SELECT {quoted} FROM {schema}.scores ORDER BY customer")
    assert [tuple(row) for row in found] == [(value,) * len(NAMES) for value in VALUES]
    # Again, with other rows; and out of the table.
    publish(lake, job, DAY, "r2", rows_of(job, "r2", 1, **dict.fromkeys(NAMES, VALUES[:1])))
    assert Deliverer(lake, job).deliver([DAY]).failed == ()
    withdraw(lake, job, DAY)
    Deliverer(lake, job).deliver([DAY])
    assert postgresql.execute(f"SELECT count(*) FROM {schema}.scores")[0][0] == 0


def test_a_column_that_they_lack_is_told_as_sql_that_does_what_it_says(lake, postgresql, schema):
    """The statement that a person is given to paste is quoted too."""
    plain = a_job(f"{schema}.scores")
    publish(lake, plain, DAY, "r1", 2)
    assert Deliverer(lake, plain).deliver([DAY]).failed == ()
    job = a_job(f"{schema}.scores", columns={NAMES[0]: "string"}, pass_through=NAMES[:1])
    publish(lake, job, DAY, "r2", rows_of(job, "r2", 2, **{NAMES[0]: VALUES[:2]}))

    done = Deliverer(lake, job).deliver([DAY])

    (failed,) = [one for one in done.windows if one.outcome != "delivered"]
    cure = f"{failed} {done.failed}"
    assert f'"x""; {DROP}; --"' in cure, cure


@pytest.mark.parametrize("name", NAMES)
def test_columns_and_values_of_a_source_are_what_they_are(postgresql, schema, monkeypatch, tmp_path, name):
    monkeypatch.setenv("WAREHOUSE", postgresql.uri)
    quoted, literal = '"' + name.replace('"', '""') + '"', "'" + name.replace("'", "''") + "'"
    query = f"SELECT {literal} AS {quoted}, :as_of AS label WHERE :start < :end"
    source = SqlSource(type="sql", driver="postgresql", uri_env="WAREHOUSE", query=query, retries=0)
    window = WindowSpec(kind="interval", every="1d").parse(DAY)
    schema_of = pa.schema([(name, pa.string()), ("label", pa.string())])
    with open_source(
        source,
        query=query,
        window=window,
        known_at=NOON,
        columns=schema_of,
        event_time=None,
        project=Folder(tmp_path),
        batch_rows=10,
    ) as stream:
        rows = [row for batch in stream for row in batch.to_pylist()]
    assert rows == [{name: name, "label": DAY}]
