"""The flow `score` end to end: what is published, what a rerun leaves, and what a reader finds."""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.score import score
from tests.flows.conftest import DAY, readings


def test_every_row_is_scored_and_published(world):
    state = world.score()

    assert state.name == "Published", state.message
    table = world.table()
    assert table["sensor"].tolist() == readings()["sensor"].tolist()
    assert table["probability"].between(0, 1).all()
    # The label was x > 0: a model that learnt it gives the two sides different odds.
    assert ((table["probability"] > 0.5) == (readings()["x"] > 0)).mean() > 0.9
    assert set(table["model_version"]) == {"readings/0001"}
    manifest = world.published()
    assert (manifest.rows.pulled, manifest.rows.scored, manifest.rows.quarantined) == (200, 200, 0)
    assert manifest.key_digests.pulled == manifest.key_digests.scored


def test_a_finished_window_is_left_alone_even_when_its_source_is_gone(world):
    world.score()
    before = world.partition_bytes()
    (world.folder / "data/a.parquet").unlink()

    state = world.score()

    assert state.name == "AlreadyPublished"
    assert world.partition_bytes() == before


def test_rescoring_the_same_rows_leaves_the_same_bytes(world):
    world.score()
    before = world.partition_bytes()

    state = world.score(rescore="is it the same?")

    assert state.name == "AlreadyPublished"
    assert "the same 200 rows" in state.message
    assert world.partition_bytes() == before


def test_rescoring_other_rows_replaces_the_partition_and_keeps_the_old_one_aside(world):
    world.score()
    first = world.published()
    world.write_rows(readings(150))

    state = world.score(rescore="the feed was mended")

    assert state.name == "Published", state.message
    second = world.published()
    assert len(world.table()) == 150
    assert (second.replaces, second.trigger.rescore_reason) == (first.run_id, "the feed was mended")
    kept = world.folder / f"lake/superseded/readings/as_of={DAY}/{first.run_id}"
    assert pq.read_metadata(next((kept / "predictions").glob("*.parquet"))).num_rows == 200
    assert json.loads((kept / "manifest.json").read_bytes())["superseded_by"] == second.run_id


def test_rows_that_fail_the_suite_are_quarantined_with_their_reasons_and_the_rest_is_scored(world):
    rows = readings()
    rows.loc[3, "kind"] = "lukewarm"
    world.write_rows(rows)

    state = world.score()

    assert state.name == "Published", state.message
    assert "s00003" not in set(world.table()["sensor"])
    quarantined = world.table("quarantine")
    assert quarantined["sensor"].tolist() == ["s00003"]
    assert quarantined["x"][0] == pytest.approx(rows["x"][3])
    (reason,) = quarantined["reasons"][0]
    assert (reason["kind"], reason["column"], reason["value"]) == ("expectation", "kind", "lukewarm")


def test_too_many_rows_in_quarantine_block_the_run_and_readers_keep_what_they_had(world):
    world.score()
    before = world.partition_bytes()
    rows = readings()
    rows.loc[:49, "kind"] = "lukewarm"
    world.write_rows(rows)

    state = world.score(rescore="new feed")

    assert (state.type.value, state.name) == ("FAILED", "Blocked")
    assert state.message.startswith(
        "50 of 200 rows fail expect_column_values_to_be_in_set(kind); limit 10 %; for example lukewarm."
    )
    assert world.partition_bytes() == before
    assert world.latest().verdict == "blocked"
    assert world.published().verdict == "published"


def test_a_critical_expectation_blocks_a_warning_warns_and_both_say_so(world):
    rows = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1000}, "meta": {}}
    world.write_suite(rows | {"severity": "warning"})
    assert world.score().name == "PublishedWithWarnings"

    world.write_suite(rows | {"severity": "critical"})
    state = world.score(rescore="stricter")

    assert state.name == "Blocked"
    assert "expect_table_row_count_to_be_between" in state.message
    assert world.published().verdict == "published_with_warnings"


def test_many_batches_in_child_processes_give_the_rows_of_one_batch_in_the_parent(world):
    world.score()
    alone = world.table()
    world.change_job(limits__batch_rows=30, limits__workers=2)

    state = world.score(rescore="smaller batches")

    assert state.name == "Published", state.message
    pd.testing.assert_frame_equal(
        world.table().drop(columns=["run_id", "scored_at"]), alone.drop(columns=["run_id", "scored_at"]), rtol=1e-12
    )
    assert world.published().snapshot.batches == 7


def test_the_report_and_the_expectations_page_stand_alone(world):
    world.score()

    reports = world.folder / "lake/reports"
    page = (reports / f"readings/as_of={DAY}.html").read_text()
    assert "Published" in page
    assert f"as_of={DAY}.expectations.html" in page
    for written in reports.rglob("*.html"):
        text = written.read_text()
        assert 'src="http' not in text, written
        assert "@import" not in text, written


def test_the_columns_of_the_table_are_a_contract(world):
    world.score()

    ((name, data),) = world.partition_bytes().items()
    schema = pq.read_schema(pa.BufferReader(data))
    assert [(field.name, str(field.type)) for field in schema] == [
        ("sensor", "string"),
        ("at", "timestamp[us, tz=UTC]"),
        ("window_start", "timestamp[us, tz=UTC]"),
        ("probability", "double"),
        ("kind", "string"),
        ("model_version", "string"),
        ("run_id", "string"),
        ("scored_at", "timestamp[us, tz=UTC]"),
    ]
    explains = json.loads(pq.read_metadata(pa.BufferReader(data)).metadata[b"lamplighter"])
    assert name == f"part-{explains['run_id']}.parquet"
    assert explains["run_id"] == world.published().run_id
    assert explains["snapshot_digest"] == world.published().snapshot.digest


def test_parameters_are_refused_before_a_run_starts():
    from prefect.exceptions import ParameterTypeError

    with pytest.raises(ParameterTypeError):
        score("Not A Job", "2024-05-01")
    with pytest.raises(ParameterTypeError):
        score("readings", "yesterday")


def test_the_ui_gets_progress_and_the_same_numbers_as_the_manifest(world):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    world.change_job(limits__batch_rows=50, limits__workers=2)
    state = world.score()

    assert state.name == "Published", state.message
    with get_client(sync_client=True) as client:
        runs = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
        artifacts = {one.key: one for one in client.read_artifacts(artifact_filter=runs)}
    report = artifacts["readings-report"]
    assert "200" in report.data
    assert f"as_of={DAY}.html" in report.data
    assert artifacts["readings-figures"].type == "table"
    for stage in ("validate", "score"):
        assert artifacts[f"readings-{stage}"].data == 100
