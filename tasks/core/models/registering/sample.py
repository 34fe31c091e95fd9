"""A sample of what a model is to score, as somebody has it in a Parquet file: brought to the types of a job, or to its own."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.definitions.column_types import type_name
from tasks.core.definitions.job import Job
from tasks.core.errors import DefinitionError, LakeCorrupt, SchemaBlocked
from tasks.core.models.model_version import InputColumn, InputSchema
from tasks.core.rows.conform import convert
from tasks.core.rows.conversions import CannotConvert, plain
from tasks.core.storage import Folder

_NOTHING = "nothing was registered"
_FEWER = "or, where it does without some of them, say by --input NAME which it takes, once for each"
_INDEX_OF_PANDAS = "__index_level_"
# What a job declares for what it cannot declare.
_NEAREST: dict[pa.DataType, pa.DataType] = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.int64(),
    pa.float16(): pa.float32(),
    pa.date64(): pa.date32(),
}
_compute: Any = pc


@dataclass(frozen=True)
class Sample:
    """The rows of a Parquet file, as they lie there."""

    path: str
    sha256: str
    table: pa.Table

    @property
    def columns(self) -> list[str]:
        """The names, without those that pandas keeps its index under."""
        return [name for name in self.table.column_names if not name.startswith(_INDEX_OF_PANDAS)]


def read_sample(path: str) -> Sample:
    """All rows of a Parquet file; DefinitionError where it is none, or has none."""
    file = Folder(path).root
    folder = Folder(file.parent)
    if not folder.exists(file.name) or folder.files(file.name):
        raise _wrong(f"there is no file {file}", "give the path of one Parquet file: --reference sample.parquet")
    try:
        table = folder.parquet(file.name).read()
    except LakeCorrupt as error:
        raise _wrong(
            f"{file} is not a Parquet file that can be read: {error.failed}",
            "write the sample by frame.to_parquet('sample.parquet', index=False)",
        ) from error
    if not len(table):
        raise _wrong(
            f"{file} has no rows", "give a sample of the rows that the model is to score; some thousand are good"
        )
    return Sample(str(file), folder.sha256(file.name), table)


def typed(sample: Sample, names: Sequence[str], job: Job | None) -> tuple[InputSchema, pa.Table]:
    """The input schema of these columns in this order, and the rows in its types.

    A column takes what is missing where the sample has a row in which it is; one that is a dictionary (pandas'
    category) is a category of the values that the dictionary has, in its order.
    """
    _check_there(sample, names)
    _check_declared(job, names)
    columns, made = [], []
    for name in names:
        values = _one_chunk(sample.table[name])
        _check_category(sample, name, values)
        field = pa.field(name, job.arrow_schema.field(name).type if job else _own_type(sample, name, values))
        _check_taken(name, field.type)
        column = in_type(sample, values, field)
        columns.append(_input(name, values, column))
        made.append(column)
    inputs = InputSchema(columns=tuple(columns))
    return inputs, pa.table(made, schema=inputs.arrow_schema)


def in_type(sample: Sample, values: pa.Array[Any], field: pa.Field[Any]) -> pa.Array[Any]:
    """A column of the sample in a declared type, by the rules by which a source's rows are brought to it."""
    try:
        column, rejections = convert(values, field)
    except SchemaBlocked as error:
        raise _wrong(f"{sample.path}: {error.failed}", error.next_step) from error
    if rejections:
        row, reason = rejections[0]
        raise _wrong(f"{sample.path}: {reason.message} (row {row}, and {len(rejections) - 1} more)", "mend the sample")
    made: pa.Array[Any] = column
    return made


def column_of(sample: Sample, name: str, what: str) -> pa.Array[Any]:
    """A column as it lies there; DefinitionError where there is none."""
    if name not in sample.columns:
        raise _wrong(f"{sample.path} lacks {what} '{name}'{_nearest([name], sample.columns)}", "name another column")
    return _one_chunk(sample.table[name])


def _check_there(sample: Sample, names: Sequence[str]) -> None:
    if missing := [name for name in names if name not in sample.columns]:
        raise _wrong(
            f"{sample.path} lacks columns that the model takes: {_listed(missing)}; it has {_listed(sample.columns)}"
            f"{_nearest(missing, sample.columns)}",
            f"give a sample with the columns that the model was fitted on, by the same names; {_FEWER}",
        )


def _check_declared(job: Job | None, names: Sequence[str]) -> None:
    if job and (missing := [name for name in names if name not in job.columns]):
        raise _wrong(
            f"the job '{job.job}' does not declare columns that the model takes: {_listed(missing)}"
            f"{_nearest(missing, job.columns)}",
            f"add them to 'columns' and to the query of {job.job}; {_FEWER}",
        )


def _check_category(sample: Sample, name: str, values: pa.Array[Any]) -> None:
    """Parquet keeps the codes of text alone: of other categories pandas has written the values, and their order is lost."""
    if not pa.types.is_dictionary(values.type) and name in _categories_of_pandas(sample.table.schema):
        raise _wrong(
            f"{sample.path}: '{name}' was a category of {type_name(values.type)} in pandas, whose codes Parquet does not keep",
            "fit the model on the values themselves, or on a category of text",
        )


def _categories_of_pandas(schema: pa.Schema) -> list[str]:
    try:
        columns = json.loads((schema.metadata or {})[b"pandas"])["columns"]
        return [str(each["name"]) for each in columns if each["pandas_type"] == "categorical"]
    except (KeyError, TypeError, ValueError):
        return []


def _own_type(sample: Sample, name: str, values: pa.Array[Any]) -> pa.DataType:
    try:
        kind = plain(values).type
    except CannotConvert as error:
        raise _wrong(f"{sample.path}: '{name}' is {error.found}, which no model takes", "leave it out") from error
    if pa.types.is_null(kind):
        raise _wrong(
            f"{sample.path}: '{name}' has no value in any row, so its type is not known",
            "give a sample that has some, or a job that declares the column",
        )
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    nearest: pa.DataType = _NEAREST.get(kind, kind)
    return nearest


def _check_taken(name: str, kind: pa.DataType) -> None:
    try:
        InputColumn(name=name, type=type_name(kind))
    except ValueError as error:
        raise _wrong(f"the column '{name}' is {type_name(kind)}, which no model takes", "leave it out") from error


def _input(name: str, values: pa.Array[Any], column: pa.Array[Any]) -> InputColumn:
    missing = bool(column.null_count)
    if pa.types.is_floating(column.type):
        missing = missing or bool(_compute.any(_compute.is_nan(column)).as_py())
    kind = type_name(column.type)
    if pa.types.is_dictionary(values.type):
        dictionary: Any = values
        known = tuple(dictionary.dictionary.drop_null().to_pylist())
        if not known:
            raise _wrong(
                f"the column '{name}' is a category of no value", "give a sample that has the values of the fit"
            )
        return InputColumn(
            name=name,
            type=kind,
            nullable=missing,
            encoding="category",
            categories=known,
            ordered=dictionary.type.ordered,
        )
    return InputColumn(name=name, type=kind, nullable=missing)


def _one_chunk(column: pa.ChunkedArray[Any]) -> pa.Array[Any]:
    # What does not fit into one array (2 GiB of text) comes as several; a sample is no such thing.
    combined: Any = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        combined = combined.chunk(0)
    one: pa.Array[Any] = combined
    return one


def _wrong(failed: str, next_step: str) -> DefinitionError:
    return DefinitionError(failed, state=_NOTHING, next_step=next_step)


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"


def _nearest(missing: Sequence[str], there: Collection[str]) -> str:
    near = {match for name in missing for match in difflib.get_close_matches(name, list(there), n=1)}
    return f"; nearest: {_listed(sorted(near))}" if near else ""
