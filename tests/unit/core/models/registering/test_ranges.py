"""Ranges of training that follow the labels: shifts by hand, of every kind of window, also where clocks change."""

import datetime as dt

import pytest

from tasks.core.definitions.job import Job
from tasks.core.errors import DefinitionError
from tasks.core.models.registering.ranges import newest_labelled, ranges_until


def utc(*parts):
    return dt.datetime(*parts, tzinfo=dt.UTC)


def job(every, *bounds, kind="interval", timezone="UTC", delay="1d"):
    """Fitted, calibrated and benchmarked on these ranges: first, last, first, last, ..."""
    names = ("fit", "calibrate", "benchmark") if len(bounds) > 4 else ("fit", "benchmark")
    ranges = {
        name: {"first": first, "last": last} for name, first, last in zip(names, bounds[::2], bounds[1::2], strict=True)
    }
    return Job.model_validate(
        {
            "job": "late",
            "window": {"kind": kind, "every": every, "timezone": timezone},
            "source": {"type": "sql", "driver": "sqlite", "uri": "a.sqlite", "query": "SELECT 1"},
            "keys": ["id"],
            "columns": {"id": "string", "at": "timestamp", "x": "float64"},
            **({"event_time": "at"} if kind == "interval" else {}),
            "model": {"name": "late"},
            "output": {"columns": {"p": {"method": "predict"}}},
            "labels": {"query": "SELECT 1", "target": "y", "delay": delay},
            "training": {"estimator": "a:b", "features": ["x"], **ranges},
        }
    )


def bounds(job, until, now):
    found = ranges_until(job, job.training, until, now).training
    ranges = [one for one in (found.fit, found.calibrate, found.benchmark) if one]
    return [bound for one in ranges for bound in (one.first, one.last)]


DAYS = ("2013-01-01", "2013-01-20", "2013-01-21", "2013-01-25", "2013-01-26", "2013-01-30")
MONTHS = ("2013-01-01", "2013-03-01", "2013-04-01", "2013-05-01")


def test_without_until_they_are_the_job_s_own():
    given = job("1d", *DAYS)
    found = ranges_until(given, given.training, "", utc(2013, 12, 1))
    assert (found.training, found.shift) == (given.training, 0)
    assert str(found) == "windows 2013-01-01 to 2013-01-20, calibrated on 2013-01-21 to 2013-01-25"


def test_all_three_are_shifted_by_as_many_windows():
    # Three windows after the 30th of January is the 2nd of February; its labels are due a day after its end.
    given = job("1d", *DAYS)
    expected = ["2013-01-04", "2013-01-23", "2013-01-24", "2013-01-28", "2013-01-29", "2013-02-02"]
    assert bounds(given, "labelled", utc(2013, 2, 4)) == expected
    assert bounds(given, "labelled", utc(2013, 2, 3, 23, 59)) != expected
    assert bounds(given, "2013-02-02", utc(2013, 12, 1)) == expected
    found = ranges_until(given, given.training, "labelled", utc(2013, 2, 4))
    assert str(found).endswith("calibrated on 2013-01-24 to 2013-01-28, 3 windows later than the job says")
    assert (found.learnt_from.first, found.learnt_from.last) == ("2013-01-04", "2013-01-28")


@pytest.mark.parametrize(("now", "last"), [(utc(2013, 7, 1, 23, 59), "2013-05-01"), (utc(2013, 7, 2), "2013-06-01")])
def test_months_are_counted_and_not_their_days(now, last):
    # June ends with the 30th, and its labels are due on the 2nd of July at midnight.
    shift = 0 if last == "2013-05-01" else 1
    months = [f"2013-{month + shift:02d}-01" for month in (1, 3, 4, 5)]
    assert bounds(job("1mo", *MONTHS), "labelled", now) == months


def test_months_go_on_into_the_next_year():
    expected = ["2013-11-01", "2014-01-01", "2014-02-01", "2014-03-01"]
    assert bounds(job("1mo", *MONTHS), "2014-03-01", utc(2014, 6, 1)) == expected


def test_a_day_is_a_day_where_clocks_change():
    # New York: on 10 March 2013 the day has 23 hours, so it ends at 4:00 in UTC, and the labels are due 24 hours later.
    given = job("1d", "2013-03-01", "2013-03-05", "2013-03-06", "2013-03-08", timezone="America/New_York")
    assert bounds(given, "labelled", utc(2013, 3, 12, 3, 59)) == [
        "2013-03-02",
        "2013-03-06",
        "2013-03-07",
        "2013-03-09",
    ]
    assert bounds(given, "labelled", utc(2013, 3, 12, 4)) == ["2013-03-03", "2013-03-07", "2013-03-08", "2013-03-10"]


def test_a_day_that_never_was_is_no_window():
    # Samoa skipped the 30th of December 2011.
    given = job("1d", "2011-12-25", "2011-12-27", "2011-12-28", "2011-12-29", timezone="Pacific/Apia", delay="0min")
    found = ranges_until(given, given.training, "2012-01-01", utc(2012, 2, 1))
    assert found.shift == 2
    assert bounds(given, "2012-01-01", utc(2012, 2, 1)) == ["2011-12-27", "2011-12-29", "2011-12-31", "2012-01-01"]


def test_a_snapshot_has_ended_when_it_was_taken():
    given = job("1d", *DAYS, kind="snapshot")
    assert newest_labelled(given, utc(2013, 2, 3)).as_of == "2013-02-02"
    assert newest_labelled(given, utc(2013, 2, 2, 23)).as_of == "2013-02-01"
    assert bounds(given, "labelled", utc(2013, 2, 3))[-1] == "2013-02-02"


def test_windows_shorter_than_a_day():
    given = job("15min", "2013-07-01T0000Z", "2013-07-01T0545Z", "2013-07-01T0600Z", "2013-07-01T0645Z", delay="30min")
    # The window of 7:15 ends at 7:30: two windows later.
    expected = ["2013-07-01T0030Z", "2013-07-01T0615Z", "2013-07-01T0630Z", "2013-07-01T0715Z"]
    assert bounds(given, "labelled", utc(2013, 7, 1, 8)) == expected
    # Years of them cost nothing.
    assert bounds(given, "labelled", utc(2023, 7, 1, 8))[-1] == "2023-07-01T0715Z"


def test_labels_that_are_not_due_yet_shift_nothing_back():
    found = ranges_until(job("1d", *DAYS), job("1d", *DAYS).training, "labelled", utc(2013, 1, 20))
    assert (found.shift, found.shifted, found.training.benchmark.last) == (0, "as the job says", "2013-01-30")


def test_a_window_may_be_an_earlier_one():
    assert bounds(job("1mo", *MONTHS), "2013-04-01", utc(2014, 1, 1))[:2] == ["2012-12-01", "2013-02-01"]


@pytest.mark.parametrize(
    ("until", "says"),
    [
        ("2013-02-03", r"labels of 2013-02-03 are due at 2013-02-05 00:00 UTC, .*give 2013-02-02 or an earlier window"),
        ("2013-02-30", r"'2013-02-30' is not a window.*such as 2013-02-02, or 'labelled'"),
        ("2013-02-01T0500Z", r"is not a window of this job, whose windows last 1d"),
    ],
)
def test_what_training_cannot_end_with(until, says):
    with pytest.raises(DefinitionError, match=says) as refused:
        bounds(job("1d", *DAYS), until, utc(2013, 2, 4))
    assert "othing was trained" in str(refused.value)


def test_there_is_no_month_before_the_first():
    with pytest.raises(DefinitionError, match="2013-01-01 is too early to be shifted"):
        bounds(job("1mo", *MONTHS), "0001-02-01", utc(2014, 1, 1))
