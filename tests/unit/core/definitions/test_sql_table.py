import pytest
from pydantic import ValidationError

from tasks.core.definitions.output import SqlTable


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("pg_temp.scores", "pg_temp is a schema of PostgreSQL's own"),
        ("pg_catalog.scores", "pg_catalog is a schema of PostgreSQL's own"),
        ("information_schema.scores", "information_schema is a schema of PostgreSQL's own"),
        ("lamplighter_staged", "a name that deliveries need themselves"),
        ("analytics.lamplighter_deliveries", "a name that deliveries need themselves"),
    ],
)
def test_tables_that_no_rows_may_go_to_are_refused(table, says):
    with pytest.raises(ValidationError, match=says):
        SqlTable(table=table)


@pytest.mark.parametrize("table", ["scores", "analytics.scores", "pg_scores", "lamplighter_scores"])
def test_other_tables_are_taken(table):
    assert SqlTable(table=table).table == table
