"""Which alarms are news: each episode once, whatever late labels make of its days."""

import datetime as dt

import pytest

from tasks.core.monitoring.ledger import event_id, remember_told, untold
from tasks.core.monitoring.records import Alarm, Monitored
from tests.status_scenes import at, write_job


@pytest.fixture
def job(tmp_path):
    return write_job(tmp_path / "project").load("late", suites=False).job


def alarm(onset, until=None, kind="degraded", model="late/0001"):
    return Alarm(kind=kind, onset=onset, until=until, model=model, reason="it is")


def look(as_of, *alarms):
    return Monitored(job="late", at=at(f"{as_of} 06:00"), as_of=as_of, alarms=alarms)


def tell(lake, job, found):
    """What is news at a look, each told."""
    news = untold(lake, job, found)
    for one in news:
        remember_told(lake, found, one)
    return [(one.kind, one.onset) for one in news]


def test_an_episode_is_news_once_while_it_lasts_and_when_it_ends(lake, job):
    assert tell(lake, job, look("2026-03-09", alarm("2026-03-05"))) == [("degraded", "2026-03-05")]
    assert tell(lake, job, look("2026-03-10", alarm("2026-03-05"))) == []
    assert tell(lake, job, look("2026-04-20", alarm("2026-03-05", "2026-04-12"))) == []
    # Of another kind, it is another alarm.
    both = look("2026-04-20", alarm("2026-03-05", "2026-04-12"), alarm("2026-04-18", kind="drifted"))
    assert tell(lake, job, both) == [("drifted", "2026-04-18")]


def test_what_was_over_before_the_last_block_is_no_news(lake, job):
    """The block is of seven days: what ended on the 1st is seven days old on the 8th, and eight on the 9th."""
    old = alarm("2026-02-01", "2026-03-01")
    assert untold(lake, job, look("2026-03-09", old)) == []
    assert untold(lake, job, look("2026-03-08", old)) == [old]


def test_months_have_longer_blocks(lake, tmp_path):
    monthly = write_job(tmp_path, window={"kind": "interval", "every": "1mo"}).load("late", suites=False).job
    assert len(untold(lake, monthly, look("2026-04-01", alarm("2026-01-01", "2026-03-01")))) == 1


@pytest.mark.parametrize("onset", ["2026-03-03", "2026-03-07", "2026-03-12"])
def test_late_labels_move_the_first_day_and_it_is_the_same_episode(lake, job, onset):
    tell(lake, job, look("2026-03-09", alarm("2026-03-05")))
    assert tell(lake, job, look("2026-03-12", alarm(onset))) == []


def test_an_episode_that_corrections_cut_in_two_was_told(lake, job):
    tell(lake, job, look("2026-03-09", alarm("2026-03-05")))
    # It was seen to last until the 30th, so its second half is no news.
    tell(lake, job, look("2026-03-30", alarm("2026-03-05")))
    cut = [alarm("2026-03-05", "2026-03-08"), alarm("2026-03-22")]
    assert tell(lake, job, look("2026-04-02", *cut)) == []


def test_the_next_episode_and_that_of_another_version_are_news(lake, job):
    tell(lake, job, look("2026-03-09", alarm("2026-03-05")))
    ended = alarm("2026-03-05", "2026-03-10")
    tell(lake, job, look("2026-03-18", ended))
    assert tell(lake, job, look("2026-03-20", ended, alarm("2026-03-18"))) == [("degraded", "2026-03-18")]
    other = alarm("2026-03-19", model="late/0002")
    assert tell(lake, job, look("2026-03-20", ended, other)) == [("degraded", "2026-03-19")]
    assert tell(lake, job, look("2026-03-20", ended, alarm("2026-03-18"), other)) == []


def test_an_episode_that_has_ended_hides_none_that_begins_before_its_end_was_known(lake, job):
    """Labels come thirty days late: that it ended on the 7th of March is known in the middle of April."""
    tell(lake, job, look("2026-04-04", alarm("2026-03-05")))
    tell(lake, job, look("2026-04-13", alarm("2026-03-05")))
    ended = alarm("2026-03-05", "2026-03-07")
    assert tell(lake, job, look("2026-04-14", ended)) == []
    assert tell(lake, job, look("2026-04-21", ended, alarm("2026-03-22"))) == [("degraded", "2026-03-22")]
    assert tell(lake, job, look("2026-04-22", ended, alarm("2026-03-22"))) == []


def test_a_record_that_is_damaged_is_told_again_under_the_same_name(lake, job):
    found = look("2026-03-09", alarm("2026-03-05"))
    before = event_id(lake, "late", found.alarms[0])
    tell(lake, job, found)
    (key,) = lake.files("alerts")
    assert key == "alerts/late/degraded-2026-03-05.json"
    lake.write_bytes(key, b"{")
    assert tell(lake, job, found) == [("degraded", "2026-03-05")]
    assert event_id(lake, "late", found.alarms[0]) == before


def test_what_else_lies_there_is_no_alarm(lake, job):
    lake.write_bytes("alerts/late/watched_since", dt.datetime(2026, 3, 1, tzinfo=dt.UTC).isoformat().encode())
    lake.write_bytes("alerts/late/as_of=2026-03-04/late-2026-03-05T043000Z.json", b"{}")
    assert len(untold(lake, job, look("2026-03-09", alarm("2026-03-05")))) == 1
