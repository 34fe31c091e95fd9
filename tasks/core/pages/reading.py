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


def one_window(table: str, as_of: str, *, is_delta: bool = False) -> tuple[Snippet, ...]:
    """Reads one partition."""
    if is_delta:
        where = f"(polars.col('as_of') == {_text(as_of)})"
        chosen, narrowed = f"filters=[('as_of', '=', {_text(as_of)})]", f" where as_of = '{as_of}'"
        return _of_delta(table, chosen, narrowed, f".filter{where}")
    folder = f"{table}/as_of={as_of}"
    return _snippets(folder, f"{folder}/*.parquet")


def whole_table(table: str, *, is_delta: bool = False) -> tuple[Snippet, ...]:
    """Reads every window."""
    if is_delta:
        return _of_delta(table, "", "", "")
    return _snippets(table, f"{table}/*/*.parquet")


def other_tables(table: str, others: OtherTables, *, is_delta: bool = False) -> tuple[Snippet, ...]:
    """Reads the tables that stand beside: one row a key, the runs, and a database's. A line each."""
    lines = []
    if others.latest:
        query = f"from read_parquet('{_in_sql(others.latest)}/*.parquet')"
        lines.append(Snippet("Latest row a key", _in_duckdb(query)))
    if others.runs:
        query = f"from read_parquet('{_in_sql(others.runs)}/*/*/run.parquet')"
        lines.append(Snippet("The runs", _in_duckdb(query)))
        joined = _joined("scores" if is_delta else f"read_parquet('{_in_sql(table)}/*/*.parquet')", others.runs)
        lines.append(Snippet("Rows and runs", _over_delta(table, joined) if is_delta else _in_duckdb(joined)))
    if others.sql:
        lines.append(Snippet("In the database", f"{_ALL} from {others.sql}"))
    return tuple(lines)


def _joined(rows: str, runs: str) -> str:
    joined = f"from {rows} p join read_parquet('{_in_sql(runs)}/*/*/run.parquet') r using (run_id)"
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


def _of_delta(table: str, chosen: str, narrowed: str, filtered: str) -> tuple[Snippet, ...]:
    """A Delta table is what its log says: whoever reads the files of its folders gets replaced rows too."""
    return (
        Snippet("pandas", f"import deltalake; rows = deltalake.DeltaTable({_text(table)}).to_pandas({chosen})"),
        Snippet("DuckDB", _over_delta(table, f"{_ALL} from scores{narrowed}")),
        Snippet("Polars", f"import polars; rows = polars.scan_delta({_text(table)}){filtered}.collect()"),
    )


def _over_delta(table: str, query: str) -> str:
    opened = f"scores = deltalake.DeltaTable({_text(table)}).to_pyarrow_dataset()"
    return f"import deltalake, duckdb; {opened}; rows = duckdb.sql({_text(query)})"


def _in_sql(value: str) -> str:
    return value.replace("'", "''")


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
