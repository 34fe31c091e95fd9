"""What comes out of a model: which columns, where no job says so, and whether it makes them alike each time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import DefinitionError, ModelBlocked
from tasks.core.models.model import unregistered
from tasks.core.models.model_version import Signature
from tasks.core.models.prediction import (
    MEND_OUTPUTS,
    LoadedModel,
    PredictRaised,
    has_method,
    kinds_of_prediction,
    predict,
)
from tasks.core.models.registering.candidate import spread
from tasks.core.models.registering.given import NOTHING, Given, raised
from tasks.core.models.registering.sample_benchmark import classes_of

_BINARY = 2  # Classes.
_LOOKED_AT = 100  # Rows.
_KINDS = {"f": "float64", "i": "int64", "u": "int64", "b": "bool", "U": "string", "O": "string", "T": "string"}


def as_if(loaded: LoadedModel, signature: Signature) -> LoadedModel:
    """The model as a version of this signature would be loaded."""
    return replace(loaded, version=unregistered(signature))


def work_out_outputs(loaded: LoadedModel, given: Given, rows: pa.Table) -> dict[str, Prediction]:
    """What is published, where no job says so: of two classes the probability of the second, else what it predicts.

    Of a model with an output adapter, all columns that this makes of what the model predicts.
    """
    estimator = loaded.estimator
    classes = classes_of(estimator)
    is_adapted = loaded.version.signature.output_adapter is not None
    if not is_adapted and len(classes) == _BINARY and has_method(estimator, "predict_proba"):
        return {"probability": Prediction(method="predict_proba", class_=classes[1])}
    if not has_method(estimator, "predict"):
        raise DefinitionError(
            f"a {type(estimator).__name__} does not predict, so nobody knows what is to be published of it",
            state=NOTHING,
            next_step="write a job whose output.columns say it, and register the model with --job",
        )
    kinds = _kinds_of_prediction(loaded, given, rows.slice(0, _LOOKED_AT))
    default = "predicted_class" if classes else "prediction"
    return {name or default: Prediction(type=_type_of(kind, name, loaded)) for name, kind in kinds.items()}


def _kinds_of_prediction(loaded: LoadedModel, given: Given, rows: pa.Table) -> dict[str, str]:
    with _told(loaded, given):
        return kinds_of_prediction(loaded, rows)


def _type_of(kind: str, name: str, loaded: LoadedModel) -> str:
    if kind in _KINDS:
        return _KINDS[kind]
    what = f"'{name}' of {loaded.version.signature.output_adapter}" if name else "what it predicts"
    raise DefinitionError(
        f"of a {type(loaded.estimator).__name__}, {what} is of numpy's kind '{kind}', and no column of a table",
        state=NOTHING,
        next_step="write a job whose output.columns say what is published, and register the model with --job",
    )


def scored(loaded: LoadedModel, given: Given, rows: pa.Table) -> pa.Table:
    """The outputs of rows of the sample; ModelBlocked where they cannot be made."""
    with _told(loaded, given):
        return predict(loaded, rows, loaded.version.outputs)


@contextlib.contextmanager
def _told(loaded: LoadedModel, given: Given) -> Iterator[None]:
    """What the model, or an adapter, raises or returns, told to who registers it."""
    try:
        yield
    except PredictRaised as error:
        raise raised(error, given, loaded.estimator) from error
    except ModelBlocked as error:
        next_step = error.next_step
        if next_step == MEND_OUTPUTS and not loaded.version.signature.adapters:
            next_step = "mend the model or, where it is at fault, the sample; what is published a job says (--job)"
        raise ModelBlocked(error.failed, state=NOTHING, next_step=next_step) from error


def check_steady(loaded: LoadedModel, given: Given, rows: pa.Table, outputs: pa.Table) -> None:
    """Refuses a model whose scores hang on the rows around a row, or on chance: no run of it could be repeated."""
    probed = spread(len(rows))
    half = (len(probed) + 1) // 2
    parts = [scored(loaded, given, rows.take(part)) for part in (probed[:half], probed[half:])]
    for name in loaded.version.outputs:
        alone, among = (values_of(table[name]) for table in (pa.concat_tables(parts), outputs.take(probed)))
        off = differences(among, alone)
        rtol = loaded.version.signature.probe_rtol
        allowed = 0.0 if among.dtype.kind != "f" else rtol * np.maximum(np.abs(among), 1e-3)
        if (off > allowed).any():
            row = int(np.argmax(off))
            raise ModelBlocked(
                f"the model does not score a row alike twice: '{name}' of row {probed[row]} is {among[row]} among all "
                f"{len(rows):,} rows and {alone[row]} among {half}",
                state=NOTHING,
                next_step="take out what depends on chance or on the other rows (dropout and batch normalisation belong "
                "into evaluation mode before a model is exported)",
            )


def values_of(column: pa.ChunkedArray[Any]) -> npt.NDArray[Any]:
    """The values of a column of outputs, none of which is missing."""
    return column.to_numpy()


def differences(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """How far each is off; of what is no float 1 where it differs."""
    off = np.abs(ours - theirs) if ours.dtype.kind == "f" else ours != theirs
    return np.asarray(off, dtype=np.float64)
