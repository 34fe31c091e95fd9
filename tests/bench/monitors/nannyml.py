"""NannyML 0.13 with the thresholds it comes with: each calculator as its documentation begins, on chunks of a day."""

import nannyml as nml
import pandas as pd

NAME = "NannyML"
CATEGORIES = ["carrier", "origin", "dest"]
_DAYS = {"timestamp_column_name": "day", "chunk_period": "D"}
_PERFORMANCE = {
    "metrics": ["roc_auc", "accuracy"],
    "y_true": "truth",
    "y_pred": "decided",
    "y_pred_proba": "score",
    "problem_type": "classification_binary",
}


def monitor(reference, current, features):
    """Names of monitors and the days on which each alerts."""
    before, now = _prepared(reference), _prepared(current)
    known, labelled = before.dropna(subset=["truth"]), now.dropna(subset=["truth"])
    return {
        "univariate drift": _days(
            nml.UnivariateDriftCalculator(column_names=[*features, "score"], treat_as_categorical=CATEGORIES, **_DAYS),
            before,
            now,
        ),
        "multivariate drift": _days(nml.DataReconstructionDriftCalculator(column_names=features, **_DAYS), before, now),
        "missing values": _days(nml.MissingValuesCalculator(column_names=features, **_DAYS), before, now),
        "unseen values": _days(nml.UnseenValuesCalculator(column_names=CATEGORIES, **_DAYS), before, now),
        "estimated performance": _days(nml.CBPE(**_PERFORMANCE, **_DAYS), known, now),
        "performance": _days(nml.PerformanceCalculator(**_PERFORMANCE, **_DAYS), known, labelled),
    }


def _prepared(frame):
    truth = frame["late"].map({True: 1, False: 0})
    decided = (frame["score"] > 0.5).astype(int)
    return frame.assign(day=pd.to_datetime(frame["as_of"]), truth=truth, decided=decided).reset_index(drop=True)


def _days(calculator, reference, current):
    calculator.fit(reference)
    found = calculator.estimate(current) if hasattr(calculator, "estimate") else calculator.calculate(current)
    table = found.filter(period="analysis").to_df()
    alerts = table.loc[:, [name for name in table.columns if name[-1] == "alert"]].any(axis=1)
    starts = table.loc[:, [name for name in table.columns if name[-1] == "start_date"]].iloc[:, 0]
    return [f"{day:%Y-%m-%d}" for day in pd.to_datetime(starts[alerts])]
