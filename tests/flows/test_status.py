"""`lamplighter status` as a person and as a script meet it; it needs the lake and the project, and no Prefect."""

import datetime as dt
import json
import os
import re
import subprocess
import sys

import pytest

from tasks.core.monitoring.keeping import keep
from tasks.core.monitoring.records import Alarm, Monitored
from tests.flows.conftest import DAY, readings

pytestmark = pytest.mark.usefixtures("world")


def test_all_is_well(lamplighter, world):
    world.score()
    code, out, _ = lamplighter("status")
    assert code == 0
    assert out.startswith(f"readings: well. Readers see windows up to {DAY}: run {world.published().run_id}")
    assert out.endswith("1 job, and all is well.\n")


def test_blocked_is_3_and_says_what_readers_still_see_and_what_to_type(lamplighter, world):
    world.score()
    seen = world.published().run_id
    world.write_rows(readings().assign(kind="lukewarm"))
    world.score(rescore="a new feed")

    code, out, _ = lamplighter("status", "readings")

    assert code == 3
    assert f"blocked {DAY}: 200 of 200 rows fail expect_column_values_to_be_in_set(kind)" in out
    assert f"readers still see run {seen}, published " in out
    assert f"Next: lamplighter show readings --as-of {DAY}" in out
    assert "Not well: 1 of 1 job (1 blocked or late)." in out
    (said,) = json.loads(lamplighter("status", "--json")[1])
    assert (said["exit_code"], said["windows"][0]["kind"], said["newest"]["run_id"]) == (3, "blocked", seen)


def test_failed_is_1(lamplighter, world):
    (world.folder / "data/a.parquet").write_bytes(b"not parquet")
    world.score()
    code, out, _ = lamplighter("status")
    assert (code, f"failed {DAY}: " in out) == (1, True)


def test_missed_windows_are_one_backfill(lamplighter, world):
    world.score()
    world.change_job(schedule={"cron": "30 2 * * *"}, deadline="2h", owner="weather")
    code, out, _ = lamplighter("status")
    assert code == 3
    # The newest 400 windows are looked at, so the first of them depends on the day.
    first = re.search(r"missed (\d{4}-\d\d-\d\d) to \d{4}-\d\d-\d\d", out)[1]
    due = dt.date.fromisoformat(first) + dt.timedelta(days=1)
    assert f"it was due {due} 04:30 UTC" in out
    assert f"Next: lamplighter backfill readings --from {first} --to " in out


def test_alarms_that_stand_are_one_line(lamplighter, world):
    world.score()
    alarms = [
        Alarm(kind=kind, onset=onset, reason=f"Why it has {kind}.", next_step=f"mend what has {kind}")
        for kind, onset in (("degraded", "2024-05-04"), ("drifted", "2024-05-02"))
    ]
    found = Monitored(job="readings", at=dt.datetime(2024, 5, 8, tzinfo=dt.UTC), as_of="2024-05-08", alarms=alarms)
    keep(world.lake, found)
    code, out, _ = lamplighter("status")
    assert code == 0
    assert (
        "  alarms (looked at on 2024-05-08): performance degraded since 2024-05-04, data drifted since 2024-05-02. "
        "Why it has degraded. Next: mend what has degraded\n"
    ) in out
    assert out.endswith("1 job, and every window is well; 1 has an alarm.\n")
    (said,) = json.loads(lamplighter("status", "--json")[1])
    assert [one["kind"] for one in said["alarms"]] == ["degraded", "drifted"]


def test_a_broken_job_is_one_line_and_not_the_end(lamplighter, world):
    world.score()
    world.change_job(owner="weather")
    broken = world.job_file.with_name("broken.yaml")
    broken.write_text(world.job_file.read_text().replace("job: readings", "job: broken") + "colour: red\n")

    code, out, _ = lamplighter("status")

    assert code == 1
    first, second, last = out.splitlines()
    assert "'colour' is not known" in first
    assert second.startswith("readings (weather): well.")
    assert last == "Not well: 1 of 2 jobs (1 failed, killed, undelivered or unreadable)."
    # It may be anybody's.
    assert lamplighter("status", "--owner", "weather")[0] == 1
    assert lamplighter("status", "readings", "--owner", "weather")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["reading"], "did you mean 'readings'?"), (["--owner", "whether"], "no job has the owner 'whether'")],
)
def test_a_name_that_nobody_has_is_never_well(lamplighter, arguments, says):
    code, _, err = lamplighter("status", *arguments)
    assert (code, says in err) == (2, True)


def test_no_job_at_all_is_never_well(lamplighter, world):
    world.job_file.unlink()
    code, _, err = lamplighter("status")
    assert (code, "there is no job in" in err) == (2, True)


def test_no_lake_at_all_is_never_well(lamplighter, world, monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(world.folder / "lakes"))
    code, _, err = lamplighter("status")
    assert (code, "there is no lake in" in err) == (2, True)


@pytest.mark.parametrize("command", [("status",), ("published", "readings", "--as-of", DAY)])
def test_nothing_of_prefect_is_imported(world, command):
    """Prefect may be down, or not even installed well."""
    world.score()
    code = (
        f"import sys; sys.argv = ['lamplighter', *{command!r}]\n"
        "class Refuse:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] in ('prefect', 'great_expectations', 'sklearn'): raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from flows.cli import main\nmain()\n"
    )
    environment = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:1/api"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
