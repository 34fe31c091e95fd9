"""The replay of the demo: the days of 2013 in their order, blocked ones passed over, and an end."""

import types

import pytest

from tasks import replay
from tasks.core.errors import NothingToDo
from tasks.core.storage import Lake


@pytest.fixture
def days(tmp_path, monkeypatch):
    """What became of each day that was tried, as the manifests of its runs say."""
    became = {}
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(tmp_path))
    published = lambda lake, job, day: became.get(day) == "published" or None  # noqa: E731
    latest = lambda lake, job, day: types.SimpleNamespace(verdict=became[day]) if day in became else None  # noqa: E731
    monkeypatch.setattr(replay, "published_manifest", published)
    monkeypatch.setattr(replay, "latest_manifest", latest)
    return became


def test_the_first_day_is_the_one_after_the_demo_s(days):
    assert replay.next_day() == "2013-07-29"


def test_published_and_blocked_days_are_passed_over_and_failed_ones_are_tried_again(days):
    days |= {"2013-07-29": "published", "2013-07-30": "blocked", "2013-07-31": "failed", "2013-08-01": "published"}
    assert replay.next_day() == "2013-07-31"
    assert replay.named() == "flight_delays 2013-07-31, replayed"


def test_when_the_year_is_over_there_is_nothing_to_do(days):
    days |= {f"2013-{month:02}-{day:02}": "published" for month in range(7, 13) for day in range(1, 32)}
    with pytest.raises(NothingToDo, match="2013 is over"):
        replay.next_day()
    assert replay.named() == "flight_delays, 2013 is over"


def test_of_two_at_once_one_has_nothing_to_do(days, tmp_path):
    with replay.one_at_a_time() as day:
        assert day == "2013-07-29"
        with pytest.raises(NothingToDo, match="still being scored"), replay.one_at_a_time():
            pass
    with replay.one_at_a_time() as day:
        assert day == "2013-07-29"
    assert not Lake(tmp_path).is_locked("locks/replay")
