"""Publishing: a run's tables become visible with a verdict that says all that was found, or nothing changes."""

import datetime as dt
import re
from types import SimpleNamespace

import pytest

import tasks.publish
from tasks.core import layout
from tasks.core.errors import ModelBlocked, NotConserved
from tasks.core.models.contents import json_bytes
from tasks.core.runs.manifest import AcceptanceRecord, ExpectationRecord, SchemaChangeRecord, SuiteRecord, VolumeRecord
from tasks.core.runs.run import manifest_of, record
from tasks.publish import publish_run
from tests.publishing_scenes import DAY, JOB, RUN_ID, START, keys, recall_event, scored_run, sha256_of


@pytest.fixture
def run(lake):
    return scored_run(lake)


def visible(lake) -> dict[str, bytes]:
    return {key: lake.read_bytes(key) for table in (*layout.TABLES, layout.SHADOW) for key in lake.files(table)}


def expectation(sentence, consequence):
    return ExpectationRecord(
        type="expect_x",
        columns=("x",),
        kwargs={},
        severity="warning",
        on_failure=None,
        consequence=consequence,
        success=False,
        sentence=sentence,
    )


def suite(*expectations):
    return SuiteRecord(name="readings", digest="x", success=False, expectations=expectations)


def test_a_run_without_remarks_is_published_whole(run):
    before = dt.datetime.now(dt.UTC)

    manifest = publish_run(run)

    assert (manifest.state, manifest.verdict, manifest.reasons) == ("concluded", "published", ())
    assert before <= manifest.finished_at <= dt.datetime.now(dt.UTC)
    assert manifest == manifest_of(run)
    rows = manifest.rows
    assert (rows.pulled, rows.scored, rows.quarantined, rows.duplicates) == (5, 3, 1, 1)
    assert manifest.key_digests.scored == keys("a", "c", "d").hex
    published = visible(run.lake)
    assert published.keys() == {f"{table}/{JOB}/as_of={DAY}/part-{RUN_ID}.parquet" for table in layout.TABLES}
    assert {file.key: file.sha256 for file in manifest.files.values()} == {
        key: sha256_of(data) for key, data in published.items()
    }


def test_the_metrics_are_of_what_was_counted(run):
    publish_run(run)

    with run.lake.parquet(f"metrics/{JOB}/as_of={DAY}/part-{RUN_ID}.parquet") as file:
        figures = {row["metric"]: row["value"] for row in file.read().to_pylist()}
    assert (figures["rows_scored"], figures["rows_quarantined"], figures["quarantine_share"]) == (3, 1, 0.25)


def test_how_long_it_took_and_how_much_memory_is_recorded(run, monkeypatch):
    ticks = iter((10.0, 12.0))
    monkeypatch.setattr(tasks.publish, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    monkeypatch.setattr(tasks.publish, "peak_memory_bytes", lambda: 500)

    manifest = publish_run(run)

    (timing,) = manifest.timings
    assert (timing.stage, timing.seconds, timing.rows_per_second) == ("publish", 2.0, 1.5)
    assert manifest.peak_memory_bytes == 500


def test_the_most_memory_that_any_stage_took_counts(run, monkeypatch):
    monkeypatch.setattr(tasks.publish, "peak_memory_bytes", lambda: 500)
    record(run, peak_memory_bytes=501)

    assert publish_run(run).peak_memory_bytes == 501


def test_every_remark_is_a_reason_in_the_order_of_the_run(run):
    accepted = AcceptanceRecord(gate="volume", needed=True, sentence="few", reason="strike", by="ann", at=START)
    not_needed = accepted.model_copy(update={"gate": "spare", "needed": False})
    changes = [
        SchemaChangeRecord(
            change="added", column=name, before=None, now="int64", consequence=consequence, sentence=f"{name} is new"
        )
        for name, consequence in (("z", "warns"), ("y", "accepted"))
    ]
    volume = VolumeRecord(
        scored=3, median=9, windows=4, least=5, most=20, severity="warning", consequence="warns", sentence="3 rows"
    )
    record(
        run,
        acceptances=(accepted, not_needed),
        schema_changes=tuple(changes),
        suite=suite(expectation("x is high", "warns"), expectation("x is low", "note")),
        output_suite=suite(expectation("p is high", "warns"), expectation("p is low", "passed")),
        volume=volume,
        model=manifest_of(run).model.model_copy(update={"warnings": ("an old library",)}),
    )

    manifest = publish_run(run)

    assert manifest.verdict == "published_with_warnings"
    assert manifest.reasons == (
        "accepted by ann: volume: strike",
        "z is new",
        "x is high",
        "of what goes out: p is high",
        "3 rows",
        "an old library",
    )


def test_a_volume_that_passed_is_no_remark(run):
    passed = VolumeRecord(
        scored=3, median=3, windows=4, least=1, most=9, severity="warning", consequence="passed", sentence="3 rows"
    )
    record(run, volume=passed)

    assert publish_run(run).verdict == "published"


def test_what_was_accepted_and_had_not_failed_is_recorded_as_not_needed(run):
    trigger = manifest_of(run).trigger.model_copy(update={"accept": ("volume",), "reason": "strike"})
    record(run, trigger=trigger)

    manifest = publish_run(run)

    assert [(one.gate, one.needed) for one in manifest.acceptances] == [("volume", False)]
    assert manifest.verdict == "published"


def test_a_lost_row_publishes_nothing(run):
    run.lake.write_bytes(run.key(layout.checkpoint(2)), run.lake.read_bytes(run.key(layout.checkpoint(1))))

    with pytest.raises(NotConserved, match=re.escape("scored 3 + quarantined 1 + duplicates 1 = 5")):
        publish_run(run)

    assert visible(run.lake) == {}
    assert manifest_of(run).verdict is None


def test_a_version_that_was_recalled_meanwhile_publishes_nothing(run):
    run.lake.create(f"models/{JOB}/events/000001.json", json_bytes(recall_event(1)))

    with pytest.raises(ModelBlocked, match="was recalled"):
        publish_run(run)

    assert visible(run.lake) == {}


def test_the_recall_of_another_version_keeps_nobody_from_publishing(run):
    run.lake.create(f"models/{JOB}/events/000001.json", json_bytes(recall_event(2)))

    assert publish_run(run).state == "concluded"


def test_a_dry_run_comes_to_its_verdict_and_shows_nothing(lake):
    run = scored_run(lake, folder=layout.dry_runs(JOB, DAY))

    manifest = publish_run(run)

    assert (manifest.state, manifest.verdict) == ("dry_run", "published")
    assert abs(manifest.finished_at - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=10)
    assert visible(lake) == {}
    assert sorted(file.key for file in manifest.files.values()) == sorted(
        key for key in lake.files(run.workspace) if "/part-" in key
    )
