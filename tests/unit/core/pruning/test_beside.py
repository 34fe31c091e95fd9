"""What goes beside the windows: pages, dry runs, looks, labels, audits, what was told; the last of each stays."""

import datetime as dt
import os

import pytest

from tasks.core import layout
from tasks.core.delta import upkeep
from tasks.core.monitoring import keeping, ledger
from tasks.core.monitoring.records import Alarm, Monitored
from tasks.core.pruning import pruning
from tests import delta_scenes
from tests import recall_scenes as scenes
from tests.status_scenes import at, block, publish, run, write_job

DAY = "2026-03-01"
# Published ten minutes later; the pages of its windows are as old as that.
ENDED = at("2026-03-02 02:40")
SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def prune(lake, tmp_path):
    """What has gone, and what stays and why, by kind, as of an instant and under a policy."""

    def at_this(now, **retention):
        found = pruning.prune(lake, write_job(tmp_path / "project", retention=retention or None), "late", now=now)
        assert found.problem == ""
        return {one.kind: one for one in found.lines}

    return at_this


def counted(found, kind):
    return found[kind].count, found[kind].why_kept


def test_pages_go_by_the_age_of_the_window_s_last_run_and_the_index_and_the_figures_stay(lake, prune):
    publish(lake, DAY)
    publish(lake, "2026-03-09")
    for name in (DAY, "2026-03-09"):
        lake.write_bytes(layout.window_page("late", name), b"page")
        lake.write_bytes(layout.docs_page("late", name), b"docs")
    for key in (layout.index_page("late"), "reports/late/job.json"):
        lake.write_bytes(key, b"stays")
    assert counted(prune(ENDED + dt.timedelta(days=5), reports="5d"), "reports") == (0, {"not older than 5d": 2})
    line = prune(ENDED + dt.timedelta(days=5) + SECOND, reports="5d")["reports"]
    assert (line.count, line.files, line.bytes) == (1, 2, 8)
    assert lake.names("reports/late") == [
        "as_of=2026-03-09.expectations.html", "as_of=2026-03-09.html", "index.html", "job.json",
    ]  # fmt: skip


def test_a_page_of_which_no_run_is_known_stays(lake, prune):
    lake.write_bytes(layout.window_page("late", DAY), b"page")
    assert counted(prune(ENDED + dt.timedelta(days=900), reports="5d"), "reports") == (0, {"its age is not known": 1})


def test_dry_runs_go_with_their_pages(lake, prune):
    dry = run(lake, DAY, "dry").but(state="dry_run", finished_at=ENDED)
    lake.write_bytes(f"{layout.dry_run('late', DAY, 'dry')}/manifest.json", dry.to_json())
    lake.write_bytes(f"{layout.dry_run('late', DAY, 'dry')}/predictions/part-dry.parquet", b"rows")
    for key in (layout.dry_run_page("late", DAY), layout.docs_page("late", DAY, dry_run=True)):
        lake.write_bytes(key, b"page")
    lake.write_bytes(layout.window_page("late", DAY), b"page")
    assert counted(prune(ENDED + dt.timedelta(days=30)), "dry_runs") == (0, {"not older than 30d": 1})
    assert prune(ENDED + dt.timedelta(days=30) + SECOND)["dry_runs"].files == 4
    assert (lake.names("dry_runs/late"), lake.names("reports/late")) == ([], [f"as_of={DAY}.html"])


def test_of_looks_the_last_stays_however_old_it_is(lake, prune):
    for day in ("2025-01-01", "2025-01-02"):
        keeping.keep(lake, Monitored(job="late", at=at(f"{day} 06:00"), as_of=day))
    # Its day ends on the clock of the windows: at midnight in UTC.
    assert prune(at("2025-01-12 00:00"), looks="10d")["looks"].count == 0
    assert counted(prune(at("2025-01-12 00:00") + SECOND, looks="10d"), "looks") == (1, {"not older than 10d": 1})
    assert counted(prune(at("2027-01-01 00:00"), looks="10d"), "looks") == (0, {"the last one": 1})
    assert keeping.days_looked_at(lake, "late") == ["2025-01-02"]


def test_of_labels_and_performance_the_last_of_each_window_stays_and_that_of_what_readers_see(lake, prune):
    publish(lake, DAY, "seen")
    for day, run_id in (("2026-03-02", "seen"), ("2026-03-03", "gone"), ("2026-03-04", "gone")):
        lake.write_bytes(f"{layout.performance('late', DAY, day)}/{layout.part(run_id)}", b"figures")
        lake.write_bytes(f"{layout.labels('late', DAY, day)}/{layout.part('digest')}", b"labels")
    lake.write_bytes(layout.labels_looked_for("late", DAY), b"{}")
    found = prune(at("2027-01-01 00:00"), labels="30d")["labels"]
    assert (found.count, found.why_kept) == (3, {"the last one": 3})
    assert lake.names(f"labels/late/as_of={DAY}") == ["labels_as_of=2026-03-04"]
    assert lake.names(f"performance/late/as_of={DAY}") == ["labels_as_of=2026-03-02", "labels_as_of=2026-03-04"]
    assert lake.exists(layout.labels_looked_for("late", DAY))
    assert prune(at("2027-01-01 00:00"))["labels"].why_kept == {"kept for ever": 3}


def test_of_audits_the_last_stays(lake, prune):
    for day in ("2026-01-01", "2026-01-08"):
        lake.write_bytes(layout.audit_record("late", day), b"{}")
    assert counted(prune(at("2027-01-01 00:00"), audits="30d"), "audits") == (1, {"the last one": 1})
    assert lake.names("audits/late") == ["as_of=2026-01-08.json"]


def test_what_was_told_goes_once_it_is_over_and_nobody_could_tell_it_again(lake, prune):
    lake.write_bytes(layout.told_late("late", DAY, "2026-03-02T043000Z"), b"{}")
    standing, over = (
        Alarm(kind=kind, onset="2026-01-01", until=until, model="late/0001", reason="it is")
        for kind, until in (("degraded", None), ("drifted", "2026-01-02"))
    )
    found = Monitored(job="late", at=at("2026-01-03 06:00"), as_of="2026-01-03", alarms=(standing, over))
    keeping.keep(lake, found)
    for one in (standing, over):
        ledger.remember_told(lake, found, one)
    # A policy of a day lets nobody hear twice of what a look still finds: for two months all of it stays.
    soon = prune(at("2026-03-03 04:31"), alerts="1d")["alerts"]
    assert (soon.count, soon.why_kept) == (0, {"what it is of still stands": 3})

    later = prune(at("2026-06-01 00:00"), alerts="1d")["alerts"]

    assert (later.count, later.why_kept) == (2, {"what it is of still stands": 1})
    assert lake.names("alerts/late") == ["degraded-2026-01-01.json"]


def test_what_killed_writers_left_goes_after_a_day_and_a_publication_that_they_began_is_ended(lake, prune):
    scenes.publish(lake, "one", 1)
    staged = scenes.stage(lake, "two", 1, hour=1)
    workspace = layout.workspace(scenes.JOB, scenes.DAY, "two")
    lake.write_bytes(f"{workspace}/manifest.json", staged.but(state="publishing", replaces="one").to_json())
    lock, other = lake.path(layout.lock(scenes.JOB, scenes.DAY)), lake.path("locks/other 2013-07-01.lock")
    half = [lake.path(f"runs/late/as_of={scenes.DAY}/two/.tmp-ab"), lake.path("queue/late/.tmp-cd")]
    for path in (lock, other, *half):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    now = dt.datetime.now(dt.UTC)
    assert "litter" not in prune(now)
    assert pruning.prune_litter(lake, now=now, apply=True).count == 0
    for path in (lock, other, *half):
        os.utime(path, (now.timestamp() - 90_000,) * 2)

    assert prune(now)["litter"].count == 1
    found = pruning.prune_litter(lake, now=now, apply=True)

    # The window's own went when its publication was undone.
    assert (found.count, found.bytes) == (1, 4)
    assert [path.exists() for path in (lock, other, *half)] == [False, True, False, False]
    assert '"state": "running"' in lake.read_text(f"{workspace}/manifest.json")


def test_the_empty_lake_and_a_job_that_never_ran(prune, lake):
    assert prune(ENDED) == {}
    assert lake.names() in ([], ["locks", "scratch"], ["locks"])


def test_blocked_windows_keep_no_page_for_ever_either_but_the_newest_does(lake, prune):
    for day in (DAY, "2026-03-02"):
        block(lake, day)
        lake.write_bytes(layout.window_page("late", day), b"page")
    assert counted(prune(ENDED + dt.timedelta(days=30), reports="5d"), "reports") == (1, {"the last one": 1})
    assert lake.names("reports/late") == ["as_of=2026-03-02.html"]


def test_for_each_file_of_a_delta_table_its_own_window_alone_is_looked_at_again(lake, prune, monkeypatch):
    days = ("2013-07-01", "2013-07-02")
    delta_scenes.begin(lake)
    for day in days:
        for number in range(2):
            scenes.publish(lake, f"r{number}", 1, day=day, hour=number)
    asked, unread = [], upkeep.unread
    monkeypatch.setattr(
        upkeep, "unread", lambda *of, label, now: asked.append(label) or unread(*of, label=label, now=now)
    )
    line = prune(scenes.MIDNIGHT + dt.timedelta(days=30))["delta_files"]
    # All is listed once for each of the two tables that may be Delta tables.
    assert (line.count, asked) == (2, [None, None, *days])
