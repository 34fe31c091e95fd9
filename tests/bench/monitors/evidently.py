"""Evidently 0.7: its presets for drift and for classification with the tests that they bring, a report a day."""

from evidently import BinaryClassification, DataDefinition, Dataset, Report
from evidently.presets import ClassificationPreset, DataDriftPreset

NAME = "Evidently"
CATEGORIES = ["carrier", "origin", "dest"]


def monitor(reference, current, features):
    """Names of monitors and the days on which each of them fails a test of its own."""
    columns = [*features, "score"]
    drift = DataDefinition(
        numerical_columns=[name for name in columns if name not in CATEGORIES], categorical_columns=CATEGORIES
    )
    classes = DataDefinition(classification=[BinaryClassification(target="late", prediction_probas="score")])
    before = Dataset.from_pandas(reference[columns], drift)
    known = Dataset.from_pandas(_labelled(reference), classes)
    found = {"dataset drift": [], "drift of any column": [], "performance": [], "ROC AUC alone": []}
    for day, rows in current.groupby("as_of"):
        tests = _tests(DataDriftPreset(), Dataset.from_pandas(rows[columns], drift), before)
        _note(found["dataset drift"], day, [ok for kind, ok in tests if kind == "DriftedColumnsCount"])
        _note(found["drift of any column"], day, [ok for kind, ok in tests if kind == "ValueDrift"])
        tests = _tests(ClassificationPreset(), Dataset.from_pandas(_labelled(rows), classes), known)
        _note(found["performance"], day, [ok for _, ok in tests])
        _note(found["ROC AUC alone"], day, [ok for kind, ok in tests if kind == "RocAuc"])
    return found


def _labelled(frame):
    known = frame.loc[frame["late"].notna(), ["late", "score"]]
    return known.assign(late=known["late"].astype(int)).reset_index(drop=True)


def _tests(preset, current, reference):
    """What each test is of, and whether it passed."""
    found = Report([preset], include_tests=True).run(current, reference).dict()
    return [
        (one["metric_config"]["params"]["type"].split(":")[-1], one["status"].endswith("SUCCESS"))
        for one in found["tests"]
    ]


def _note(days, day, passed):
    if not all(passed):
        days.append(day)
