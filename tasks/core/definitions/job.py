"""A job: one thing scored on a schedule, read from one YAML file into frozen models that forbid unknown keys."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

import pyarrow as pa
from pydantic import ByteSize, Field, model_validator

from tasks.core.definitions.auditing import Audit
from tasks.core.definitions.column_types import parse_type
from tasks.core.definitions.modelling import Labels, ModelChoice, Promotion, Training, WindowRange
from tasks.core.definitions.monitoring import Monitor
from tasks.core.definitions.operation import Operation
from tasks.core.definitions.output import Output
from tasks.core.definitions.schedule import Length
from tasks.core.definitions.source import Source, SqlSource
from tasks.core.definitions.terms import ColumnName, Definition, Name, TypeName
from tasks.core.definitions.window import Window, WindowSpec
from tasks.core.errors import DefinitionError

# Columns that Lamplighter itself writes; a job's own may not hide them.
RESERVED_COLUMNS = frozenset({"window_start", "model_version", "run_id", "scored_at", "as_of", "reasons"})

_MOST_AT_ONCE, _VALUES_AT_ONCE = 25_000, 4_000_000

OnChange = Literal["accept", "warn", "block"]


class SchemaChanges(Definition):
    """What a change of the source's columns does, against the window that was published before.

    accept: it is recorded in the manifest, no more. warn: published with warnings. block: nothing is published, and the
    error shows every difference. Values are brought to the declared types in any case.
    """

    added: Annotated[
        OnChange, Field(description="A column that the source did not have before; it is not read unless declared.")
    ] = "accept"
    missing: Annotated[
        Literal["block", "fill_null"],
        Field(
            description="A declared column that the source lacks. fill_null: all its values are missing, with a "
            "warning; keys and the event time block in any case."
        ),
    ] = "block"
    widened: Annotated[
        OnChange, Field(description="A type that holds all values of the earlier one, such as int64 after int32.")
    ] = "accept"
    retyped: Annotated[
        OnChange, Field(description="Any other change of type that can be converted, such as text after numbers.")
    ] = "warn"


class Limits(Definition):
    """What a run may use, and what it may lose, before it blocks."""

    quarantine_share: Annotated[float, Field(ge=0, le=1, description="Above this share of rows the run blocks.")] = 0.02
    memory: Annotated[
        ByteSize,
        Field(
            description="What a batch may take in the process that works on it, beside the libraries, as `512MB`: batches have "
            "as many rows as that has room for, by the size of the first ones.",
        ),
    ] = ByteSize(512_000_000)
    batch_rows: Annotated[
        int | None, Field(ge=1, le=10_000_000, description="Rows in a batch, instead of what `memory` has room for.")
    ] = None
    workers: Annotated[int, Field(ge=0, le=1024, description="Child processes; 0 is one a core.")] = 0
    batch_timeout_seconds: Annotated[
        float, Field(gt=0, le=86_400, description="For one batch, to validate or to score.")
    ] = 600
    isolate: Annotated[
        Literal["auto", "always"],
        Field(
            description="auto: a window of one batch runs in the parent process, but for a model of which more than "
            "scikit-learn runs."
        ),
    ] = "auto"
    wait_for_window: Annotated[
        Length,
        Field(description="How long a run waits for another one of the same window; 0min: it is refused at once."),
    ] = "0min"


class Job(Operation):
    """One thing scored on a schedule."""

    job: Name
    description: str = ""
    window: WindowSpec
    source: Source
    keys: Annotated[tuple[ColumnName, ...], Field(min_length=1, description="Together they name a row.")]
    event_time: Annotated[ColumnName | None, Field(description="The instant that places a row in its window.")] = None
    columns: Annotated[dict[ColumnName, TypeName], Field(min_length=1, description="Every column, with its type.")]
    on_empty: Annotated[Literal["block", "publish"], Field(description="What a window without rows does.")] = "block"
    schema_changes: SchemaChanges = SchemaChanges()
    suite: Annotated[Name | None, Field(description="The file expectations/<suite>.json.")] = None
    model: ModelChoice
    output: Output
    limits: Limits = Limits()
    labels: Labels | None = None
    training: Training | None = None
    promotion: Promotion = Promotion()
    monitor: Monitor = Monitor()
    audit: Audit = Audit()

    @model_validator(mode="after")
    def _check_columns_named(self) -> Self:
        self._must_be_declared("keys", self.keys)
        self._must_be_declared("output.pass_through", self.output.pass_through)
        if self.training:
            if self.model.mlflow:
                raise ValueError(f"training: versions of {self.model.mlflow} are made in MLflow; take 'training' out")
            if self.labels is None:
                raise ValueError("training: needs 'labels', the query of what came true")
            self._must_be_declared("training.features", self.training.features)
            _must_be_distinct("training.features", self.training.features)
        self._must_be_declared("promotion.slices", tuple(self.promotion.slices))
        self._must_be_declared("monitor.slices", self.monitor.slices or ())
        if self.monitor.retrain and self.training is None:
            raise ValueError("monitor.retrain: needs 'training', which says how the model is made")
        _must_be_distinct("keys", self.keys)
        _must_be_distinct("output.pass_through", self.output.pass_through)
        _must_be_distinct("columns", self.columns)
        _must_be_distinct("output.columns", self.output.columns)
        taken = [*self.keys, *filter(None, [self.event_time]), *self.output.pass_through, *RESERVED_COLUMNS]
        if clash := _also_in(taken, self.output.columns):
            raise ValueError(f"output.columns: {clash} would hide a column of the table; choose another name")
        if self.labels and _also_in([self.labels.target], self.columns):
            raise ValueError(
                f"labels.target: '{self.labels.target}' is among columns too, and is not known when rows are scored; take "
                "it out of columns, or give what came true another name in the labels' query"
            )
        if reserved := _also_in(RESERVED_COLUMNS, self.columns):
            raise ValueError(f"columns: {reserved} are written by Lamplighter; rename them in the query")
        return self

    @model_validator(mode="after")
    def _check_event_time(self) -> Self:
        if self.window.kind == "snapshot":
            if self.event_time is not None:
                raise ValueError("event_time: a window of kind snapshot has none")
            return self
        if self.event_time is None:
            raise ValueError("event_time: a window of kind interval needs one")
        self._must_be_declared("event_time", (self.event_time,))
        if self.columns[self.event_time] != "timestamp":
            raise ValueError(
                f"event_time: '{self.event_time}' is {self.columns[self.event_time]}, and must be timestamp"
            )
        return self

    @model_validator(mode="after")
    def _check_operated(self) -> Self:
        if self.ready and not isinstance(self.source, SqlSource):
            raise ValueError("ready: it is a query, and the source is files")
        if self.revisit and self.window.kind == "snapshot":
            raise ValueError(
                "revisit: a window of kind snapshot is the instant at which it was pulled; it cannot be pulled again"
            )
        if self.revisit and self.source.history == "current_only":
            raise ValueError(
                "revisit: the source knows the present only (source.history: current_only); a past window cannot be "
                "pulled again"
            )
        return self

    @model_validator(mode="after")
    def _check_delivered(self) -> Self:
        sql = self.output.sql
        if sql is None or sql.has_address:
            return self
        if not isinstance(self.source, SqlSource) or self.source.driver != sql.driver:
            raise ValueError(
                f"output.sql: give uri_env or uri_block; the source is no {sql.driver} whose address it could share"
            )
        return self

    @model_validator(mode="after")
    def _check_windows_named(self) -> Self:
        of_training = [self.training.fit, self.training.calibrate, self.training.benchmark] if self.training else []
        self._must_be_windows("training", of_training)
        self._must_be_windows("promotion", [self.promotion.windows])
        return self

    def _must_be_windows(self, key: str, ranges: Iterable[WindowRange | None]) -> None:
        for bound in (bound for one in ranges if one for bound in (one.first, one.last)):
            try:
                self.window.parse(bound)
            except DefinitionError as error:
                raise ValueError(f"{key}: {error.failed}") from error

    def _must_be_declared(self, key: str, names: tuple[str, ...]) -> None:
        if missing := [name for name in names if name not in self.columns]:
            raise ValueError(f"{key}: {missing} are not among columns; declared: {list(self.columns)}")

    @property
    def may_lack(self) -> frozenset[str]:
        """The declared columns that the source need not have: their values are missing then."""
        if self.schema_changes.missing == "block":
            return frozenset()
        return frozenset(self.columns) - {*self.keys, self.event_time}

    def known_at(self, window: Window) -> dt.datetime:
        """The instant whose knowledge a window is scored with: a query's :known_at. It follows from the window alone.

        The tick of the schedule that scores the window, however late its run began; without a schedule the window's end,
        which of a snapshot is its instant.
        """
        return self.schedule.tick_of(window, self.window) if self.schedule else window.end

    @property
    def rows_at_once(self) -> int:
        """How many rows are asked for at a time where they only pass through: of wide rows fewer."""
        return min(self.limits.batch_rows or _MOST_AT_ONCE, max(_VALUES_AT_ONCE // len(self.columns), 1))

    @property
    def arrow_schema(self) -> pa.Schema:
        """The snapshot's schema: the declared columns, in the declared order."""
        return pa.schema([pa.field(name, parse_type(kind)) for name, kind in self.columns.items()])


def _must_be_distinct(key: str, names: Iterable[str]) -> None:
    """Databases and some readers do not tell upper case from lower: two such names would be one column to them."""
    count = Counter(name.casefold() for name in names)
    if twice := [name for name in names if count[name.casefold()] > 1]:
        raise ValueError(f"{key}: {twice} stand for one column, given twice; upper and lower case count as the same")


def _also_in(taken: Iterable[str], names: Iterable[str]) -> list[str]:
    folded = {name.casefold() for name in taken}
    return sorted(name for name in names if name.casefold() in folded)


def job_json_schema() -> dict[str, Any]:
    """The JSON Schema of a job's YAML, for editors."""
    schema = Job.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Lamplighter job"}
