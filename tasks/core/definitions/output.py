"""What a job publishes: the table's columns, what is held against them, and where else the rows go."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from tasks.core.definitions.modelling import Prediction
from tasks.core.definitions.source import Addressed
from tasks.core.definitions.terms import ColumnName, Definition, Name


class Volume(Definition):
    """How many rows a window may have, held against the windows that were published before it."""

    of_median: Annotated[
        tuple[float, float],
        Field(description="The least and the most rows scored, as multiples of the earlier windows' median."),
    ] = (0.5, 2.0)
    windows: Annotated[
        int, Field(ge=3, le=1000, description="How many published windows before this one count; below 3 none does.")
    ] = 28
    severity: Annotated[
        Literal["warning", "critical"],
        Field(description="warning: published with warnings. critical: nothing is published."),
    ] = "warning"

    @field_validator("of_median")
    @classmethod
    def _check_range(cls, of_median: tuple[float, float]) -> tuple[float, float]:
        low, high = of_median
        if not 0 <= low < high:
            raise ValueError("must be two numbers, the first at least 0 and below the second, such as [0.5, 2.0]")
        return of_median


# A temporary table, the ledger's, and schemas that are PostgreSQL's own.
_TAKEN_TABLES = ("lamplighter_staged", "lamplighter_deliveries")
_TAKEN_SCHEMAS = ("pg_", "information_schema")


class SqlTable(Addressed):
    """A table of a database that gets the rows of each window, after they are published in the lake."""

    driver: Literal["postgresql"] = "postgresql"
    table: Annotated[
        str,
        Field(
            pattern=r"^[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?$",
            description="The table, or schema.table: lower-case letters, digits and _. It is made where it is not there.",
            examples=["analytics.churn_scores"],
        ),
    ]

    @field_validator("table")
    @classmethod
    def _check_free(cls, table: str) -> str:
        schema, _, name = table.rpartition(".")
        if name in _TAKEN_TABLES:
            raise ValueError(f"{name} is a name that deliveries need themselves: give the table another")
        if schema.startswith(_TAKEN_SCHEMAS):
            raise ValueError(f"{schema} is a schema of PostgreSQL's own: name one of yours, as in analytics.scores")
        return table

    @model_validator(mode="after")
    def _check_one_address(self) -> Self:
        if self.addresses > 1:
            raise ValueError("give one of uri, uri_env and uri_block; none is the source's own address")
        return self

    @property
    def has_address(self) -> bool:
        return self.addresses == 1


class Output(Definition):
    """The table that downstream reads. Its columns are a contract with a version."""

    version: Annotated[int, Field(ge=1, description="Raise it when a column is added or changed.")] = 1
    columns: Annotated[dict[ColumnName, Prediction], Field(min_length=1)]
    pass_through: Annotated[
        tuple[ColumnName, ...], Field(description="Columns of the source that are published too.")
    ] = ()
    format: Annotated[
        Literal["parquet", "delta"],
        Field(
            description="parquet: a folder of one file a window, replaced by a swap of folders. delta: a Delta Lake table, "
            "replaced by one commit; for object stores, and for readers of earlier versions."
        ),
    ] = "parquet"
    suite: Annotated[
        Name | None,
        Field(
            description="The file expectations/<suite>.json, held against the rows that are to be published; "
            "on_failure: quarantine is not for these."
        ),
    ] = None
    volume: Annotated[Volume | None, Field(description="Rows scored against the windows before; none: not held.")] = (
        None
    )
    shadow: Annotated[
        bool,
        Field(
            description="true: windows are published into shadow/<job>/ and nowhere else, until the team switches over."
        ),
    ] = False
    latest: Annotated[
        bool | None,
        Field(
            description="Whether latest/<job>/ is kept: one row a key, of the newest window that has it. Not said: yes, "
            "and of interval windows, whose keys may never come again, as long as it has at most a million rows."
        ),
    ] = None
    sql: Annotated[SqlTable | None, Field(description="A database's table that gets the rows too.")] = None
