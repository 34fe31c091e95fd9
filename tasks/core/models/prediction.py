"""One batch through one model: the frame that it takes, each method called once, and columns that can be published."""

from __future__ import annotations

import abc
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.definitions.column_types import parse_type, type_name
from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import ModelBlocked
from tasks.core.models.adapters import NONE, Adapters, column_of, to_columns, to_model
from tasks.core.models.model_version import InputColumn, InputSchema, ModelVersion
from tasks.core.models.returned import as_array, classes_of, few, refuse_reordered

_LONGEST_MESSAGE = 500
_MATRIX = 2  # Dimensions.
MEND_OUTPUTS = "mend output.columns in the job"
_TAKEN_APART = "let a function of the project make columns of it: lamplighter register --output-adapter module:function"


METHODS = ("predict", "predict_proba", "decision_function", "score_samples", "transform")


class Elsewhere(abc.ABC):
    """Stands for an estimator that another process holds: a batch goes there, and its columns come back.

    What the estimator says of itself (classes_, feature_names_in_, n_features_in_) it says as well.
    """

    methods: frozenset[str] = frozenset()

    @abc.abstractmethod
    def outputs(self, batch: pa.RecordBatch | pa.Table, outputs: Mapping[str, Prediction]) -> pa.Table:
        """What `predict` makes of the batch there; it raises what `predict` raises."""

    @abc.abstractmethod
    def kind_of_prediction(self, batch: pa.RecordBatch | pa.Table) -> str:
        """The letter of the numpy type of what its method `predict` returns; PredictRaised where it raises."""

    @property
    @abc.abstractmethod
    def process(self) -> int:
        """The number of that process."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that passed the gate, with what the gate had to remark, and the versions of the libraries that made it.

    `adapters` are the functions that its version names; of a model elsewhere the process there has them.
    """

    version: ModelVersion
    estimator: Any
    warnings: tuple[str, ...] = ()
    libraries: Mapping[str, str] = dataclass_field(default_factory=dict)
    adapters: Adapters = NONE
    # As they were when it was loaded: the order in which its columns are taken.
    classes: tuple[Any, ...] | None = dataclass_field(init=False, default=None)

    def __post_init__(self) -> None:
        """A model that is called without the functions around it would score, and wrongly."""
        object.__setattr__(self, "classes", classes_of(self.estimator))
        if self.version.signature.adapters and self.adapters == NONE and not isinstance(self.estimator, Elsewhere):
            raise ValueError(f"{self.version} is scored with {', '.join(self.version.signature.adapters)}")

    @property
    def processes(self) -> tuple[int, ...]:
        """The process beside this one that holds it, if one does."""
        return (self.estimator.process,) if isinstance(self.estimator, Elsewhere) else ()


def has_method(estimator: Any, name: str) -> bool:
    """Whether an estimator, here or elsewhere, has one of METHODS."""
    return name in estimator.methods if isinstance(estimator, Elsewhere) else hasattr(estimator, name)


class PredictRaised(Exception):
    """The model itself raised on a batch, or what stands `by` it. Internal: whoever scores looks for the rows to blame."""

    def __init__(self, original: Exception | str, by: str = "") -> None:
        text = original if isinstance(original, str) else f"{type(original).__name__}: {original}"
        text = " ".join(f"{by} raised {text}".split() if by else text.split())
        self.by = by
        self.message = text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}..."
        super().__init__(self.message)


def input_frame(batch: pa.RecordBatch | pa.Table, inputs: InputSchema) -> Any:
    """The pandas frame, or the array, that the model takes: its columns in its order. Training uses this too.

    Text becomes pandas' str with NaN for null, a category a pandas category of exactly the known values, nullable
    integers and booleans float64, decimals float64, dates and instants datetime64[us]. The type of a column follows
    from its declaration alone, never from the values of a batch.
    """
    import pandas as pd  # noqa: PLC0415 - heavy

    frame = pd.DataFrame({column.name: _series(_whole(batch, column.name), column) for column in inputs.columns})
    return frame if inputs.container == "pandas" else frame.to_numpy()


def check_input_schema(version: ModelVersion, snapshot_schema: pa.Schema) -> None:
    """ModelBlocked unless the snapshot has every column that the model takes, in the very type. More columns are fine."""
    wrong = []
    for field in version.inputs.arrow_schema:
        position = snapshot_schema.get_field_index(field.name)
        if position < 0:
            wrong.append(f"'{field.name}' ({type_name(field.type)}) is missing")
        elif not (found := snapshot_schema.field(position).type).equals(field.type):
            wrong.append(f"'{field.name}' is {type_name(found)} and must be {type_name(field.type)}")
    if wrong:
        raise ModelBlocked(
            f"the columns of the snapshot are not those that {version} takes: {'; '.join(wrong)}",
            state="no row was scored",
            next_step="mend columns and the query in the job, or train a version on the columns that there are now",
        )


def predict(loaded: LoadedModel, batch: pa.RecordBatch | pa.Table, outputs: Mapping[str, Prediction]) -> pa.Table:
    """The output columns of a batch, in their declared types and order, one row a row.

    PredictRaised where the model raised; ModelBlocked where what it returned cannot be published.
    """
    schema = pa.schema([pa.field(name, parse_type(output.type)) for name, output in outputs.items()])
    check_input_schema(loaded.version, batch.schema)
    if batch.num_rows == 0:
        return schema.empty_table()
    if isinstance(loaded.estimator, Elsewhere):
        return loaded.estimator.outputs(batch.select(loaded.version.inputs.names), outputs)
    made = _called(loaded, batch, [output.method for output in outputs.values()])
    columns = [
        _published(made[output.method].column(loaded, name, output), batch.num_rows, schema.field(name).type)
        for name, output in outputs.items()
    ]
    return pa.table(columns, schema=schema)


def kinds_of_prediction(loaded: LoadedModel, batch: pa.RecordBatch | pa.Table) -> dict[str, str]:
    """The letter of the numpy type of what `predict` makes: of each column of the output adapter by its name, else of
    what it returned, under ''. PredictRaised where it raises.
    """
    if isinstance(loaded.estimator, Elsewhere):
        return {"": loaded.estimator.kind_of_prediction(batch)}
    made = _called(loaded, batch, ["predict"])["predict"]
    found = {"": made.returned} if made.adapted is None else made.adapted
    return {name: np.asarray(values).dtype.kind for name, values in found.items()}


def predicts_classes(loaded: LoadedModel, output: Prediction) -> bool:
    """Whether `predict` gives classes; of a class an output adapter may have made a number."""
    is_number = pa.types.is_floating(parse_type(output.type))
    adapted = loaded.version.signature.output_adapter is not None
    return hasattr(loaded.estimator, "classes_") and not (adapted and is_number)


def _called(loaded: LoadedModel, batch: pa.RecordBatch | pa.Table, names: Collection[str]) -> dict[str, _Made]:
    """What came of each of these methods, called once."""
    methods = {name: _method(loaded, name) for name in names}
    try:
        frame = input_frame(batch, loaded.version.inputs)
        taken = to_model(loaded.adapters, frame, batch.num_rows, loaded.version)
        return {name: _Made.of(loaded, name, method(taken)) for name, method in methods.items()}
    except (MemoryError, ModelBlocked, PredictRaised):
        raise  # No row's fault, or told already.
    except Exception as error:
        raise PredictRaised(error) from error


# -- into the model -------------------------------------------------------------------------------------------------


def _whole(batch: pa.RecordBatch | pa.Table, name: str) -> pa.Array[Any]:
    column = batch.column(name)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _series(values: pa.Array[Any], column: InputColumn) -> Any:
    import pandas as pd  # noqa: PLC0415 - heavy

    kind = values.type
    if not column.nullable and values.null_count:
        raise ValueError(
            f"input '{column.name}' is null in {values.null_count} rows, and the model takes no null there"
        )
    if column.encoding == "category":
        known: Any = pa.array(list(column.categories or ()), kind)
        codes: Any = pc.index_in(values, value_set=known, skip_nulls=True).fill_null(-1).to_numpy()
        return pd.Categorical.from_codes(codes, categories=pd.Index(known.to_pandas()), ordered=column.ordered)
    if pa.types.is_decimal(kind) or (column.nullable and (pa.types.is_integer(kind) or pa.types.is_boolean(kind))):
        return values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    if pa.types.is_string(kind):
        return _text(values)
    if pa.types.is_date(kind):
        return values.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False)
    if pa.types.is_timestamp(kind):
        return values.to_pandas()
    return values.to_numpy(zero_copy_only=False)


def _text(values: pa.Array[Any]) -> Any:
    import pandas as pd  # noqa: PLC0415 - heavy

    if pd.Series(dtype="str").dtype == object:
        # pandas 2 has no text of its own: its "str" would write a null out, as 'None'.
        found = values.to_numpy(zero_copy_only=False)
        found[values.is_null().to_numpy(zero_copy_only=False)] = np.nan
        return found
    return pd.Series(values.to_pandas(), dtype="str")


def arrow_stream(batch: pa.RecordBatch | pa.Table) -> pa.Buffer:
    """The bytes in which a batch crosses into another process."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write(batch)
    return sink.getvalue()


# -- out of the model -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Made:
    """What came of a method: an array or, where there is an output adapter, columns by name."""

    returned: npt.NDArray[Any] | None
    adapted: Mapping[str, Any] | None

    @classmethod
    def of(cls, loaded: LoadedModel, method: str, returned: Any) -> _Made:
        if hasattr(returned, "iloc"):
            refuse_reordered(returned, f"{loaded.version}, {method}", loaded.classes)
        try:
            adapted = to_columns(loaded.adapters, returned, loaded.version)
        except (MemoryError, ModelBlocked):
            raise
        except Exception as error:
            raise PredictRaised(error, by=f"the output adapter {loaded.version.signature.output_adapter}") from error
        return cls(as_array(returned) if adapted is None else None, adapted)

    def column(self, loaded: LoadedModel, name: str, output: Prediction) -> _Returned:
        if self.adapted is not None:
            values = column_of(self.adapted, name, loaded.adapters, loaded.version)
            return _Returned(loaded, name, output, values, is_adapted=True)
        return _Returned(loaded, name, output, np.asarray(self.returned))


@dataclass(frozen=True)
class _Returned:
    """What a method returned, or an output adapter made of it, and which column is to be made of it."""

    loaded: LoadedModel
    column: str
    output: Prediction
    values: npt.NDArray[Any]
    is_adapted: bool = False

    def blocked(self, what: str, next_step: str = "") -> ModelBlocked:
        adapter = f" and {self.loaded.version.signature.output_adapter}" if self.is_adapted else ""
        mend = MEND_OUTPUTS
        # One that is about to be registered has no number yet.
        if self.loaded.version.version:
            mend = f"mend the model or output.columns in the job, or `lamplighter rollback {self.loaded.version.name}`"
        return ModelBlocked(
            f"{self.loaded.version}, {self.output.method}{adapter} for the column '{self.column}': {what}",
            state="nothing of this batch was published",
            next_step=next_step or mend,
        )


def _method(loaded: LoadedModel, name: str) -> Any:
    method = getattr(loaded.estimator, name, None)
    if method is not None:
        return method
    there = [each for each in METHODS if hasattr(loaded.estimator, each)]
    raise ModelBlocked(
        f"{loaded.version} is a {type(loaded.estimator).__name__}, which has no {name}; it has {', '.join(there) or 'none'}",
        state="no row was scored",
        next_step="choose another method under output.columns in the job",
    )


def _published(returned: _Returned, rows: int, kind: pa.DataType) -> pa.Array[Any]:
    values = returned.values
    if values.ndim == 0 or len(values) != rows:
        # Of several outputs predict_proba gives a list.
        several = values.ndim > _MATRIX and not returned.is_adapted
        what = f"it returned {len(values) if values.ndim else 'one value'} for {rows} rows"
        raise returned.blocked(what, _TAKEN_APART if several else "")
    if (
        values.ndim == _MATRIX
        and values.shape[1] == 1
        and (returned.is_adapted or returned.output.method != "predict_proba")
    ):
        values = values[:, 0]
    values = _chosen(returned, values)
    return _checked(returned, values, kind)


def _chosen(returned: _Returned, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The one-dimensional values that the column asks for."""
    if returned.is_adapted:
        # By its name it was chosen already.
        return _one_a_row(returned, values)
    method, wanted = returned.output.method, returned.output.class_
    if method in ("predict", "score_samples"):
        return _one_a_row(returned, values)
    if method == "transform":
        return _component(returned, values)
    if values.ndim == 1:
        return _binary_score(returned, values)
    if values.ndim != _MATRIX or wanted is None:
        raise returned.blocked(
            f"it returned an array of shape {values.shape}; 'class' must say whose value is published"
        )
    classes = _classes(returned)
    if values.shape[1] != len(classes):
        raise returned.blocked(f"it returned {values.shape[1]} columns for {len(classes)} classes ({classes})")
    return values[:, _class_index(returned, classes)]


def _one_a_row(returned: _Returned, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.ndim != 1:
        raise returned.blocked(
            f"it returned an array of shape {values.shape}, and one value a row is needed",
            "" if returned.is_adapted else _TAKEN_APART,
        )
    return values


def _component(returned: _Returned, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Of transform: the only column, or the one whose position 'class' gives."""
    wanted = returned.output.class_
    if values.ndim == 1 and wanted in (None, 0):
        return values
    if values.ndim != _MATRIX or isinstance(wanted, str | bool) or wanted is None or not 0 <= wanted < values.shape[1]:
        raise returned.blocked(
            f"it returned an array of shape {values.shape}; 'class' must be a column's number from 0"
        )
    return values[:, wanted]


def _binary_score(returned: _Returned, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """decision_function of two classes, or of no classes: one score a row, high for the second class."""
    if returned.output.method == "predict_proba":
        raise returned.blocked("it returned one value a row, and a column for each class is needed")
    if returned.output.class_ is None:
        return values
    classes = _classes(returned)
    if _class_index(returned, classes) != 1 or classes[2:]:
        raise returned.blocked(f"its score is that of the class {classes[-1]!r} alone")
    return values


def _classes(returned: _Returned) -> list[Any]:
    classes = getattr(returned.loaded.estimator, "classes_", None)
    if classes is None or np.ndim(classes) != 1:
        raise returned.blocked("the model has no list of classes (classes_), so 'class' names nothing")
    now, then = list(np.asarray(classes).tolist()), returned.loaded.classes
    if then is not None and now != list(then):
        raise returned.blocked(f"its classes are {few(now)}, and were {few(then)} when it was loaded", "mend the model")
    return now


def _class_index(returned: _Returned, classes: list[Any]) -> int:
    wanted = returned.output.class_
    if wanted not in classes:
        raise returned.blocked(
            f"the model knows no class {wanted!r}; its classes are {classes}", "give one of these as 'class'"
        )
    return classes.index(wanted)


def _checked(returned: _Returned, values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array[Any]:
    """In the declared type, without a null, NaN or infinity."""
    try:
        column: pa.Array[Any] = pa.array(values, from_pandas=False).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise returned.blocked(f"its values ({values.dtype}) cannot be {type_name(kind)}: {reason}") from error
    usable: Any = pc.is_valid(column)
    if pa.types.is_floating(kind):
        finite: Any = pc.is_finite(column)
        usable = pc.and_(usable, finite.fill_null(False))
    if bad := column.filter(pc.invert(usable)):
        row = pc.index(usable, False).as_py()
        raise returned.blocked(
            f"{len(bad)} of {len(column)} values are missing, NaN or infinite; the first, in row {row}, is {bad[0].as_py()}"
        )
    return column
