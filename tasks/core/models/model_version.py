"""What the registry keeps of a model version, as frozen records: its signature, its manifest, and the events around it."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import pyarrow as pa
from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from tasks.core.definitions.column_types import parse_type
from tasks.core.definitions.modelling import Prediction
from tasks.core.definitions.terms import ColumnName, Definition, Name, Reference, TypeName
from tasks.core.monitoring.records import Calibration
from tasks.core.runs.manifest import CodeRecord

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Utc = Annotated[AwareDatetime, AfterValidator(lambda at: at.astimezone(dt.UTC))]


class InputColumn(Definition):
    """One column that the model takes, as the snapshot holds it.

    Nullable integers and booleans reach the model as float64 with NaN, in training as in scoring, whether or not a
    batch happens to hold a null. `encoding: category` hands over a pandas category with exactly `categories`, in this
    order; a value that is not among them is missing to the model. With `plain` text stays text, and what the model
    has not seen is its own encoder's affair.
    """

    name: ColumnName
    type: TypeName
    nullable: bool = True
    encoding: Literal["plain", "category"] = "plain"
    categories: Annotated[tuple[bool | int | str, ...] | None, Field(description="The values known in training.")] = (
        None
    )
    ordered: Annotated[bool, Field(description="Whether the categories have an order, in pandas' sense.")] = False

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_so(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # As of the adapters below: versions of before keep their bytes.
        kept: dict[str, Any] = serialize(self)
        return {key: value for key, value in kept.items() if key != "ordered" or value}

    @model_validator(mode="after")
    def _check(self) -> Self:
        kind = self.arrow_type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_time(kind):
            raise ValueError(f"input '{self.name}' is {self.type}, which no model takes as a column")
        if self.encoding == "category" and not self.categories:
            raise ValueError(f"input '{self.name}': encoding 'category' needs its categories")
        if self.categories and len(set(self.categories)) != len(self.categories):
            raise ValueError(f"input '{self.name}': a category stands twice")
        return self

    @property
    def arrow_type(self) -> pa.DataType:
        return parse_type(self.type)


class InputSchema(Definition):
    """What the model takes: the columns in its own order, and whether as a pandas frame or as a bare array."""

    columns: Annotated[tuple[InputColumn, ...], Field(min_length=1)]
    container: Annotated[
        Literal["pandas", "numpy"], Field(description="numpy for a model that was fitted on an array without names.")
    ] = "pandas"

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if twice := sorted(name for name, count in Counter(self.names).items() if count > 1):
            raise ValueError(f"inputs stand twice: {twice}")
        return self

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def arrow_schema(self) -> pa.Schema:
        return pa.schema([pa.field(column.name, column.arrow_type) for column in self.columns])


_LEFT_OUT = ("adapter", "output_adapter", "compiled")


class Signature(Definition):
    """What decides how a version is loaded and scored: part of its digest."""

    signature_version: Literal[1] = 1
    format: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*$")] = "joblib"
    inputs: InputSchema
    outputs: Annotated[dict[ColumnName, Prediction], Field(min_length=1)]
    probe_rtol: Annotated[float, Field(ge=0, lt=1, description="Relative tolerance of floats; all else is exact.")] = (
        1e-9
    )
    interpreter: Annotated[
        Name | None,
        Field(description="The environment that must load it: LAMPLIGHTER_PYTHON_<NAME> says where its Python is."),
    ] = None
    adapter: Annotated[
        Reference | None, Field(description="A function of the project that makes of a frame what the model takes.")
    ] = None
    output_adapter: Annotated[
        Reference | None, Field(description="One that makes columns of what the model's method returned.")
    ] = None

    compiled: Annotated[
        bool, Field(description="Its trees are evaluated by compiled code, where that can be had: the same outputs.")
    ] = False

    @model_validator(mode="after")
    def _check_adapters(self) -> Self:
        if self.compiled and self.interpreter:
            raise ValueError("the trees of a model that another interpreter loads are not compiled")
        if self.adapters and self.interpreter:
            raise ValueError(
                "a model with an adapter is loaded where the project's own code is, by no other interpreter"
            )
        if self.adapter and self.inputs.container != "pandas":
            raise ValueError("an adapter is given a pandas frame")
        return self

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_there(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Versions of before there were these keep their bytes, and with them their digests.
        kept: dict[str, Any] = serialize(self)
        return {key: value for key, value in kept.items() if key not in _LEFT_OUT or value not in (None, False)}

    @property
    def adapters(self) -> tuple[str, ...]:
        """The functions of the project that it is scored with, as module:function."""
        return tuple(filter(None, (self.adapter, self.output_adapter)))

    @property
    def model_file(self) -> str:
        return f"model.{self.format}"

    @property
    def output_schema(self) -> pa.Schema:
        return pa.schema([pa.field(name, parse_type(each.type)) for name, each in self.outputs.items()])


class FileRecord(Definition):
    sha256: Sha256
    size_bytes: int


class TrainingRecord(Definition):
    """Where the training data is, and what it was."""

    pointer: Annotated[str, Field(description="A path, a table or a query with its windows; never a secret.")]
    digest: str
    rows: int | None = None
    first: Annotated[
        str | None, Field(description="The first window that it was fitted or calibrated on; None if unknown.")
    ] = None
    last: Annotated[str | None, Field(description="The last one.")] = None


class Origin(Definition):
    """What a version was in MLflow's registry, from where it was mirrored; addresses are without secrets."""

    uri: Annotated[str, Field(description="Its name and version there: models:/NAME/VERSION.")]
    run_id: str
    source: str
    tracking: Annotated[str, Field(description="The address of the tracking server.")]
    artifacts: Annotated[dict[str, Sha256], Field(description="The files that were read, as they were.")]


class Compilation(Definition):
    """What came of compiling a version's trees when it was registered: how far they were off, or why they are not."""

    compiled: bool
    rows: Annotated[int, Field(description="That were scored both ways.")] = 0
    largest_difference: float = 0.0
    note: Annotated[str, Field(description="Why it is scored by scikit-learn alone.")] = ""

    def __str__(self) -> str:
        if not self.compiled:
            return f"its trees are not compiled, and scored by scikit-learn: {self.note}"
        return (
            f"its trees are compiled: on {self.rows:,} rows, strange ones among them, the largest difference to "
            f"scikit-learn is {self.largest_difference:g}"
        )


class ModelManifest(Definition):
    """manifest.json of a version: written last, with the SHA-256 of every other file."""

    manifest_version: Literal[1] = 1
    name: Name
    version: Annotated[int, Field(ge=1)]
    registered_at: Utc
    registered_by: str
    files: dict[str, FileRecord]
    training: TrainingRecord | None = None
    code: CodeRecord | None = None
    environment: Annotated[dict[str, str], Field(default_factory=dict)]
    origin: Annotated[Origin | None, Field(description="None: it was registered here first.")] = None
    compilation: Annotated[Compilation | None, Field(description="None: nobody asked for it.")] = None

    @property
    def digest(self) -> str:
        """The SHA-256 of what `sha256sum` prints for the version's files in order of name, without the manifest."""
        lines = [f"{record.sha256}  {name}\n" for name, record in sorted(self.files.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class ModelVersion:
    """One immutable version: its manifest, and its signature as verified against it."""

    manifest: ModelManifest
    signature: Signature

    def __str__(self) -> str:
        # One that is about to be registered has no number.
        return f"{self.name} version {self.version}" if self.version else self.name

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> int:
        return self.manifest.version

    @cached_property
    def digest(self) -> str:
        """Covers the model, its signature, profile, benchmark, card, probe rows, and what is usual of it."""
        return self.manifest.digest

    @property
    def label(self) -> str:
        """What stands in the tables' column model_version."""
        return f"{self.name}/{self.version:04d}"

    @property
    def format(self) -> str:
        return self.signature.format

    @property
    def origin(self) -> str | None:
        """models:/NAME/VERSION, of one that was mirrored from MLflow's registry."""
        return self.manifest.origin.uri if self.manifest.origin else None

    @property
    def inputs(self) -> InputSchema:
        return self.signature.inputs

    @property
    def outputs(self) -> dict[str, Prediction]:
        return self.signature.outputs


class Event(Definition):
    """One change around a model. Aliases and history are what all events together say."""

    event_version: Literal[1] = 1
    sequence: Annotated[int, Field(ge=1)]
    at: Utc
    actor: str
    action: Literal["set_alias", "drop_alias", "recall"]
    alias: Name | None = None
    version: Annotated[int, Field(ge=1)] | None = None
    reason: str
    evidence: Annotated[dict[str, JsonValue], Field(default_factory=dict)]
    forced: bool = False

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        needed = {"set_alias": ("alias", "version"), "drop_alias": ("alias",), "recall": ("version",)}[self.action]
        if missing := [part for part in needed if getattr(self, part) is None]:
            raise ValueError(f"{self.action} needs {' and '.join(missing)}")
        if self.forced and not self.reason.strip():
            raise ValueError("a forced change needs a reason")
        return self


@dataclass(frozen=True)
class Usual:
    """What is known of a version's past, out of sample: what alarms and estimates stand on."""

    calibration: Calibration
    null_windows: pa.Table | None = None
    null_performance: pa.Table | None = None
    estimator: dict[str, Any] | None = None
    loss_model: bytes | None = None


@dataclass(frozen=True)
class Candidate:
    """All that a version is made of, before it has a number.

    `probe` holds rows of the model's input columns, `expected` the output columns that the model makes of them here
    and now (tasks.core.models.model.expected_outputs).
    """

    model_bytes: bytes
    signature: Signature
    profile: dict[str, Any]
    benchmark: dict[str, Any]
    probe: pa.Table
    expected: pa.Table
    training: TrainingRecord | None = None
    code: CodeRecord | None = None
    environment: dict[str, str] | None = None
    card: dict[str, str] | None = None
    origin: Origin | None = None
    compilation: Compilation | None = None
    usual: Usual | None = None
