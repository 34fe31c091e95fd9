"""How a job stands, from lakes that are written by hand: each kind of trouble, and nothing where there is none."""

import fcntl
import time

import pytest

from tasks.core import layout
from tasks.core.auditing.records import AuditRecord, Finding
from tasks.core.monitoring.records import Alarm, Monitored
from tasks.core.runs import late
from tasks.core.runs.recalling import queue
from tasks.core.runs.seen import answer
from tasks.core.runs.status import NEWEST, exit_code, status_of
from tests.lake_tools import run as start
from tests.status_scenes import DAYS, at, block, publish, run, write_job

# The tick of 2026-03-04's window was at 02:30 on the 5th; its deadline is at 04:30.
BEFORE, AFTER = at("2026-03-05 04:30"), at("2026-03-05 04:31")


@pytest.fixture
def look(lake, tmp_path):
    """How the job stands at an instant, with these keys changed in its YAML."""

    def at_this(now=AFTER, job="late", **changes):
        return status_of(lake, write_job(tmp_path / "project", job, **changes), job, now=now)

    return at_this


@pytest.fixture
def three_days(lake):
    for day in DAYS[:3]:
        publish(lake, day)
    return lake


def kinds(found):
    return [(one.as_of, one.kind) for one in found.windows]


def test_all_is_well(three_days, look):
    publish(three_days, DAYS[3])
    found = look()
    assert (found.windows, found.exit_code, found.owner) == ((), 0, "network")
    assert (found.newest.as_of, found.newest.run_id, found.newest.model) == (DAYS[3], "good", "late/0003")


def test_a_window_of_which_no_run_began_is_missed_from_the_instant_after_its_deadline(three_days, look):
    assert look(BEFORE).windows == ()
    found = look(AFTER)
    assert (kinds(found), found.windows[0].is_late) == ([(DAYS[3], "missed")], True)
    assert (found.exit_code, found.next_steps) == (3, (f"lamplighter score late --as-of {DAYS[3]}",))
    assert found.windows[0].due_at == BEFORE


def test_many_missed_windows_are_one_backfill(three_days, look):
    found = look(at("2026-03-07 12:00"))
    assert kinds(found) == [(day, "missed") for day in DAYS[3:6]]
    assert found.next_steps == (f'lamplighter backfill late --from {DAYS[3]} --to {DAYS[5]} --reason "missed"',)


def test_without_a_deadline_a_window_is_missed_after_an_hour(three_days, look):
    assert look(at("2026-03-05 03:30"), deadline=None).windows == ()
    found = look(at("2026-03-05 03:31"), deadline=None)
    assert (kinds(found), found.exit_code) == ([(DAYS[3], "missed")], 3)


def test_a_schedule_that_stands_still_misses_nothing(three_days, look):
    found = look(at("2026-06-01 00:00"), schedule={"cron": "30 2 * * *", "active": False})
    assert found.exit_code == 0
    assert look(at("2026-06-01 00:00"), schedule=None, deadline=None).exit_code == 0


def test_alarms_of_the_monitor_stand_until_they_end_and_fail_nothing(three_days, look):
    publish(three_days, DAYS[3])
    assert (look().alarms, look().looked_at) == ((), "")
    ended, stands = (
        Alarm(kind="degraded", onset=DAYS[number], until=until, reason="it is")
        for number, until in ((0, DAYS[1]), (2, None))
    )
    for day, alarms in ((DAYS[4], [ended]), (DAYS[5], [ended, stands])):
        found = Monitored(job="late", at=at(f"{day} 06:00"), as_of=day, alarms=alarms)
        three_days.write_bytes(f"monitoring/late/as_of={day}/_monitored.json", found.model_dump_json().encode())
    assert (look().alarms, look().looked_at, look().exit_code) == ((stands,), DAYS[5], 0)
    three_days.write_bytes(f"monitoring/late/as_of={DAYS[5]}/_monitored.json", b"{")
    assert "is not what a look at a job leaves" in look().problem


def test_a_look_that_did_not_come_is_said_from_an_hour_after_its_tick(three_days, look):
    publish(three_days, DAYS[3])
    assert look(at("2026-03-20 00:00")).look_missed is None  # Nobody has ever looked: nobody is waited for.
    found = Monitored(job="late", at=at(f"{DAYS[4]} 06:00"), as_of=DAYS[4])
    three_days.write_bytes(f"monitoring/late/as_of={DAYS[4]}/_monitored.json", found.model_dump_json().encode())
    assert look(at("2026-03-06 06:59")).look_missed is None
    found = look(at("2026-03-08 12:00"))
    assert found.look_missed == at("2026-03-06 06:00")
    assert look(at("2026-03-08 12:00"), monitor={"cron": "0 6 * * 1"}).look_missed is None
    assert look(at("2026-03-08 12:00"), schedule={"cron": "30 2 * * *", "active": False}).look_missed is None


def audit_of(day, *findings):
    """What the audit of a day has left."""
    at_noon = at(f"{day} 12:00")
    record = AuditRecord(
        job="late", day=day, at=at_noon, finished_at=at_noon, seed=1, findings=findings, findings_count=len(findings)
    )
    return f"audits/late/as_of={day}.json", record.model_dump_json().encode()


def test_what_the_last_audit_found_is_no_longer_well(three_days, look):
    publish(three_days, DAYS[3])
    assert (look().audited_on, look().audit_findings_count, look().exit_code) == ("", 0, 0)
    broken = Finding(link="model", file="model.joblib", what="it", found="a", expected="b", next_step="restore it")
    three_days.write_bytes(*audit_of(DAYS[2], broken))
    found = look()
    assert (found.audited_on, found.audit_findings, found.exit_code) == (DAYS[2], (broken,), 3)
    three_days.write_bytes(*audit_of(DAYS[3]))
    assert (look().audited_on, look().audit_findings, look().exit_code) == (DAYS[3], (), 0)
    three_days.write_bytes(f"audits/late/as_of={DAYS[3]}.json", b"{")
    assert "is not what an audit leaves" in look().problem


def test_an_audit_that_did_not_come_is_said_from_an_hour_after_its_tick(three_days, look):
    publish(three_days, DAYS[3])
    # The 8th of March 2026 is a Sunday.
    assert look(at("2026-03-08 12:00")).audit_missed is None  # Nobody has ever audited: nobody is waited for.
    three_days.write_bytes(*audit_of(DAYS[3]))
    assert look(at("2026-03-08 07:29")).audit_missed is None
    assert look(at("2026-03-08 12:00")).audit_missed == at("2026-03-08 06:30")
    assert look(at("2026-03-08 12:00"), audit={"cron": "0 6 1 * *"}).audit_missed is None
    assert look(at("2026-03-08 12:00"), schedule={"cron": "30 2 * * *", "active": False}).audit_missed is None


def test_blocked_says_why_and_what_readers_still_see(three_days, look):
    block(three_days, DAYS[2])
    block(three_days, DAYS[3], next_step="mend the feed")
    found = look()
    assert kinds(found) == [(DAYS[2], "blocked"), (DAYS[3], "blocked")]
    old, new = found.windows
    assert "run good, published 2026-03-04 02:40 UTC, 10 rows, model late/0003" in old.readers_see
    assert (new.readers_see, new.is_late, new.why, new.next_step) == ("", True, "214 of 958 rows fail", "mend the feed")
    assert found.exit_code == 3


def test_what_was_blocked_and_then_published_is_well(three_days, look):
    block(three_days, DAYS[3])
    publish(three_days, DAYS[3], "mended", finished_at=at("2026-03-05 04:00"))
    assert look().exit_code == 0


def test_a_run_that_was_taken_up_again_after_another_was_blocked_is_the_last(three_days, look):
    # It keeps the time at which it began, before the other one.
    publish(three_days, DAYS[3], "resumed", began="2026-03-05 02:00", finished_at=at("2026-03-05 04:00"))
    block(three_days, DAYS[3], began="2026-03-05 03:00", finished_at=at("2026-03-05 03:10"))
    assert look().exit_code == 0


def test_a_failed_run_is_worse_than_what_is_blocked(three_days, look):
    block(three_days, DAYS[2])
    run(three_days, DAYS[3], "broken", state="concluded", verdict="failed", reasons=("no space left",))
    found = look()
    assert (kinds(found)[1], found.exit_code) == ((DAYS[3], "failed"), 1)
    assert found.next_steps[0] == f"lamplighter show late --as-of {DAYS[3]}"


@pytest.fixture
def at_work(three_days):
    """Another process holds the window's lock."""
    key = layout.lock("late", DAYS[3])
    body = f"with lake.lock({key!r}, holder='another'):\n    print('held', flush=True)\n    sys.stdin.readline()\n"
    with start(three_days, body) as other:
        assert other.stdout.readline() == "held\n"
        yield other
        other.kill()


def test_a_run_whose_lock_is_held_is_at_work(three_days, look, at_work):
    run(three_days, DAYS[3], "busy")
    assert (look(BEFORE).windows, look(BEFORE).running) == ((), (DAYS[3],))
    (found,) = look(AFTER).windows
    assert (found.kind, found.why) == ("late", "a run is at work on it")
    assert answer(three_days, "late", DAYS[3]).verdict == "running"


@pytest.mark.parametrize("state", ["running", "publishing"])
def test_a_run_whose_lock_nobody_holds_was_killed(three_days, look, at_work, state):
    run(three_days, DAYS[3], "busy", state=state)
    at_work.kill()
    at_work.wait()
    found = look(BEFORE)
    assert (kinds(found), found.exit_code) == ([(DAYS[3], "killed")], 1)
    assert found.next_steps == (f"lamplighter score late --as-of {DAYS[3]}",)
    assert answer(three_days, "late", DAYS[3]).exit_code == 1


def test_a_run_that_was_killed_as_it_published_is_found_by_the_lock_that_it_left(three_days, look):
    publish(three_days, DAYS[3], state="publishing")
    three_days.write_bytes(layout.lock("late", DAYS[3]), b"run brave-otter")
    assert kinds(look()) == [(DAYS[3], "killed")]
    # Its rows are in the table as a whole: that is the step which counts.
    assert answer(three_days, "late", DAYS[3]).exit_code == 0


def test_a_window_that_a_recall_has_queued_waits(three_days, look):
    entry = queue.Entry(
        job="late",
        as_of=DAYS[1],
        reason="version 3 was wrong",
        model="late",
        version=3,
        queued_at=AFTER,
        restored="good",
    )
    queue.add(three_days, entry)
    found = look(BEFORE)
    assert (kinds(found), found.exit_code) == ([(DAYS[1], "queued")], 3)
    assert found.next_steps == ("lamplighter backfill late --queued",)
    # Somebody has published it since, and its entry is still there.
    three_days.remove(layout.partition(layout.PREDICTIONS, "late", DAYS[1]))
    publish(three_days, DAYS[1], "again", finished_at=AFTER)
    assert look(BEFORE).exit_code == 0


def test_a_damaged_record_is_said_of_its_window_alone(three_days, look):
    three_days.write_bytes(f"{layout.workspace('late', DAYS[3], 'torn')}/manifest.json", b'{"state": "conc')
    block(three_days, DAYS[1])
    found = look(BEFORE)
    assert (kinds(found), found.exit_code) == ([(DAYS[1], "blocked"), (DAYS[3], "unreadable")], 1)


@pytest.mark.parametrize("text", ["", "job: late\ncolour: red\n", "\x00", "job: other\n", "- late\n"])
def test_a_broken_yaml_is_one_job_s_problem(three_days, look, tmp_path, text):
    look()
    (tmp_path / "project/deployments/jobs/late.yaml").write_text(text)
    from tasks.core.definitions.project import Project
    from tasks.core.storage import Folder

    found = status_of(three_days, Project(Folder(tmp_path / "project")), "late", now=AFTER)
    assert found.exit_code == 1
    assert "late.yaml" in found.problem


def test_an_empty_lake_and_labels_of_another_length(lake, look):
    found = look()
    assert (found.newest, found.windows, found.exit_code) == (None, (), 0)
    publish(lake, "2026-03-01")
    lake.rename(layout.runs("late", "2026-03-01"), layout.runs("late", "2026-03-01T0500Z"))
    lake.rename(
        layout.partition(layout.PREDICTIONS, "late", "2026-03-01"),
        layout.partition(layout.PREDICTIONS, "late", "2026-03-01T0500Z"),
    )
    assert look(at("2026-03-02 00:00")).exit_code == 0


def test_a_job_that_never_ran_misses_its_windows_once_somebody_looks_after_them(lake, look):
    assert look().windows == ()
    late.begin_watch(lake, "late", at("2026-03-04 12:00"))
    assert kinds(look()) == [(DAYS[3], "missed")]


def test_several_jobs_have_the_worst_exit_code(three_days, look, lake):
    well = look(BEFORE)
    three_days.remove(layout.partition(layout.PREDICTIONS, "late", DAYS[2]))
    blocked = look(AFTER)
    assert [one.exit_code for one in (well, blocked)] == [0, 3]
    assert [exit_code(found) for found in ([], [well], [well, blocked])] == [0, 0, 3]
    assert exit_code([blocked, blocked.model_copy(update={"problem": "its YAML"})]) == 1


def test_old_trouble_is_not_looked_for(lake, look):
    """Only a job's newest windows are read: four hundred good ones hide what was blocked before."""
    import datetime as dt

    first = dt.date(2024, 1, 1)
    block(lake, first.isoformat())
    for number in range(1, NEWEST + 1):
        publish(lake, (first + dt.timedelta(days=number)).isoformat())
    began = time.monotonic()
    found = look(at("2025-02-05 04:00"))
    assert found.windows == ()
    assert time.monotonic() - began < 2


def test_one_window_of_long_ago_does_not_make_years_late(lake, look):
    publish(lake, "2013-07-01")
    found = look()
    assert len(found.windows) == NEWEST
    assert found.windows[-1].as_of == DAYS[3]


def test_the_answer_for_a_script(lake):
    assert (answer(lake, "late", DAYS[0]).verdict, answer(lake, "late", DAYS[0]).exit_code) == ("not there", 1)
    block(lake, DAYS[0])
    blocked = answer(lake, "late", DAYS[0])
    assert (blocked.exit_code, blocked.why) == (3, "214 of 958 rows fail")
    publish(lake, DAYS[0], finished_at=at("2026-03-02 03:30"), verdict="published_with_warnings")
    found = answer(lake, "late", DAYS[0])
    assert (found.exit_code, found.verdict, found.rows, found.model) == (0, "published_with_warnings", 10, "late/0003")
    block(lake, DAYS[0], "later", finished_at=at("2026-03-02 05:00"))
    assert answer(lake, "late", DAYS[0]).exit_code == 0


def test_what_was_withdrawn_is_not_there(lake):
    run(lake, DAYS[0], "gone", state="withdrawn", verdict="published")
    found = answer(lake, "late", DAYS[0])
    assert (found.exit_code, found.next_step) == (1, "lamplighter backfill late --queued")


def test_a_look_at_a_lock_refuses_nobody(lake):
    """However often somebody looks, a run that wants the lock gets it."""
    key = layout.lock("late", DAYS[0])
    with start(lake, f"print('looking', flush=True)\nwhile True: lake.is_locked({key!r})\n") as looker:
        assert looker.stdout.readline() == "looking\n"
        for _ in range(300):
            with lake.lock(key, holder="a run"):
                assert lake.is_locked(key)
        looker.kill()
    assert not lake.is_locked(key)


def test_a_run_that_meets_somebody_s_look_tries_again(lake, monkeypatch):
    """A look holds the lock for some microseconds; a run that waits for nobody is not refused for that."""
    flock, looks = fcntl.flock, []

    def meet_a_look(descriptor, operation):
        if not looks:
            looks.append(descriptor)
            raise BlockingIOError
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", meet_a_look)
    with lake.lock(layout.lock("late", DAYS[0]), holder="a run", wait_seconds=0):
        assert looks
