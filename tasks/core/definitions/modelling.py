"""What a job says of its model: which one it is, what it publishes, how it is trained, and what it must prove."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tasks.core.definitions import mlflow_names
from tasks.core.definitions.mlflow_names import MlflowAlias
from tasks.core.definitions.schedule import Length
from tasks.core.definitions.terms import ColumnName, Definition, Name, Queried, Reference, TypeName

# Of `until` of training: as late as the labels that are due allow.
LABELLED = "labelled"

TypePath = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$", max_length=300)]


class ModelChoice(Definition):
    """Which model scores: its name in a registry, the lake's or MLflow's, and the alias that is followed."""

    given: Annotated[
        str,
        Field(
            alias="name",
            max_length=600,
            pattern=rf"^([a-z][a-z0-9_]{{0,62}}|{mlflow_names.PATTERN})$",
            description="A name in the lake's registry: lower-case letters, digits and _. Or models:/NAME@ALIAS, in that "
            "of the MLflow server at MLFLOW_TRACKING_URI.",
            examples=["flight_delays", "models:/flight_delays@production"],
        ),
    ]
    alias: Annotated[Name, Field(description="Not beside models:/NAME@ALIAS, which names its own.")] = "production"
    allowed_types: Annotated[
        tuple[TypePath, ...],
        Field(
            description="Types and functions, as module.Name, that the model's file may name beside the default list."
        ),
    ] = ()

    @model_validator(mode="before")
    @classmethod
    def _take_alias_from_name(cls, data: Any) -> Any:
        given = data.get("name", data.get("given")) if isinstance(data, dict) else None
        if not isinstance(given, str) or not given.startswith(mlflow_names.SCHEME):
            return data
        found = mlflow_names.parse(given)
        if found is None:
            raise ValueError(
                f"'{given[:100]}' names no alias of MLflow's registry, and must be models:/NAME@ALIAS, such as "
                "models:/flight_delays@production"
            )
        if "alias" in data:
            raise ValueError(f"'alias' is given twice: name ends in @{found.alias}; take the key 'alias' out")
        return {**data, "alias": found.lake_alias}

    @property
    def mlflow(self) -> MlflowAlias | None:
        """What is followed in MLflow; None for a model that is registered in the lake alone."""
        return mlflow_names.parse(self.given)

    @property
    def name(self) -> str:
        """The name in the lake's registry, which keeps every version that scores; of MLflow's too."""
        return self.mlflow.lake_name if self.mlflow else self.given


class Prediction(Definition):
    """One published column: which method of the model makes it, and for predict_proba of which class."""

    method: Literal["predict", "predict_proba", "decision_function", "score_samples", "transform"] = "predict"
    class_: Annotated[
        bool | int | str | None, Field(alias="class", description="The class whose probability or score is published.")
    ] = None
    type: TypeName = "float64"

    @model_validator(mode="after")
    def _check_class(self) -> Self:
        if self.method == "predict_proba" and self.class_ is None:
            raise ValueError("predict_proba needs 'class': the label whose probability is published")
        if self.method in ("predict", "score_samples") and self.class_ is not None:
            raise ValueError(f"{self.method} takes no 'class'")
        return self


class WindowRange(Definition):
    """Windows from first to last, both included."""

    first: str
    last: str

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


class Labels(Queried):
    """What came true: a query like the source's and on its database, of the keys and the target."""

    target: ColumnName
    type: TypeName = "bool"
    suite: Annotated[
        Name | None, Field(description="The file expectations/<suite>.json, for the labels themselves.")
    ] = None
    delay: Annotated[Length, Field(description="How long after a window's end its labels are due.")] = "1d"
    revisit: Annotated[
        tuple[Length, ...],
        Field(max_length=20, description="How long after that they are pulled again: for late ones, and corrections."),
    ] = ("1d", "7d", "30d")
    expected_share: Annotated[
        float, Field(ge=0, le=1, description="Fewer of a window's rows with a label when these are due are late.")
    ] = 0.5


class Training(Definition):
    """How a version of the model is made: an estimator, its features, and ranges of windows in the order of time."""

    estimator: Reference
    features: Annotated[tuple[ColumnName, ...], Field(min_length=1)]
    fit: WindowRange
    calibrate: WindowRange | None = None
    benchmark: WindowRange
    folds: Annotated[
        int,
        Field(
            ge=0,
            le=20,
            description="Into so many parts in the order of time all these ranges are cut, each scored by a model of the "
            "others: what is usual out of sample, for the monitor. 0: alarms are not calibrated.",
        ),
    ] = 6

    compile_: Annotated[
        bool,
        Field(
            alias="compile",
            description="Compile the trees of each version, where they score as scikit-learn's do and a C compiler is here.",
        ),
    ] = False

    @model_validator(mode="after")
    def _check_time_order(self) -> Self:
        ranges = [one for one in (self.fit, self.calibrate, self.benchmark) if one]
        bounds = [bound for one in ranges for bound in (one.first, one.last)]
        strictly = all(before.last < after.first for before, after in itertools.pairwise(ranges))
        if bounds != sorted(bounds) or not strictly:
            raise ValueError("fit, calibrate and benchmark must follow each other in time and not overlap")
        return self


class Promotion(Definition):
    """What a version must prove on labelled rows, beside production, before it takes its place."""

    windows: Annotated[
        WindowRange | None, Field(description="The labelled windows of the comparison; none: those of the benchmark.")
    ] = None
    metric: Annotated[
        str | None, Field(description="A metric of the benchmark, such as roc_auc or rmse; none: the first of them.")
    ] = None
    may_lose: Annotated[
        float,
        Field(ge=0, description="How much worse the metric may be, in its own unit, at the worse end of the interval."),
    ] = 0.005
    slices: dict[ColumnName, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="Columns by whose values the rows are cut, each with what the metric may lose in any slice.",
    )
    calibration_may_lose: Annotated[
        float, Field(ge=0, description="How much the expected calibration error of a probability may rise.")
    ] = 0.01
    speed_at_least: Annotated[float, Field(ge=0, description="Rows a second, as a multiple of production's.")] = 0.5
    memory_at_most: Annotated[float, Field(gt=0, description="Peak memory, as a multiple of production's.")] = 2.0
    approval: Annotated[
        bool, Field(description="Whether a person must agree, in the Prefect UI, before the alias moves.")
    ] = False
