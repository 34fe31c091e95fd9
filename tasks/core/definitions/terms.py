"""What every definition is made of: names, columns and their types, queries; frozen, and strict about unknown keys."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from tasks.core.definitions.column_types import parse_type
from tasks.core.errors import DefinitionError

Name = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_]{0,62}$",
        description="Lower-case letters, digits and _; it names folders and tables.",
    ),
]
ColumnName = Annotated[str, Field(min_length=1, max_length=200)]
Reference = Annotated[
    str, Field(pattern=r"^[\w.]+:\w+$", description="A Python object, as module:name.", examples=["ours.model:build"])
]


def check_name(name: str, of: str, *, state: str, next_step: str = "") -> str:
    """The name itself; DefinitionError where it is none for what it is to be the name of ('a model')."""
    try:
        return TypeAdapter[str](Name).validate_python(name)
    except ValidationError as error:
        raise DefinitionError(
            f"'{name}' is not a name for {of}",
            state=state,
            next_step=next_step or "use lower-case letters, digits and _, beginning with a letter",
        ) from error


def _check_type_name(name: str) -> str:
    parse_type(name)
    return name


TypeName = Annotated[
    str,
    # A list of lists of lists ... has an end before the type is read.
    Field(
        max_length=100,
        description="A column type: string, int64, float64, date, timestamp (UTC), ...",
        examples=["float64"],
    ),
    AfterValidator(_check_type_name),
]


class Definition(BaseModel):
    """What every part of a definition is: frozen, and strict about unknown keys."""

    # What was put in may be a secret in the wrong place: a traceback is not to show it.
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True)


class Queried(Definition):
    """What is read by a query: given in the YAML, or in a file beside it."""

    query: Annotated[str | None, Field(description="SQL; binds :start, :end, :as_of and :known_at.")] = None
    query_file: Annotated[str | None, Field(description="SQL in a file beside the job's YAML.")] = None

    @model_validator(mode="after")
    def _check_one_query(self) -> Self:
        if (self.query is None) == (self.query_file is None):
            raise ValueError("give exactly one of query and query_file")
        return self
