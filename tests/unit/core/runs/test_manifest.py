"""The manifest: what is written is what is read, and what is no manifest is never taken for one."""

import datetime as dt
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.core import layout
from tasks.core.errors import LakeCorrupt
from tasks.core.runs.manifest import (
    CodeRecord,
    ExpectationRecord,
    FileRecord,
    Manifest,
    ModelRecord,
    PredictionSummary,
    RowCounts,
    StageTiming,
    SuiteRecord,
    Trigger,
    WindowRecord,
    read_manifest,
)
from tasks.core.runs.run import (
    as_of_labels,
    latest_manifest,
    load_manifest,
    manifests,
    published_manifest,
    write_manifest,
)

START = dt.datetime(2013, 7, 1, 4, tzinfo=dt.UTC)


def manifest(run_id: str = "plan-rows", **changes) -> Manifest:
    values = {
        "job": "late",
        "as_of": "2013-07-01",
        "run_id": run_id,
        "plan_key": "plan",
        "job_digest": "job",
        "window": WindowRecord(
            kind="interval", start=START, end=START + dt.timedelta(days=1), timezone="America/New_York"
        ),
        "model": ModelRecord(name="late", version=1, digest="model", alias="production", format="joblib"),
        "code": CodeRecord(version="0.1.0", commit=None, dirty=None, digest="code"),
        "environment": {"python": "3.11.9"},
        "started_at": START,
    }
    return Manifest(**values | changes)


def full() -> Manifest:
    expectation = ExpectationRecord(
        type="expect_column_values_to_be_between",
        columns=("x",),
        kwargs={"column": "x", "max_value": 5, "mostly": 0.99, "names": ["ä", None]},
        severity="critical",
        on_failure="quarantine",
        consequence="quarantines",
        success=False,
        examples=("7", "☃"),
        sentence="x is at most 5",
    )
    return manifest(
        state="concluded",
        verdict="published_with_warnings",
        rows=RowCounts(pulled=10, scored=7, quarantined=2, duplicates=1),
        suite=SuiteRecord(name="late", digest="suite", success=False, expectations=(expectation,)),
        predictions={"p": PredictionSummary(mean=0.25, minimum=0.0, maximum=1e-300)},
        timings=(StageTiming(stage="pull", seconds=0.1, rows_per_second=1e6),),
        files={"predictions": FileRecord(key="predictions/late/x", rows=7, bytes=2**40, sha256="0")},
        trigger=Trigger(rescore_reason="the feed was mended"),
        finished_at=START + dt.timedelta(microseconds=1),
    )


def refusal(data: bytes) -> str:
    with pytest.raises(LakeCorrupt) as refused:
        read_manifest(data, where="/lake/runs/x/manifest.json")
    said = str(refused.value)
    assert "/lake/runs/x/manifest.json is not a manifest of version 1: " in said
    assert "It was left as it is." in said or "it was left as it is" in said
    assert "\n" not in said
    return said


@pytest.mark.parametrize("written", [manifest(), full()], ids=["begun", "full"])
def test_what_is_written_is_read(written):
    assert read_manifest(written.to_json(), where="x") == written
    assert json.loads(written.to_json())["manifest_version"] == 1
    assert written.to_json().endswith(b"}\n")


def test_instants_keep_their_zone():
    found = read_manifest(full().to_json(), where="x")
    assert found.window.start == START
    assert found.window.start.utcoffset() == dt.timedelta(0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"manifest_version": 2}, "manifest_version: Input should be 1"),
        ({"state": "done"}, "state: Input should be"),
        ({"verdict": "fine"}, "verdict: Input should be"),
        ({"rows": {"pulled": "many"}}, "rows.pulled: "),
        ({"model": {"name": "late"}}, "model.version: Field required"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"started_at": "yesterday"}, "started_at: "),
        ({"run_id": None}, "run_id: "),
    ],
)
def test_a_record_of_another_shape_is_refused_by_name(change, says):
    assert says in refusal(json.dumps(json.loads(full().to_json()) | change).encode())


def test_a_record_of_a_later_version_says_so_first():
    later = json.loads(full().to_json()) | {"manifest_version": 2, "aaa": 1, "state": "new"}
    assert "manifest_version" in refusal(json.dumps(later).encode())


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"{}", b"\xff", b"\0" * 100, b'"x"', b"[" * 100_000, b"{" * 100_000]
)
def test_what_is_no_record_is_refused(data):
    refusal(data)


@settings(deadline=None, derandomize=True)
@given(st.integers(0, len(full().to_json()) - 3))
def test_a_part_of_a_record_is_refused(length):
    refusal(full().to_json()[:length])


def test_a_change_is_checked_as_the_whole_is():
    first = manifest()
    changed = first.but(state="concluded", verdict="blocked", reasons=["why"])
    assert (changed.state, changed.verdict, changed.reasons, first.state) == (
        "concluded",
        "blocked",
        ("why",),
        "running",
    )
    for wrong in ({"state": "done"}, {"stat": "running"}, {"rows": {"pulled": "many"}}, {"job": None}):
        with pytest.raises(ValidationError):
            first.but(**wrong)
    with pytest.raises(ValidationError, match="frozen"):
        first.state = "concluded"


@pytest.mark.parametrize(
    ("state", "verdict", "published"),
    [
        ("concluded", "published", True),
        ("concluded", "published_with_warnings", True),
        ("concluded", "blocked", False),
        ("concluded", "failed", False),
        ("publishing", "published", False),
        ("superseded", "published", False),
        ("running", None, False),
    ],
)
def test_published_is_what_is_concluded_so(state, verdict, published):
    assert manifest(state=state, verdict=verdict).is_published is published


@pytest.mark.parametrize(
    ("rows", "share"),
    [
        (RowCounts(), 0),
        (RowCounts(pulled=10, quarantined=2, duplicates=5), 0.4),
        (RowCounts(pulled=3, duplicates=3), 0),
        (RowCounts(pulled=3, quarantined=3), 1),
    ],
)
def test_the_share_in_quarantine_is_of_the_rows_that_are_no_duplicates(rows, share):
    assert rows.quarantine_share == share


def put(lake, run_id: str, minutes: int, **changes) -> Manifest:
    made = manifest(run_id, started_at=START + dt.timedelta(minutes=minutes), **changes)
    write_manifest(lake, layout.workspace("late", made.as_of, run_id), made)
    return made


def test_the_records_of_a_window(lake):
    assert manifests(lake, "late", "2013-07-01") == []
    assert latest_manifest(lake, "late", "2013-07-01") is None
    assert published_manifest(lake, "late", "2013-07-01") is None
    first = put(lake, "zz", 0, state="concluded", verdict="published")
    second = put(lake, "aa", 5, state="concluded", verdict="blocked")
    put(lake, "other", 9, as_of="2013-07-02")
    lake.write_bytes("runs/late/as_of=2013-07-01/begun/snapshot.parquet", b"")
    assert manifests(lake, "late", "2013-07-01") == [second, first]
    assert latest_manifest(lake, "late", "2013-07-01") == second
    assert published_manifest(lake, "late", "2013-07-01") == first
    assert as_of_labels(lake, "late") == ["2013-07-01", "2013-07-02"]
    assert as_of_labels(lake, "nobody") == []


def test_a_damaged_record_is_not_passed_over(lake):
    put(lake, "a", 0, state="concluded", verdict="published")
    lake.write_bytes("runs/late/as_of=2013-07-01/b/manifest.json", b"{")
    for read in (manifests, latest_manifest, published_manifest):
        with pytest.raises(LakeCorrupt, match=r"as_of=2013-07-01/b/manifest\.json"):
            read(lake, "late", "2013-07-01")
    assert load_manifest(lake, layout.workspace("late", "2013-07-01", "a")).run_id == "a"
