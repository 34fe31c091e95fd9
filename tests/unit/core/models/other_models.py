"""The models of other scikit-learn versions in tests/fixtures/other_scikit_learn, and how one gets into a registry."""

import datetime as dt
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.definitions.modelling import Prediction
from tasks.core.models.model_version import Candidate, InputColumn, InputSchema, Signature

FOLDER = pathlib.Path(__file__).parents[3] / "fixtures/other_scikit_learn"
FEATURES = {"logistic": ("kind", "x"), "boosting": ("x", "y"), "imputed": ("x", "y"), "adaboost": ("x",)}
OUTPUTS = {"probability": Prediction(method="predict_proba", class_=1)}


def folder_of(scikit_learn):
    return FOLDER / f"scikit_learn_{scikit_learn.replace('.', '_')}"


def expected_of(scikit_learn, name):
    """The sample rows, and what that environment's own predict_proba made of them."""
    table = pq.read_table(folder_of(scikit_learn) / "expected.parquet")
    # pandas 3 writes text as large_string.
    table = table.cast(
        pa.schema([("kind", pa.string()), *((column, pa.float64()) for column in table.column_names[1:])])
    )
    return table, table.select([name]).rename_columns(["probability"])


def register_other(registry, name, scikit_learn, *, model=None, interpreter=None, expected=None):
    """Registers such a model with the rows and the outputs of its own environment as its probe."""
    kinds = {"kind": "string", "x": "float64", "y": "float64"}
    inputs = tuple(InputColumn(name=feature, type=kinds[feature]) for feature in FEATURES[name])
    rows, theirs = expected_of(scikit_learn, name)
    candidate = Candidate(
        model_bytes=(folder_of(scikit_learn) / f"{name}.joblib").read_bytes(),
        signature=Signature(inputs=InputSchema(columns=inputs), outputs=OUTPUTS, interpreter=interpreter),
        profile={},
        benchmark={},
        probe=rows,
        expected=theirs if expected is None else expected,
        environment={"scikit-learn": scikit_learn},
    )
    return registry.register(model or name, candidate, at=dt.datetime(2026, 11, 1, tzinfo=dt.UTC), actor="ann")
