"""A version of the job `readings` whose performance is estimated."""

from tasks.core.definitions.modelling import Prediction
from tasks.core.estimation import cbpe
from tasks.core.estimation.estimator import Fitted, PerformanceEstimator
from tasks.core.models.model_version import Usual
from tasks.core.monitoring.records import Calibration
from tests.flows.conftest import World, as_table, logistic_model, readings, register

MAP = cbpe.ProbabilityMap(scores=(0.0, 1.0), probabilities=(0.1, 0.8))
CBPE = PerformanceEstimator(
    method="cbpe", column="probability", metrics=("roc_auc", "brier"), probabilities=MAP, half_widths={"brier": 0.1}
)


def usual_with(kept: PerformanceEstimator, loss_model: bytes | None = None) -> Usual:
    return Usual(Calibration(), estimator=Fitted(kept).record, loss_model=loss_model)


def add_estimating_version(world: World, kept: PerformanceEstimator, loss_model: bytes | None = None):
    """It is production from now on."""
    return register(
        world.lake,
        "readings",
        logistic_model(),
        {"kind": "string", "x": "float64", "y": "float64"},
        {"probability": Prediction(method="predict_proba", class_=1)},
        as_table(readings()),
        usual=usual_with(kept, loss_model),
    )
