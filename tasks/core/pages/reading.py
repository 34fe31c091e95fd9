"""How to read the table: the line for each reader, with nothing of Lamplighter's installed."""

from __future__ import annotations

import json
from dataclasses import dataclass


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


def _snippets(folder: str, files: str) -> tuple[Snippet, ...]:
    query = f"from read_parquet('{_in_sql(files)}')"
    return (
        Snippet("pandas", f"import pandas; rows = pandas.read_parquet({_text(folder)})"),
        Snippet("DuckDB", f"import duckdb; rows = duckdb.sql({_text(query)})"),
        Snippet("Polars", f"import polars; rows = polars.read_parquet({_text(files)})"),
    )


def _in_sql(value: str) -> str:
    return value.replace("'", "''")


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
