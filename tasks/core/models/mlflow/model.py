"""What the files of an MLflow model say: its flavour, its inputs and its example rows. Plain text is read, nothing is run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from tasks.core.definitions.column_types import type_name
from tasks.core.definitions.job import Job
from tasks.core.errors import SchemaBlocked
from tasks.core.models.mlflow.registry import Artifacts
from tasks.core.models.model_version import InputColumn, InputSchema
from tasks.core.rows.conform import convert
from tasks.core.rows.conversions import Column

DESCRIPTION = "MLmodel"
ACCEPTED = "sklearn (pickle, cloudpickle or skops) and onnx"

_HOW_TO_LOG = (
    "log it again with both, then move the alias: mlflow.sklearn.log_model(model, name=..., registered_model_name=..., "
    "signature=infer_signature(rows, model.predict(rows)), input_example=rows.head(100)), where rows is a pandas frame"
)
_PICKLES = {"pickle", "cloudpickle"}
# What MLflow calls them, and what a job's type must be for that.
_NUMBERS = {"boolean", "integer", "long", "float", "double"}
_KINDS = dict.fromkeys(_NUMBERS, "number") | {"string": "text", "datetime": "instant"}


@dataclass(frozen=True)
class Described:
    """An MLmodel file, as far as it matters here: names, MLflow's types, and which files hold what."""

    format: str
    model_file: str
    example_file: str
    columns: tuple[tuple[str, str], ...]
    environment: dict[str, str]


def describe(content: bytes, artifacts: Artifacts) -> Described:
    """The MLmodel file of a version; ModelBlocked says what is missing in it, and how to log it."""
    try:
        found: Any = yaml.safe_load(content)
        flavors = dict(found["flavors"])
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError, TypeError, KeyError) as error:
        raise artifacts.blocked(f"its {DESCRIPTION} file cannot be read ({type(error).__name__})") from error
    model_format, model_file, environment = _model_file(flavors, artifacts)
    example = found.get("saved_input_example_info")
    example_file = example.get("artifact_path") if isinstance(example, dict) else None
    columns = _columns(found.get("signature"))
    if not columns or not isinstance(example_file, str):
        missing = [what for what, there in (("signature", columns), ("input example", example_file)) if not there]
        of = "of columns with names" if missing == ["signature"] and found.get("signature") else ""
        raise artifacts.blocked(f"it was logged without {_either(missing)} {of}".strip(), _HOW_TO_LOG)
    return Described(model_format, model_file, example_file, columns, environment)


def _model_file(flavors: dict[Any, Any], artifacts: Artifacts) -> tuple[str, str, dict[str, str]]:
    """The format here, the file, and the library's version, of the one flavour that is taken."""
    sklearn, onnx = (flavors.get(name) for name in ("sklearn", "onnx"))
    if isinstance(sklearn, dict):
        written_by = sklearn.get("serialization_format", "pickle")
        if written_by == "skops" or written_by in _PICKLES:
            kept = "skops" if written_by == "skops" else "joblib"
            return kept, str(sklearn.get("pickled_model")), {"scikit-learn": str(sklearn.get("sklearn_version", ""))}
        raise artifacts.blocked(f"its flavor sklearn was saved by {written_by}; taken are {ACCEPTED}")
    if isinstance(onnx, dict):
        return "onnx", str(onnx.get("data")), {}
    raise artifacts.blocked(
        f"its flavors are {', '.join(sorted(map(str, flavors))) or 'none'}; taken are {ACCEPTED}",
        "log it by mlflow.sklearn or, of any other framework, by mlflow.onnx; then move the alias to the new version",
    )


def _either(missing: list[str]) -> str:
    return " and ".join(f"{'an' if what[0] == 'i' else 'a'} {what}" for what in missing)


def _columns(signature: Any) -> tuple[tuple[str, str], ...]:
    """Names and MLflow's types of the inputs, in order; none of a signature of arrays, which have no names."""
    try:
        listed = json.loads(signature["inputs"])
        return tuple((str(one["name"]), str(one["type"])) for one in listed)
    except (TypeError, KeyError, ValueError):
        return ()


def input_schema(described: Described, job: Job, artifacts: Artifacts) -> InputSchema:
    """The signature's columns in its order, in the job's types. ModelBlocked names those that do not fit."""
    schema = job.arrow_schema
    wrong = [_misfit(name, kind, schema) for name, kind in described.columns]
    if found := [one for one in wrong if one]:
        raise artifacts.blocked(
            f"the columns of its signature are not those of the job '{job.job}': {'; '.join(found)}",
            "mend columns and the query in the job, or log a model of the columns that there are",
        )
    return InputSchema(columns=tuple(InputColumn(name=name, type=job.columns[name]) for name, _ in described.columns))


def _misfit(name: str, kind: str, schema: pa.Schema) -> str:
    if kind not in _KINDS:
        return f"'{name}' is {kind}, which no model takes as a column here"
    if name not in schema.names:
        return f"'{name}' ({kind}) is not among the job's columns"
    declared = schema.field(name).type
    if _kind_of(declared) != _KINDS[kind]:
        return f"'{name}' is {kind}, and the job declares {type_name(declared)}"
    return ""


def _kind_of(declared: pa.DataType) -> str:
    if pa.types.is_string(declared):
        return "text"
    if pa.types.is_date(declared) or pa.types.is_timestamp(declared):
        return "instant"
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return "number" if any(is_kind(declared) for is_kind in numbers) else "other"


def example_rows(content: bytes, inputs: InputSchema, artifacts: Artifacts) -> pa.Table:
    """The rows of the input example in the model's types, by the rules by which a source's rows are brought to them."""
    try:
        values = _by_column(json.loads(content))
        found = {name: pa.array([_or_null(one) for one in values[name]]) for name in inputs.names}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, pa.ArrowException) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise artifacts.blocked(
            f"its input example is no table of the signature's columns ({why})", _HOW_TO_LOG
        ) from error
    columns = [_converted(found[field.name], field, artifacts) for field in inputs.arrow_schema]
    if len({len(column) for column in columns}) != 1 or not len(columns[0]):
        raise artifacts.blocked("its input example has no rows, or columns of several lengths", _HOW_TO_LOG)
    return pa.table(columns, schema=inputs.arrow_schema)


def _by_column(example: Any) -> dict[str, list[Any]]:
    """A frame as pandas splits it, or one record or lists by name."""
    if set(example) >= {"columns", "data"}:
        rows = [dict(zip(example["columns"], row, strict=True)) for row in example["data"]]
        return {name: [row[name] for row in rows] for name in example["columns"]}
    return {name: value if isinstance(value, list) else [value] for name, value in example.items()}


def _or_null(value: Any) -> Any:
    """Missing is NaN in the files of MLflow, text too."""
    return None if isinstance(value, float) and np.isnan(value) else value


def _converted(values: pa.Array[Any], field: pa.Field[Any], artifacts: Artifacts) -> Column:
    try:
        column, rejections = convert(values, field, naive_zone="UTC")
    except SchemaBlocked as error:
        raise artifacts.blocked(f"of its input example, column '{field.name}': {error.failed}", _HOW_TO_LOG) from error
    if rejections:
        row, reason = rejections[0]
        raise artifacts.blocked(f"row {row} of its input example: {reason.message}", _HOW_TO_LOG)
    return column
