"""A run: what decides its name, and its record in the lake."""

import datetime as dt
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tasks.core import layout
from tasks.core.definitions.window import Window
from tasks.core.errors import WindowFinished
from tasks.core.runs.manifest import CodeRecord, RowCounts, Trigger
from tasks.core.runs.run import (
    as_of_labels,
    first_manifest,
    has_manifest,
    latest_manifest,
    load_manifest,
    manifest_of,
    plan_digest,
    plan_key,
    published_before,
    published_manifest,
    pulling_name,
    record,
    record_timing,
    refuse_finished,
    run_id_of,
    write_manifest,
)
from tests.publishing_scenes import DAY, JOB, RUN_ID, START, scored_run

PLAN = {
    "definition": "d",
    "window": Window(DAY, START, START + dt.timedelta(days=1)),
    "model": ("readings/0001", "m"),
    "code": "c",
    "known_at": None,
}
CODE = CodeRecord(version="0", commit=None, dirty=None, digest="c")


@pytest.fixture
def run(lake):
    return scored_run(lake)


@pytest.fixture
def written(run):
    """Writes a record of a window into the lake, of a run that began so many hours after the first."""

    def write(run_id, as_of=DAY, *, hours=0, **changes):
        manifest = manifest_of(run).but(run_id=run_id, as_of=as_of, **changes)
        manifest = manifest.but(started_at=manifest.started_at + dt.timedelta(hours=hours))
        write_manifest(run.lake, layout.workspace(JOB, as_of, run_id), manifest)
        return manifest

    return write


@pytest.mark.parametrize(
    "change",
    [
        {"definition": "e"},
        {"window": Window("2024-05-02", START, START + dt.timedelta(days=1))},
        {"window": Window(DAY, START - dt.timedelta(hours=1), START + dt.timedelta(days=1))},
        {"window": Window(DAY, START, START + dt.timedelta(days=2))},
        {"model": ("readings/0002", "m")},
        {"model": ("readings/0001", "n")},
        {"code": "b"},
        {"known_at": START},
    ],
    ids=["definition", "label", "start", "end", "version", "model", "code", "known at"],
)
def test_another_plan_has_another_key(change):
    assert plan_digest(**PLAN) == plan_digest(**PLAN)
    assert plan_digest(**PLAN | change) != plan_digest(**PLAN)


def test_the_instant_up_to_which_the_source_is_known_is_part_of_the_plan():
    early, late = (plan_digest(**PLAN | {"known_at": START + dt.timedelta(hours=hour)}) for hour in (1, 2))
    assert early != late


def test_the_plan_is_of_the_definition_the_window_the_model_and_the_code(run):
    found = plan_key(run.definition, run.window, run.model, "c")

    assert found == plan_digest(run.definition.digest, run.window, ("readings/0001", "m"), "c", None)


def test_a_run_is_named_by_its_plan_and_its_rows():
    plan, rows = "0123456789abcdefXX", "fedcba9876543210XX"

    assert pulling_name(plan) == "pulling-0123456789abcdef"
    assert run_id_of(plan, rows) == "0123456789abcdef-fedcba9876543210"


def test_what_is_accepted_makes_another_run_whatever_its_order():
    one, both = run_id_of("plan", "rows", ("volume",)), run_id_of("plan", "rows", ("volume", "share"))

    assert len({run_id_of("plan", "rows"), run_id_of("plan", "other", ("volume",)), one, both}) == 4
    assert both == run_id_of("plan", "rows", ("share", "volume"))
    assert one.startswith("plan-")
    assert len(one) == len("plan-") + 16


def test_a_run_knows_where_it_lies(run):
    moved = run.under(f"{layout.dry_runs(JOB, DAY)}/other")

    assert (run.run_id, run.name, run.folder) == (RUN_ID, f"{JOB} {DAY}", f"runs/{JOB}/as_of={DAY}")
    assert run.key("snapshot.json") == f"runs/{JOB}/as_of={DAY}/{RUN_ID}/snapshot.json"
    assert (run.is_dry_run, moved.is_dry_run, moved.run_id) == (False, True, "other")
    assert (run.run_id, run.plan_key, run.takes_over) == (RUN_ID, "plan", False)


def test_the_first_record_says_what_was_decided(lake):
    run = scored_run(lake, output={"columns": {"p": {"type": "float64"}}, "shadow": True, "version": 4})
    run.model = SimpleNamespace(name=JOB, version=7, digest="m", format="joblib", origin="models:/readings/3")
    run.definition = replace(run.definition, query="SELECT 1 WHERE at < :known_at")

    manifest = first_manifest(run, code=CODE, environment={"python": "3.11"}, trigger=Trigger(actor="ann"))

    window = manifest.window
    assert (manifest.job, manifest.as_of, manifest.run_id, manifest.plan_key) == (JOB, DAY, RUN_ID, "plan")
    assert (window.kind, window.start, window.end, window.timezone) == (
        "interval",
        run.window.start,
        run.window.end,
        "UTC",
    )
    assert (manifest.model.name, manifest.model.version, manifest.model.digest) == (JOB, 7, "m")
    assert (manifest.model.alias, manifest.model.format) == ("production", "joblib")
    assert manifest.model.origin == "models:/readings/3"
    assert (manifest.code, manifest.environment, manifest.trigger.actor) == (CODE, {"python": "3.11"}, "ann")
    assert (manifest.contract_version, manifest.shadow, manifest.started_at) == (4, True, run.started_at)
    assert (manifest.job_digest, window.known_at) == (run.definition.digest, run.job.known_at(run.window))
    assert (manifest.state, manifest.verdict) == ("running", None)


def test_a_record_is_of_the_folder_that_it_lies_in(run):
    """A kill may come between a workspace's new name and that in its record."""
    moved = layout.workspace(JOB, DAY, "later")
    run.lake.rename(run.workspace, moved)

    assert load_manifest(run.lake, moved).run_id == "later"
    assert (has_manifest(run.lake, moved), has_manifest(run.lake, run.workspace)) == (True, False)


def test_what_a_stage_has_found_is_added(run):
    record(run, rows=RowCounts(pulled=9))
    record(run, peak_memory_bytes=7)

    assert (manifest_of(run).rows.pulled, manifest_of(run).peak_memory_bytes) == (9, 7)


def test_of_a_stage_that_ran_again_the_last_time_counts(run):
    for stage, seconds, rows in (("pull", 9.0, 90), ("score", 0.123456, 5), ("pull", 2.0, 5), ("open", 0.0, 5)):
        record_timing(run, stage, seconds, rows)
    record_timing(run, "load", 1.0)

    told = {one.stage: (one.seconds, one.rows_per_second) for one in manifest_of(run).timings}
    assert told == {
        "score": (0.123, 40.5),  # 5 / 0.123456 is 40.50...
        "pull": (2.0, 2.5),
        "open": (0.0, None),
        "load": (1.0, None),
    }
    assert len(manifest_of(run).timings) == len(told)


def test_the_run_that_began_last_and_the_one_that_is_published(run, written):
    written("old", hours=1, state="concluded", verdict="published")
    written("new", hours=2, state="running")

    assert latest_manifest(run.lake, JOB, DAY).run_id == "new"
    assert published_manifest(run.lake, JOB, DAY).run_id == "old"
    assert latest_manifest(run.lake, JOB, "2024-05-09") is None
    assert published_manifest(run.lake, JOB, "2024-05-09") is None


def test_what_was_published_before_comes_the_latest_first(run, written):
    for day in ("2024-04-28", "2024-04-30", "2024-05-02", DAY):
        written("a", day, state="concluded", verdict="published")
    written("b", "2024-04-29", state="running")
    run.lake.write_bytes(f"runs/{JOB}/notes.txt", b"")

    assert [one.as_of for one in published_before(run.lake, JOB, DAY)] == ["2024-04-30", "2024-04-28"]
    assert as_of_labels(run.lake, JOB) == ["2024-04-28", "2024-04-29", "2024-04-30", DAY, "2024-05-02"]


def test_a_published_window_is_left_alone(run, written):
    refuse_finished(run.lake, JOB, DAY)
    published = written("old", state="concluded", verdict="published", rows=RowCounts(pulled=1300, scored=1234))
    with pytest.raises(WindowFinished) as refused:
        refuse_finished(run.lake, JOB, DAY)
    assert refused.value.failed == f"{JOB} {DAY} is published: 1,234 rows by run old"

    written("old", **{name: getattr(published, name) for name in ("state", "verdict", "rows")}, shadow=True)
    with pytest.raises(WindowFinished, match="is published, in shadow: 1,234 rows"):
        refuse_finished(run.lake, JOB, DAY)
