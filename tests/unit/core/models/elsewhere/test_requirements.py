"""What a version must prove beside its scores: held-out rows, its columns, speed and memory."""

import datetime as dt

import pytest

from tasks.core.definitions.job import Job
from tasks.core.definitions.modelling import Prediction, Promotion, WindowRange
from tasks.core.models.elsewhere.requirements import (
    Cost,
    held_out_check,
    load_check,
    memory_check,
    rows_check,
    schema_check,
    speed_check,
)
from tasks.core.models.gate.held_out import HeldOut
from tasks.core.models.model_version import (
    InputColumn,
    InputSchema,
    ModelManifest,
    ModelVersion,
    Signature,
    TrainingRecord,
)

JUNE = WindowRange(first="2013-06-01", last="2013-06-30")


def trained(first, last):
    return TrainingRecord(pointer="somewhere", digest="0", first=first, last=last)


SPRING = trained("2013-01-01", "2013-05-31")


def version(inputs=None, outputs=None):
    manifest = ModelManifest(
        name="late",
        version=2,
        registered_at=dt.datetime(2013, 7, 1, tzinfo=dt.UTC),
        registered_by="ann",
        files={},
        environment={},
    )
    columns = tuple(InputColumn(name=name, type=kind) for name, kind in (inputs or {"x": "float64"}).items())
    made = outputs or {"p": Prediction.model_validate({"method": "predict_proba", "class": True})}
    return ModelVersion(manifest, Signature(inputs=InputSchema(columns=columns), outputs=made))


def job(name="late", columns=None, outputs=None):
    return Job.model_validate(
        {
            "job": name,
            "window": {"kind": "snapshot", "every": "1d"},
            "source": {"type": "files", "path": "data"},
            "keys": ["id"],
            "columns": {"id": "string", **(columns or {"x": "float64"})},
            "model": {"name": "late"},
            "output": {"columns": outputs or {"p": {"method": "predict_proba", "class": True}}},
        }
    )


# -- held out -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("candidate", "production", "outcome", "says"),
    [
        (SPRING, SPRING, "passed", "has not seen 2013-06-01 to 2013-06-30"),
        (SPRING, None, "passed", "has not seen"),
        (trained("2013-01-01", "2013-06-01"), SPRING, "failed", "the comparison is not fair"),
        (trained("2013-06-30", "2013-08-31"), SPRING, "failed", "trained on 2013-06-30 to 2013-08-31"),
        (trained("2013-06-10", "2013-06-12"), SPRING, "failed", "not fair"),
        (trained("2013-07-01", "2013-07-31"), SPRING, "passed", "has not seen"),
        (None, SPRING, "not judged", "does not say on which windows it was trained"),
        (TrainingRecord(pointer="a file", digest="0"), SPRING, "not judged", "does not say"),
        (SPRING, trained("2013-01-01", "2013-12-31"), "not judged", "looks better than it is"),
    ],
)
def test_nobody_is_judged_by_what_it_was_trained_on(candidate, production, outcome, says):
    check = held_out_check(HeldOut(JUNE), candidate, production)
    assert (check.outcome, says in check.sentence) == (outcome, True), check.sentence


@pytest.mark.parametrize(("first", "outcome"), [("2013-05-31T2300Z", "failed"), ("2013-06-01T0500Z", "passed")])
def test_an_hour_and_a_day_are_compared_by_their_days(first, outcome):
    hours = WindowRange(first=first, last="2013-06-02T0500Z")
    assert held_out_check(HeldOut(hours), SPRING, None).outcome == outcome


def test_windows_that_are_not_those_of_the_yaml_say_why():
    july = WindowRange(first="2013-07-01", last="2013-07-31")
    assert held_out_check(HeldOut(july, instead_of=JUNE), SPRING, SPRING).sentence == (
        "The candidate has not seen 2013-07-01 to 2013-07-31, which are used as one of the two was trained on some of "
        "2013-06-01 to 2013-06-30."
    )


# -- schema ---------------------------------------------------------------------------------------------------------


def test_every_job_can_feed_it():
    check = schema_check(version(), [job(), job("other", {"x": "float64", "y": "int64"})], {}, {})
    assert check.outcome == "passed"
    assert check.sentence.startswith("late, other: all inputs are there")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"columns": {"x": "int64"}}, "'x' is int64 and must be float64"),
        ({"columns": {"z": "float64"}}, "'x' (float64) is missing"),
        (
            {"outputs": {"p": {"method": "predict_proba", "class": False}}},
            "'p' is predict_proba of False as float64, and late version 2 was registered with predict_proba of True as",
        ),
        ({"outputs": {"p": {"method": "predict_proba", "class": True, "type": "float32"}}}, "as float32"),
    ],
)
def test_one_job_that_it_does_not_fit_is_enough(wrong, says):
    check = schema_check(version(), [job(), job("other", **wrong)], {}, {})
    assert check.outcome == "failed"
    assert check.sentence.startswith("other: ")
    assert says in check.sentence


def test_a_column_of_another_name_is_judged_by_whether_it_can_be_made():
    other = job("other", outputs={"q": {"method": "predict_proba", "class": True}})
    assert schema_check(version(), [job(), other], {}, {}).outcome == "passed"
    check = schema_check(version(), [job(), other], {"other": "it has no method decision_function"}, {})
    assert (check.outcome, check.sentence) == (
        "failed",
        "other: its columns cannot be made: it has no method decision_function.",
    )


def test_no_job_and_jobs_that_cannot_be_read_are_said():
    check = schema_check(version(), [], {}, {"broken": "key 'colour' is not known"})
    assert check.outcome == "not judged"
    assert "No job names the model late" in check.sentence
    assert "broken cannot be read, so it was passed over: key 'colour' is not known" in check.sentence


# -- what it costs --------------------------------------------------------------------------------------------------


def cost(rows_per_second=1000.0, megabytes=300, rows=10_000):
    return Cost(rows=rows, seconds=rows / rows_per_second, memory_bytes=int(megabytes * 1e6))


@pytest.mark.parametrize(("ours", "outcome"), [(1000, "passed"), (501, "passed"), (499, "failed")])
def test_half_as_fast_is_the_least(ours, outcome):
    check = speed_check(cost(ours), cost(1000), Promotion(), "")
    assert (check.outcome, check.limit, check.rows) == (outcome, 500, 10_000)
    assert (check.production, check.candidate) == (pytest.approx(1000), pytest.approx(ours))
    assert check.difference == pytest.approx(ours - 1000)


def test_so_few_rows_say_nothing_of_speed():
    check = speed_check(cost(1, rows=1999), cost(1000, rows=1999), Promotion(), "")
    assert (check.outcome, "1,999 rows are too few to time anything" in check.sentence) == ("not judged", True)


@pytest.mark.parametrize(("ours", "outcome"), [(300, "passed"), (600, "passed"), (601, "failed")])
def test_twice_the_memory_is_the_most(ours, outcome):
    check = memory_check(cost(megabytes=ours), cost(megabytes=300), Promotion(), "")
    assert (check.outcome, check.limit, check.difference) == (outcome, 600e6, (300 - ours) * 1e6)
    assert f"{ours} MB against 300 MB; at most 600 MB" in check.sentence


def test_alone_there_is_nothing_to_hold_it_against():
    for check in (speed_check(cost(), None, Promotion(), "no one"), memory_check(cost(), None, Promotion(), "no one")):
        assert (check.outcome, check.limit, "no one" in check.sentence) == ("not judged", None, True)


@pytest.mark.parametrize(("unscored", "outcome"), [(0, "passed"), (2, "passed"), (3, "failed")])
def test_rows_on_which_the_model_raises(unscored, outcome):
    check = rows_check(100, unscored, 1, 0.02)
    assert (check.outcome, check.candidate, check.production) == (outcome, 100 - unscored, 99)
    assert check.difference == 1 - unscored


def test_what_the_loader_remarked_is_said():
    check = load_check(version(), 20, ["registered with scikit-learn 1.8"])
    assert check.outcome == "passed"
    assert check.sentence == (
        "late version 2 loads, is what was registered, and scores its 20 probe rows as it did (registered with "
        "scikit-learn 1.8)."
    )
