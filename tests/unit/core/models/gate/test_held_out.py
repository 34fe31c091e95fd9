"""On which windows two versions are held against each other: the months of 2013, by hand."""

import pytest

from tasks.core.definitions.job import Job
from tasks.core.definitions.modelling import WindowRange
from tasks.core.models.gate.held_out import Trained, held_out_windows
from tasks.core.models.model_version import TrainingRecord


def month(number):
    return WindowRange(first=f"2013-{number:02d}-01", last=f"2013-{number:02d}-28")


def job(**changes):
    """Its benchmark is March."""
    return Job.model_validate(
        {
            "job": "late",
            "window": {"kind": "snapshot", "every": "1d"},
            "source": {"type": "sql", "driver": "sqlite", "uri": "a.sqlite", "query": "SELECT 1"},
            "keys": ["id"],
            "columns": {"id": "string", "x": "float64"},
            "model": {"name": "late"},
            "output": {"columns": {"p": {"method": "predict"}}},
            "labels": {"query": "SELECT 1", "target": "y"},
            "training": {"estimator": "a:b", "features": ["x"], "fit": month(2), "benchmark": month(3)},
        }
        | changes
    )


def trained(first, last, benchmark):
    """A version that has learnt from the months `first` to `last`, with the month of its benchmark."""
    record = TrainingRecord(pointer="", digest="", first=month(first).first, last=month(last).last)
    return Trained.of(record, month(benchmark).model_dump())


AS_THE_JOB_SAYS = trained(2, 2, 3)
UNKNOWN = Trained.of(TrainingRecord(pointer="a file", digest=""), month(5).model_dump())


@pytest.mark.parametrize(
    ("candidate", "production", "expected"),
    [
        (AS_THE_JOB_SAYS, Trained(), 3),
        (AS_THE_JOB_SAYS, AS_THE_JOB_SAYS, 3),
        # Trained again on later months: its own benchmark is all that neither has seen.
        (trained(3, 3, 4), AS_THE_JOB_SAYS, 4),
        (trained(2, 6, 7), trained(3, 4, 5), 7),
        # Back to the earlier one: production has learnt from what was its benchmark.
        (AS_THE_JOB_SAYS, trained(3, 3, 4), 4),
        # No month that neither has seen: one that the candidate has not.
        (trained(3, 3, 4), trained(4, 7, 8), 8),
        (trained(3, 8, 9), trained(9, 10, 3), 9),
        # Nothing that the candidate has not seen: the job's own, and the gate refuses.
        (Trained(trained(2, 4, 5).record), Trained(), 3),
        # One that may have seen its benchmark is not judged by it.
        (UNKNOWN, AS_THE_JOB_SAYS, 3),
        (UNKNOWN, trained(3, 3, 4), 4),
    ],
)
def test_nobody_is_judged_by_windows_that_it_has_learnt_from(candidate, production, expected):
    found = held_out_windows(job(), candidate, production)
    assert found.windows == month(expected)
    assert found.instead_of == (None if expected == 3 else month(3))


def test_windows_that_the_job_names_are_nobody_else_s():
    named = job(promotion={"windows": month(3).model_dump()})
    assert held_out_windows(named, trained(3, 3, 4), AS_THE_JOB_SAYS).windows == month(3)
    assert held_out_windows(job(training=None), AS_THE_JOB_SAYS, AS_THE_JOB_SAYS) is None


def test_the_benchmark_of_another_job_s_windows_is_of_no_use_here():
    ranges = {
        "fit": {"first": "2013-02-04", "last": "2013-02-25"},
        "benchmark": {"first": "2013-03-04", "last": "2013-03-25"},
    }
    weekly = job(
        window={"kind": "snapshot", "every": "1w"},
        training={"estimator": "a:b", "features": ["x"], **ranges},
    )
    # The 1st and the 28th of April 2013 are a Monday and a Sunday.
    assert held_out_windows(weekly, trained(3, 3, 4), Trained()).windows.first == "2013-03-04"


def test_a_benchmark_that_the_version_has_seen_is_none():
    assert trained(2, 4, 4).benchmark is None
    assert trained(2, 4, 5).benchmark == month(5)
