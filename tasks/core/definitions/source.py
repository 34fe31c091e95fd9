"""Where a job's rows come from: a query on a database, or files. Also how a database's address is given."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from tasks.core.definitions.terms import Definition, Queried
from tasks.core.secret_parts import holds_secret


class Addressed(Definition):
    """Where a database is, without a secret in the YAML; and how long and how often it is asked."""

    uri: Annotated[str | None, Field(description="Address without a secret; a path is relative to the project.")] = None
    uri_env: Annotated[
        str | None,
        Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="The environment variable that holds the address."),
    ] = None
    uri_block: Annotated[
        str | None, Field(pattern=r"^[a-z0-9-]+$", description="The Prefect Secret block that holds the address.")
    ] = None
    statement_timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600
    retries: Annotated[int, Field(ge=0, le=20, description="Of transient errors, with backoff.")] = 3

    @field_validator("uri")
    @classmethod
    def _check_no_secret(cls, uri: str | None) -> str | None:
        if uri is not None and holds_secret(uri):
            # The value is not repeated: it would end in logs.
            raise ValueError("holds a password; put the address into the environment (uri_env) or a block (uri_block)")
        return uri

    @property
    def addresses(self) -> int:
        """How many of the three are given."""
        return sum(one is not None for one in (self.uri, self.uri_env, self.uri_block))


class SqlSource(Addressed, Queried):
    """Rows from a database: any ADBC driver, or SQLite by Python's own."""

    type: Literal["sql"]
    driver: Annotated[
        str,
        Field(
            pattern=r"^[a-z][a-z0-9_]*$",
            description="sqlite, postgresql, or the name behind adbc_driver_ of another installed ADBC driver.",
        ),
    ]
    history: Literal["replayable", "current_only"] = "replayable"

    @model_validator(mode="after")
    def _check_one_of_each(self) -> Self:
        if self.addresses != 1:
            raise ValueError("give exactly one of uri, uri_env and uri_block")
        return self


class FilesSource(Definition):
    """Rows from Parquet or CSV files, local or in an object store, read with pyarrow.dataset."""

    type: Literal["files"]
    path: Annotated[str, Field(description="A file or a folder; relative to the project, or a URI such as s3://...")]
    format: Literal["parquet", "csv"] = "parquet"
    partitioning: Literal["hive"] | None = None
    retries: Annotated[int, Field(ge=0, le=20, description="Of transient errors, with backoff.")] = 3
    history: Literal["replayable", "current_only"] = "replayable"

    @field_validator("path")
    @classmethod
    def _check_no_secret(cls, path: str) -> str:
        if holds_secret(path):
            raise ValueError("holds a secret; an object store's credentials belong into the environment")
        return path


Source = Annotated[SqlSource | FilesSource, Field(discriminator="type")]
