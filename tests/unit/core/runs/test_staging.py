"""What a run stages for publication, and the proof that it holds every row: counts and keys, from the staged files."""

import json

import pyarrow as pa
import pytest

from tasks.core import layout
from tasks.core.errors import NotConserved
from tasks.core.runs import staging
from tasks.core.runs.manifest import AcceptanceRecord, SuiteRecord
from tasks.core.runs.publication import staged
from tasks.core.runs.run import manifest_of
from tests.publishing_scenes import DAY, JOB, RUN_ID, START, TOO_HIGH, UNREADABLE, keys, scored_run, sha256_of


@pytest.fixture
def run(lake):
    return scored_run(lake)


def stage(run):
    manifest = manifest_of(run)
    return staging.stage_predictions(run, manifest), staging.stage_quarantine(run, manifest)


def key_of(run, table):
    return f"{staged(run.workspace, table)}/part-{RUN_ID}.parquet"


def read(run, table):
    with run.lake.parquet(key_of(run, table)) as file:
        return file.read()


def restage(run, table, rows: pa.Table) -> None:
    """Another file in the place of the staged one."""
    with run.lake.parquet_writer(key_of(run, table), rows.schema) as writer:
        writer.write_table(rows)


def test_the_predictions_are_the_checkpoints_in_order(run):
    predictions, _ = stage(run)

    rows = read(run, layout.PREDICTIONS)
    assert rows["sensor"].to_pylist() == ["a", "c", "d"]
    assert rows["p"].to_pylist() == [0.1, 0.3, 0.5]
    data = run.lake.read_bytes(key_of(run, layout.PREDICTIONS))
    assert (predictions.key, predictions.rows) == (f"predictions/{JOB}/as_of={DAY}/part-{RUN_ID}.parquet", 3)
    assert (predictions.bytes, predictions.sha256) == (len(data), sha256_of(data))


def test_the_quarantine_has_the_rows_as_they_were_pulled_with_all_their_reasons(run):
    _, quarantine = stage(run)

    (row,) = read(run, layout.QUARANTINE).to_pylist()
    assert {name: row[name] for name in row if name != "reasons"} == {
        "sensor": "b",
        "at": START,
        "x": 2.0,
        "window_start": START,
        "run_id": RUN_ID,
    }
    assert row["reasons"] == [vars(UNREADABLE), vars(TOO_HIGH)]
    assert (quarantine.key, quarantine.rows) == (f"quarantine/{JOB}/as_of={DAY}/part-{RUN_ID}.parquet", 1)


def test_figures_are_long(run):
    file = staging.stage_metrics(run, manifest_of(run), [("rows_scored", "", 3.0), ("psi", "x", 0.25)])

    told = [{"metric": "rows_scored", "subject": "", "value": 3.0}, {"metric": "psi", "subject": "x", "value": 0.25}]
    of_run = {"window_start": START, "model_version": f"{JOB}/0001", "run_id": RUN_ID}
    assert read(run, layout.METRICS).to_pylist() == [one | of_run for one in told]
    assert (file.key, file.rows) == (f"metrics/{JOB}/as_of={DAY}/part-{RUN_ID}.parquet", 2)


def test_a_job_in_shadow_shows_its_predictions_there_and_all_else_where_it_is(lake):
    run = scored_run(lake, output={"columns": {"p": {"type": "float64"}}, "shadow": True})

    predictions, quarantine = stage(run)

    assert predictions.key == f"shadow/{JOB}/as_of={DAY}/part-{RUN_ID}.parquet"
    assert quarantine.key == f"quarantine/{JOB}/as_of={DAY}/part-{RUN_ID}.parquet"
    assert read(run, layout.PREDICTIONS).num_rows == 3


def test_a_dry_run_keeps_its_files_beside_its_manifest(lake):
    run = scored_run(lake, folder=layout.dry_runs(JOB, DAY))

    predictions, _ = stage(run)

    assert predictions.key == f"dry_runs/{JOB}/as_of={DAY}/{RUN_ID}/predictions/part-{RUN_ID}.parquet"


def test_every_row_is_accounted_for(run):
    stage(run)

    rows, digests = staging.prove_conservation(run, manifest_of(run))

    assert (rows.pulled, rows.scored, rows.quarantined, rows.duplicates) == (5, 3, 1, 1)
    assert (digests.scored, digests.quarantined) == (keys("a", "c", "d").hex, keys("b").hex)
    assert (digests.pulled, digests.duplicates) == (keys("a", "b", "c", "c", "d").hex, keys("c").hex)


@pytest.mark.parametrize(
    ("table", "sensors", "counted"),
    [
        (layout.PREDICTIONS, ["a", "c"], "scored 2 + quarantined 1 + duplicates 1 = 4"),
        (layout.PREDICTIONS, ["a", "c", "d", "d"], "scored 4 + quarantined 1 + duplicates 1 = 6"),
        # As many as there must be, of which one is another's.
        (layout.PREDICTIONS, ["a", "c", "c"], "scored 3 + quarantined 1 + duplicates 1 = 5"),
        (layout.QUARANTINE, [], "scored 3 + quarantined 0 + duplicates 1 = 4"),
        (layout.QUARANTINE, ["e"], "scored 3 + quarantined 1 + duplicates 1 = 5"),
    ],
    ids=["one lost", "one twice", "one exchanged", "none in quarantine", "another in quarantine"],
)
def test_what_does_not_balance_is_refused_with_its_counts(run, table, sensors, counted):
    stage(run)
    restage(run, table, pa.table({"sensor": pa.array(sensors, pa.string())}))

    with pytest.raises(NotConserved) as refused:
        staging.prove_conservation(run, manifest_of(run))

    assert f"pulled 5, but {counted} " in refused.value.failed
    assert keys("a", "b", "c", "c", "d").hex in refused.value.failed
    assert str(run.lake.path(run.workspace)) in refused.value.state


def test_keys_that_were_not_counted_are_no_proof(run):
    stage(run)

    with pytest.raises(NotConserved, match="were not counted"):
        staging.prove_conservation(run, manifest_of(run).but(key_digests=None))


def test_a_file_names_its_manifest_and_everything_that_decided_it(run):
    stage(run)

    with run.lake.parquet(key_of(run, layout.PREDICTIONS)) as file:
        says = json.loads(file.metadata.metadata[b"lamplighter"])

    assert says == {
        "job": JOB,
        "as_of": DAY,
        "run_id": RUN_ID,
        "plan_key": "plan",
        "contract_version": 1,
        "model": f"{JOB}/0001",
        "model_digest": "m",
        "snapshot_digest": "s",
        "suite_digest": None,
        "output_suite_digest": None,
        "code_digest": "c",
        "code_version": "0",
    }
    # The same bytes, whatever version of this code wrote them in which order.
    assert list(says) == sorted(says)
    with run.lake.parquet(key_of(run, layout.QUARANTINE)) as file:
        assert json.loads(file.metadata.metadata[b"lamplighter"]) == says


def test_a_file_says_that_it_is_of_the_shadow_by_which_suites_and_what_was_accepted(run):
    accepted = AcceptanceRecord(gate="volume", needed=True, sentence="few", reason="strike", by="ann", at=START)
    suites = {
        name: SuiteRecord(name=name, digest=digest, success=True, expectations=())
        for name, digest in (("suite", "in"), ("output_suite", "out"))
    }
    manifest = manifest_of(run).but(shadow=True, acceptances=(accepted,), snapshot=None, **suites)

    says = json.loads(staging.file_metadata(manifest)["lamplighter"])

    assert (says["suite_digest"], says["output_suite_digest"], says["snapshot_digest"]) == ("in", "out", None)
    assert says["shadow"] is True
    assert says["accepted"] == [{"gate": "volume", "reason": "strike", "by": "ann"}]
