"""How to read the table: the line for each reader, with nothing of Lamplighter's installed."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tasks.core.pages.inputs import OtherTables

_ALL = "select *"
_OF_RUN = "r.verdict, r.model_digest, r.snapshot_digest, r.code_version, r.finished_at"


@dataclass(frozen=True)
class Snippet:
    """One line of Python that reads the table."""

    tool: str
    line: str


def one_window(table: str, as_of: str) -> tuple[Snippet, ...]:
    """Reads one partition."""
    folder = f"{table}/as_of={as_of}"
    return _snippets(folder, f"{folder}/*.parquet")


def whole_table(table: str) -> tuple[Snippet, ...]:
    """Reads every window."""
    return _snippets(table, f"{table}/*/*.parquet")


def other_tables(table: str, others: OtherTables) -> tuple[Snippet, ...]:
    """Reads the tables that stand beside: one row a key, the runs, and a database's. A line each."""
    lines = []
    if others.latest:
        query = f"from read_parquet('{_in_sql(others.latest)}/*.parquet')"
        lines.append(Snippet("Latest row a key", _in_duckdb(query)))
    if others.runs:
        query = f"from read_parquet('{_in_sql(others.runs)}/*/*/run.parquet')"
        lines.append(Snippet("The runs", _in_duckdb(query)))
        lines.append(Snippet("Rows and runs", _in_duckdb(_joined(table, others.runs))))
    if others.sql:
        lines.append(Snippet("In the database", f"{_ALL} from {others.sql}"))
    return tuple(lines)


def _joined(table: str, runs: str) -> str:
    rows, of_runs = f"{_in_sql(table)}/*/*.parquet", f"{_in_sql(runs)}/*/*/run.parquet"
    joined = f"from read_parquet('{rows}') p join read_parquet('{of_runs}') r using (run_id)"
    return f"select p.*, {_OF_RUN} {joined}"


def _in_duckdb(query: str) -> str:
    return f"import duckdb; rows = duckdb.sql({_text(query)})"


def _snippets(folder: str, files: str) -> tuple[Snippet, ...]:
    query = f"from read_parquet('{_in_sql(files)}')"
    return (
        Snippet("pandas", f"import pandas; rows = pandas.read_parquet({_text(folder)})"),
        Snippet("DuckDB", _in_duckdb(query)),
        Snippet("Polars", f"import polars; rows = polars.read_parquet({_text(files)})"),
    )


def _in_sql(value: str) -> str:
    return value.replace("'", "''")


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
