"""The table of all runs: one row each, one schema, read by whoever has nothing of Lamplighter."""

import datetime as dt
import glob

import duckdb
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core import layout
from tasks.core.runs.manifest import CodeRecord, RowCounts, SnapshotRecord, Trigger
from tasks.core.runs.run import load_manifest, write_manifest
from tasks.core.runs.run_rows import SCHEMA, keep_row
from tests.status_scenes import at, block, publish, run

DAY = "2026-03-01"


def row_key(as_of, run_id, job="late"):
    return f"{layout.workspace(job, as_of, run_id)}/run.parquet"


def rows(lake, job="*"):
    found = duckdb.sql(f"from read_parquet('{lake.path('runs')}/{job}/*/*/run.parquet') order by run_id")
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def test_a_run_is_a_row_with_the_figures_of_its_record(lake):
    publish(
        lake,
        DAY,
        "r1",
        rows=RowCounts(pulled=10, scored=7, quarantined=2, duplicates=1),
        reasons=("the mean is 3", "the feed is old"),
        verdict="published_with_warnings",
        snapshot=SnapshotRecord(
            digest="snap",
            rows=10,
            batches=1,
            batch_rows=10,
            bytes=9,
            sha256="s",
            complete_at=at("2026-03-02 02:31"),
            columns={},
        ),
        code=CodeRecord(version="0.6.0", commit="abc", dirty=False, digest="code"),
        contract_version=2,
        shadow=True,
        trigger=Trigger(kind="rescore", actor="ann", rescore_reason='it\'s "late"', flow_run_id="f1"),
        replaces="r0",
        peak_memory_bytes=2**33,
    )
    (found,) = rows(lake, "late")
    assert found == {
        "run_id": "r1",
        "job": "late",
        # DuckDB takes it for a day, as it does with the partitions of predictions.
        "as_of": dt.date(2026, 3, 1),
        "window_start": at("2026-03-01 00:00"),
        "window_end": at("2026-03-02 00:00"),
        "verdict": "published_with_warnings",
        "reasons": "the mean is 3; the feed is old",
        "rows_pulled": 10,
        "rows_scored": 7,
        "rows_quarantined": 2,
        "rows_duplicates": 1,
        "model_version": "late/0003",
        "model_digest": "model",
        "snapshot_digest": "snap",
        "suite_digest": None,
        "code_version": "0.6.0",
        "code_digest": "code",
        "code_commit": "abc",
        "job_digest": "job",
        "contract_version": 2,
        "shadow": True,
        "asked_by": "ann",
        "trigger": "rescore",
        "trigger_reason": 'it\'s "late"',
        "flow_run_id": "f1",
        "replaces": "r0",
        "started_at": at("2026-03-02 02:30"),
        "finished_at": at("2026-03-02 02:40"),
        "seconds": 600.0,
        "peak_memory_bytes": 2**33,
    }


def test_runs_of_every_kind_are_one_table_for_every_reader(lake):
    publish(lake, DAY, "r1")
    block(lake, "2026-03-02", "r2")
    publish(lake, "2026-03-03", "r3", job="hourly", trigger=Trigger(kind="backfill", reason="r\N{SNOWMAN}"))
    files = sorted(glob.glob(f"{lake.path('runs')}/*/*/*/run.parquet"))
    read = [
        pd.read_parquet(files),
        polars.read_parquet(f"{lake.path('runs')}/*/*/*/run.parquet").to_pandas(),
        duckdb.sql(f"from read_parquet('{lake.path('runs')}/*/*/*/run.parquet')").to_arrow_table().to_pandas(),
    ]
    for table in read:
        assert sorted(table["run_id"]) == ["r1", "r2", "r3"]
        assert sorted(table["as_of"].astype(str)) == ["2026-03-01", "2026-03-02", "2026-03-03"]
        assert sorted(table["verdict"]) == ["blocked", "published", "published"]
        assert table.shape == (3, len(SCHEMA))
    assert all(pq.read_schema(file).equals(SCHEMA) for file in files)


def test_it_joins_what_readers_see(lake):
    publish(lake, DAY, "r1")
    block(lake, DAY, "r2")
    seen = pa.table({"id": ["a", "b"], "run_id": ["r1", "r1"]})
    pq.write_table(seen, lake.path(f"{layout.partition(layout.PREDICTIONS, 'late', DAY)}/{layout.part('r1')}"))
    joined = duckdb.sql(
        f"select id, verdict from read_parquet('{lake.path('predictions')}/late/*/*.parquet') p "
        f"join read_parquet('{lake.path('runs')}/late/*/*/run.parquet') r using (run_id)"
    )
    assert sorted(joined.fetchall()) == [("a", "published"), ("b", "published")]


@pytest.mark.parametrize("changes", [{"state": "running"}, {"state": "publishing", "verdict": "published"}])
def test_a_run_without_a_verdict_has_no_row(lake, changes):
    run(lake, DAY, "r1", **changes)
    assert not lake.exists(row_key(DAY, "r1"))


def test_a_dry_run_has_no_row(lake):
    made = run(lake, DAY, "r1", state="running")
    dry = made.but(state="dry_run", verdict="published", trigger=Trigger(kind="dry_run"))
    write_manifest(lake, layout.dry_run("late", DAY, "r1"), dry)
    write_manifest(lake, layout.dry_run("late", DAY, "r2"), dry.but(state="concluded", verdict="failed"))
    assert not [key for key in lake.files() if key.endswith("run.parquet")]


def test_the_row_stays_as_it_is_whatever_becomes_of_the_run(lake):
    made = publish(lake, DAY, "r1")
    before = lake.path(row_key(DAY, "r1")).stat()
    for state in ("superseded", "withdrawing", "withdrawn", "concluded"):
        write_manifest(lake, layout.workspace("late", DAY, "r1"), made.but(state=state, superseded_by="r2"))
        write_manifest(lake, layout.superseded("late", DAY, "r1"), made.but(state=state))
    after = lake.path(row_key(DAY, "r1")).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert len([key for key in lake.files() if key.endswith("run.parquet")]) == 1


def test_a_run_that_failed_and_was_taken_up_again_has_its_last_verdict(lake):
    made = run(lake, DAY, "r1", state="concluded", verdict="failed", reasons=("the disk is full",))
    assert rows(lake, "late")[0]["verdict"] == "failed"
    again = made.begun_again()
    write_manifest(lake, layout.workspace("late", DAY, "r1"), again)
    write_manifest(lake, layout.workspace("late", DAY, "r1"), again.but(state="concluded", verdict="published"))
    assert [(one["verdict"], one["reasons"]) for one in rows(lake, "late")] == [("published", None)]


def test_a_run_from_before_there_were_rows_gets_one_when_its_record_is_written_again(lake):
    made = publish(lake, DAY, "r1")
    lake.remove(row_key(DAY, "r1"))
    keep_row(lake, layout.workspace("late", DAY, "r1"), made.but(state="superseded"))
    assert [one["run_id"] for one in rows(lake)] == ["r1"]
    assert load_manifest(lake, layout.workspace("late", DAY, "r1")) == made
