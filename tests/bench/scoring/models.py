"""The models that are scored with: pipelines as users write them, categories and all, over columns of text and numbers."""

from collections.abc import Sequence

from tasks.demo import _NUMBERS, CATEGORIES, late_arrival_model

FEATURES = (*CATEGORIES, *_NUMBERS)
# What is learnt, and what a job publishes: a probability of lateness, or minutes of delay.
LATE, DELAY = "late", "arr_delay"
NAMES = ("boosted", "linear", "forest", "regression")


def target_of(name: str) -> str:
    return DELAY if name == "regression" else LATE


def method_of(name: str) -> str:
    return "predict" if name == "regression" else "predict_proba"


def make(name: str, extra: Sequence[str]):
    """A pipeline that is not fitted; `extra` are number columns beside the demo's."""
    return {"boosted": _boosted, "linear": _linear, "forest": _forest, "regression": _regression}[name](tuple(extra))


def _boosted(extra):
    """The demo's own, 200 trees."""
    model = late_arrival_model()
    (codes, numbers) = model.named_steps["columns"].transformers
    model.named_steps["columns"].transformers = [codes, (*numbers[:2], [*_NUMBERS, *extra])]
    return model


def _linear(extra):
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    codes = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("codes", codes, list(CATEGORIES)), ("numbers", numbers, [*_NUMBERS, *extra])])
    return Pipeline([("columns", columns), ("regression", LogisticRegression(max_iter=1000))])


def _forest(extra):
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import Pipeline

    trees = RandomForestClassifier(n_estimators=100, min_samples_leaf=50, n_jobs=-1, random_state=0)
    return Pipeline([("columns", _coded(extra)), ("trees", trees)])


def _regression(extra):
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.pipeline import Pipeline

    return Pipeline(
        [("columns", _coded(extra)), ("trees", HistGradientBoostingRegressor(max_iter=100, random_state=0))]
    )


def _coded(extra):
    """Categories as their numbers, everything else as it is; both kinds of tree take what is missing."""
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OrdinalEncoder

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return ColumnTransformer([("codes", codes, list(CATEGORIES)), ("numbers", "passthrough", [*_NUMBERS, *extra])])
