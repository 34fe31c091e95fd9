"""Windows are pulled again some time after their end, and replaced only where their rows have changed."""

import datetime as dt

import pandas as pd
import pytest

import tasks.pull
import tasks.revisit
from flows.revisit import revisit
from flows.score import score
from tasks.core import layout
from tasks.core.runs.compared import last_looked_at
from tests.flows.conftest import DAY, add_wrong_version, readings
from tests.lake_tools import everything_in

END = dt.datetime(2024, 5, 2, tzinfo=dt.UTC)
NEXT = "2024-05-02"


class Times:
    """The hour at which a revisit looks, and at which a snapshot is complete."""

    def __init__(self, monkeypatch):
        self.at = END
        monkeypatch.setattr(tasks.revisit, "_now", lambda: self.at)
        stands = type("datetime", (), {"now": lambda _zone: self.at})
        monkeypatch.setattr(tasks.pull, "dt", type("dt", (), {"datetime": stands, "UTC": dt.UTC}))

    def after(self, **lag):
        self.at = END + dt.timedelta(**lag)


@pytest.fixture
def times(world, monkeypatch):
    """A job that looks again after an hour, a day and a week; its day was published at its end."""
    world.change_job(revisit=["1h", "24h", "7d"])
    hands = Times(monkeypatch)
    assert world.score().name == "Published"
    return hands


def look():
    return revisit("readings", return_state=True)


def outcomes(state):
    found = state.result(raise_on_failure=False)
    return [(one.as_of, one.lag, one.outcome) for one in getattr(found, "summary", found).windows]


def corrected():
    """A row more, two fewer, three that differ."""
    rows = readings()
    new = rows.iloc[[5]].assign(sensor="new")
    rows.loc[[0, 1, 2], "x"] += 5
    return pd.concat([rows.drop(index=[10, 20]), new], ignore_index=True)


def test_nothing_is_due_before_the_first_lag(world, times):
    times.after(minutes=59)

    state = look()

    assert (state.name, state.is_completed()) == ("NothingDue", True)
    assert "no window of readings is to be pulled again now" in state.message


def test_an_unchanged_source_leaves_everything_and_is_not_asked_each_hour(world, times):
    add_wrong_version(world)  # Another model is production by now: that is no change of the source.
    before = everything_in(world.lake)
    times.after(hours=1)

    state = look()

    assert (state.name, outcomes(state)) == ("Revisited", [(DAY, "1h", "unchanged")])
    noted = layout.looked_at("readings", DAY)
    of_pages = [name for name in everything_in(world.lake) if name.startswith("reports/")]
    assert sorted({*before, noted, *of_pages}) == everything_in(world.lake)
    assert last_looked_at(world.lake, "readings", DAY).at == END + dt.timedelta(hours=1)
    times.after(hours=2)
    assert look().name == "NothingDue"
    times.after(hours=24)
    assert outcomes(look()) == [(DAY, "24h", "unchanged")]


def test_changed_rows_replace_the_window_and_the_manifest_counts_them(world, times, lamplighter):
    first = world.published()
    world.write_rows(corrected())
    times.after(hours=25)

    state = look()

    # Two lags were overdue: it is one pull.
    assert outcomes(state) == [(DAY, "24h", "replaced")]
    now = world.published()
    assert (now.trigger.rescore_reason, now.replaces) == ("revisit after 24h", first.run_id)
    changes = now.changes
    assert (changes.of_run, changes.added, changes.removed, changes.changed) == (first.run_id, 1, 2, 3)
    assert look().name == "NothingDue"
    sentence = f"1 rows added, 2 removed, 3 changed since run {first.run_id}"
    assert sentence in " ".join(lamplighter("show", "readings", "--as-of", DAY)[1].split())
    assert sentence in (world.folder / "lake" / layout.window_page("readings", DAY)).read_text()


def test_a_blocked_revisit_stops_no_other_and_readers_keep_what_they_saw(world, times):
    world.write_rows(readings(100, NEXT).assign(sensor=lambda rows: "n" + rows["sensor"]), "b.parquet")
    assert world.score(NEXT).name == "Published"
    before = world.partition_bytes()
    broken = readings().assign(kind="lukewarm")
    world.write_rows(broken)
    times.after(hours=25)

    state = look()

    assert state.name == "Blocked"
    assert outcomes(state) == [(DAY, "24h", "blocked"), (NEXT, "1h", "unchanged")]
    assert world.partition_bytes() == before
    # It was judged: the next look is that of the next lag, and no alarm each hour.
    times.after(hours=26)
    assert look().name == "NothingDue"
    times.after(days=7)
    assert outcomes(look())[0] == (DAY, "7d", "blocked")


def test_a_failed_revisit_is_tried_again(world, times):
    data = world.folder / "data/a.parquet"
    kept = data.read_bytes()
    data.write_bytes(b"no parquet")
    times.after(hours=1)

    state = look()

    assert (state.name, outcomes(state)) == ("Failed", [(DAY, "1h", "failed")])
    data.write_bytes(kept)
    assert outcomes(look()) == [(DAY, "1h", "unchanged")]


def test_a_missed_lag_is_missed_after_a_week(world, times):
    times.after(days=14, minutes=1)
    assert look().name == "NothingDue"
    times.after(days=14)
    assert outcomes(look()) == [(DAY, "7d", "unchanged")]


def test_only_one_round_at_a_time(world, times):
    times.after(hours=1)
    with world.lake.lock(layout.revisits_lock("readings"), holder="the round before"):
        state = look()
    assert (state.name, state.is_completed()) == ("NothingToDo", True)
    assert last_looked_at(world.lake, "readings", DAY) is None


def test_a_window_that_waits_for_another_run_is_failed_and_comes_again(world, times):
    times.after(hours=1)
    with world.lake.lock(layout.lock("readings", DAY), holder="somebody"):
        assert outcomes(look()) == [(DAY, "1h", "failed")]
    assert outcomes(look()) == [(DAY, "1h", "unchanged")]


def test_a_job_without_revisits_says_so(world):
    state = look()
    assert state.name == "Failed"
    assert "revisits no window" in state.message


def test_by_hand_an_unchanged_source_is_left_too(world, times):
    state = score("readings", DAY, "the feed was corrected", only_if_changed=True, return_state=True)
    assert state.name == "AlreadyPublished"
    assert "the source of readings 2024-05-01 has not changed: its 200 rows" in state.message
    assert len(world.lake.names(layout.runs("readings", DAY))) == 1


def test_a_value_that_could_not_be_read_and_now_is_missing_is_a_change(world, times):
    """To the snapshot both are null; one row was quarantined, the other is scored."""
    raw = readings().astype({"x": object})
    raw.loc[0, "x"] = "n/a"
    (world.folder / "data/a.parquet").unlink()
    world.change_job(source={"type": "files", "path": "data", "format": "csv"})
    raw.to_csv(world.folder / "data/a.csv", index=False)
    first = world.score(rescore="as text")
    assert first.name.startswith("Published"), first.message
    assert world.published().rows.quarantined == 1
    raw.loc[0, "x"] = None
    raw.to_csv(world.folder / "data/a.csv", index=False)

    state = score("readings", DAY, "mended", only_if_changed=True, return_state=True)

    assert state.name.startswith("Published"), state.message
    assert world.published().rows.quarantined == 0
