"""What was withdrawn leaves the database, or somebody is told that it does not: whatever became of job, table and ledger."""

import pytest
import yaml

import tasks.deliver
from tasks.core import layout
from tasks.core.delivery import state
from tasks.core.delivery.delivering import Deliverer
from tasks.core.errors import Blocked, NotDelivered, WindowBusy
from tasks.core.runs.recalling.recalls import Recall, RecalledWindow
from tasks.core.runs.run import load_manifest, write_manifest
from tests.delivery_tools import a_job, a_schema, publish, rows_of, withdraw

DAY, NEXT_DAY = "2024-05-01", "2024-05-02"
RECALLED = Recall(
    model="churn",
    version=1,
    windows=(RecalledWindow(job="churn", as_of=DAY, run_id="r1", rows=5, rows_quarantined=0, state="withdrawn"),),
)


@pytest.fixture
def schema(postgresql, monkeypatch):
    """A schema of the test's own; TARGET_URI is the server."""
    with a_schema(postgresql, monkeypatch) as name:
        yield name


@pytest.fixture
def rows(postgresql, schema):
    """By window and run, how many rows the table has."""

    def seen(name="scores"):
        found = postgresql.execute(f"SELECT as_of, run_id, count(*) FROM {schema}.{name} GROUP BY 1, 2")
        return {(as_of, run_id): count for as_of, run_id, count in found}

    return seen


@pytest.fixture
def defined(lake, tmp_path, monkeypatch):
    """Writes a job into a project, which the stages find with this lake; they run without Prefect."""
    folder = tmp_path / "project/deployments/jobs"
    folder.mkdir(parents=True)
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(tmp_path / "project"))
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(lake.root))
    monkeypatch.setattr(tasks.deliver, "_deliver", tasks.deliver.deliver_windows)

    def write(job):
        given = job.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        given["source"]["type"] = "files"
        (folder / "churn.yaml").write_text(yaml.safe_dump(given))
        return folder / "churn.yaml"

    return write


@pytest.fixture
def delivered(lake, schema):
    """A job whose window DAY is in the database: five rows of run r1."""
    job = a_job(f"{schema}.scores")
    publish(lake, job, DAY, "r1", 5)
    Deliverer(lake, job).deliver([DAY])
    return job


def withdrawn(lake, job, as_of, run_id):
    """The run's manifest says that it was recalled."""
    workspace = layout.workspace(job.job, as_of, run_id)
    write_manifest(lake, workspace, load_manifest(lake, workspace).but(state="withdrawn"))


def recall():
    return tasks.deliver.check_delivered(RECALLED, tasks.deliver.deliver_touched(RECALLED))


def outcomes(done):
    return {one.as_of: one.outcome for one in done.windows}


# --- What the job has become


def test_of_a_job_in_shadow_now_what_was_live_is_taken_out(lake, delivered, defined, rows):
    shadowed = a_job(delivered.output.sql.table, output={"shadow": True})
    defined(shadowed)
    assert state.sentence(lake, shadowed, DAY).startswith("5 rows of run r1 to the table")
    withdraw(lake, shadowed, DAY)
    assert "readers of the lake no longer see" in state.shortfall(lake, shadowed, DAY)
    assert recall() == RECALLED
    assert (rows(), state.shortfall(lake, shadowed, DAY)) == ({}, None)
    assert state.sentence(lake, shadowed, NEXT_DAY).endswith("while the job is in shadow")
    assert outcomes(tasks.deliver.deliver_all("churn")) == {DAY: "already"}


def test_a_delivery_that_another_keeps_waiting_is_a_failure(lake, schema, defined, rows):
    job = a_job(f"{schema}.scores", statement_timeout_seconds=0.2)
    defined(job)
    publish(lake, job, DAY, "r1", 5)
    Deliverer(lake, job).deliver([DAY])
    withdraw(lake, job, DAY)
    with lake.lock(layout.delivery_lock("churn"), holder="another"), pytest.raises(NotDelivered) as caught:
        recall()
    assert "a database may still have its rows: churn: " in caught.value.failed
    assert caught.value.next_step.endswith("then: lamplighter deliver churn")
    assert caught.value.summary == RECALLED
    assert recall() == RECALLED
    assert rows() == {}


@pytest.mark.parametrize("became", ["broken", "gone", "undelivered"])
def test_of_a_job_that_cannot_be_delivered_the_tables_are_named(lake, delivered, defined, rows, postgresql, became):
    file, table = defined(delivered), delivered.output.sql.table
    if became == "broken":
        file.write_text("job: churn\nwindow: nonsense\n")
    elif became == "gone":
        file.unlink()
    else:
        defined(delivered.model_copy(update={"output": delivered.output.model_copy(update={"sql": None})}))
    # A window that readers still see is nobody's worry.
    assert recall() == RECALLED
    withdraw(lake, delivered, DAY)
    with pytest.raises(NotDelivered) as caught:
        recall()
    assert f"the rows of churn {DAY} were delivered to {table}, from where they cannot be taken" in caught.value.failed
    sql = f"DELETE FROM {table} WHERE model_version = 'churn/0001';"
    assert sql in caught.value.next_step
    postgresql.execute(sql)
    assert rows() == {}
    lake.remove(layout.deliveries("churn"))
    assert recall() == RECALLED


# --- A table of another name


def test_a_table_of_another_name_leaves_nothing_withdrawn_in_the_old_one(lake, delivered, defined, schema, rows):
    publish(lake, delivered, NEXT_DAY, "n1", 2)
    Deliverer(lake, delivered).deliver([NEXT_DAY])
    renamed = a_job(f"{schema}.scores2")
    defined(renamed)
    # DAY was never in the new table, and NEXT_DAY is in both as it is withdrawn; something good comes back for it.
    Deliverer(lake, renamed).deliver([NEXT_DAY])
    withdraw(lake, renamed, DAY)
    publish(lake, renamed, NEXT_DAY, "n0", 3)
    assert state.shortfall(lake, renamed, NEXT_DAY) == f"the table {schema}.scores2 has still the rows of run n1"
    withdrawn(lake, renamed, NEXT_DAY, "n1")
    assert f"the table {schema}.scores has still the rows of run n1" in state.shortfall(lake, renamed, NEXT_DAY)
    assert state.shortfall(lake, renamed, DAY) is not None
    assert recall() == RECALLED
    assert rows() == {(NEXT_DAY, "n1"): 2}
    assert outcomes(tasks.deliver.deliver_all("churn")) == {DAY: "already", NEXT_DAY: "delivered"}
    assert (rows(), rows("scores2")) == ({}, {(NEXT_DAY, "n0"): 3})
    assert [state.shortfall(lake, renamed, day) for day in (DAY, NEXT_DAY)] == [None, None]


def test_a_table_of_another_name_that_is_gone_or_elsewhere(lake, delivered, defined, schema, postgresql):
    renamed = a_job(f"{schema}.scores2")
    defined(renamed)
    withdraw(lake, renamed, DAY)
    # The ledger knows it: it was here, and somebody has dropped it.
    postgresql.execute(f"ALTER TABLE {schema}.scores RENAME TO moved")
    (ledger,) = postgresql.execute(f"SELECT count(*) FROM {schema}.lamplighter_deliveries WHERE run_id = 'r1'")
    assert ledger[0] == 1
    record = lake.read_bytes(layout.delivery("churn", DAY))
    assert recall() == RECALLED
    # Without a ledger it may be in another database.
    lake.write_bytes(layout.delivery("churn", DAY), record)
    postgresql.execute(f"DROP TABLE {schema}.lamplighter_deliveries")
    with pytest.raises(NotDelivered, match=f"the table {schema}.scores was given the rows of run r1 before") as caught:
        recall()
    assert str(lake.path(layout.delivery("churn", DAY))) in caught.value.next_step
    assert state.shortfall(lake, renamed, DAY) is not None
    lake.remove(layout.delivery("churn", DAY))
    assert recall() == RECALLED


# --- Table and ledger


def test_where_the_ledger_is_lost_the_lake_knows_what_to_take_out(lake, delivered, rows, postgresql, schema):
    publish(lake, delivered, NEXT_DAY, "r2", 2)
    Deliverer(lake, delivered).deliver([NEXT_DAY])
    postgresql.execute(f"DROP TABLE {schema}.lamplighter_deliveries")
    withdraw(lake, delivered, DAY)
    assert outcomes(Deliverer(lake, delivered).deliver([DAY])) == {DAY: "removed"}
    assert rows() == {(NEXT_DAY, "r2"): 2}
    assert outcomes(Deliverer(lake, delivered).deliver_all()) == {DAY: "already", NEXT_DAY: "delivered"}


def test_of_a_lost_ledger_only_rows_of_that_run_are_taken_out(lake, delivered, rows, postgresql, schema):
    postgresql.execute(
        f"DROP TABLE {schema}.lamplighter_deliveries",
        f"UPDATE {schema}.scores SET run_id = 'theirs' WHERE customer = 0",
    )
    withdraw(lake, delivered, DAY)
    Deliverer(lake, delivered).deliver_all()
    assert rows() == {(DAY, "theirs"): 1}


def test_whole_numbers_come_back_to_a_column_that_became_wider(lake, schema, postgresql):
    whole = a_job(f"{schema}.scores", columns={"n": "int32"}, pass_through=["n"])
    wide = a_job(f"{schema}.scores", columns={"n": "float64"}, pass_through=["n"])
    publish(lake, whole, DAY, "r1", rows_of(whole, "r1", 1, n=[1]))
    Deliverer(lake, whole).deliver([DAY])
    publish(lake, wide, NEXT_DAY, "r2", rows_of(wide, "r2", 2, n=[0.25, 0.75]))
    (failed,) = Deliverer(lake, wide).deliver([NEXT_DAY]).failed
    postgresql.execute(failed.next_step.partition("runs: ")[2].partition(";")[0])
    publish(lake, wide, DAY, "r3", rows_of(wide, "r3", 1, n=[0.5]))
    assert Deliverer(lake, wide).deliver_all().failed == ()

    publish(lake, whole, DAY, "r1", rows_of(whole, "r1", 1, n=[1]))
    assert outcomes(Deliverer(lake, wide).deliver([DAY])) == {DAY: "delivered"}
    found = postgresql.execute(f"SELECT as_of, n FROM {schema}.scores ORDER BY 1, 2")
    assert [tuple(one) for one in found] == [(DAY, 1.0), (NEXT_DAY, 0.25), (NEXT_DAY, 0.75)]


def test_where_what_is_restored_does_not_fit_what_was_withdrawn_leaves_all_the_same(lake, schema, rows):
    text = a_job(f"{schema}.scores", columns={"n": "string"}, pass_through=["n"])
    number = a_job(f"{schema}.scores", columns={"n": "int64"}, pass_through=["n"])
    publish(lake, text, DAY, "r2", rows_of(text, "r2", 2, n=["a", "b"]))
    Deliverer(lake, text).deliver([DAY])
    publish(lake, number, DAY, "r1", rows_of(number, "r1", 1, n=[1]))
    # Merely replaced: readers of the table keep what they have.
    (failed,) = Deliverer(lake, text).deliver([DAY]).failed
    assert ("ALTER" in failed.next_step, rows()) == (False, {(DAY, "r2"): 2})

    withdrawn(lake, text, DAY, "r2")
    (failed,) = Deliverer(lake, text).deliver([DAY]).failed
    assert "the rows of run r2, which were withdrawn, are no longer in the table" in failed.why
    assert rows() == {}
    record = state.read(lake, "churn", DAY)
    assert (record.state, record.run_id) == ("failed", None)


# --- A run that fails after it has ended what a killed one began


def test_what_a_failed_run_found_published_is_delivered(lake, schema, defined, rows):
    job = a_job(f"{schema}.scores")
    defined(job)
    publish(lake, job, DAY, "r1", 4)
    with pytest.raises(Blocked, match="the gate"), tasks.deliver.caught_up("churn", DAY):
        raise Blocked("the gate said no")
    assert rows() == {(DAY, "r1"): 4}
    publish(lake, job, DAY, "r2", 3)
    for error, dry_run in ((WindowBusy("held"), False), (Blocked("no"), True)):
        with pytest.raises(type(error)), tasks.deliver.caught_up("churn", DAY, dry_run=dry_run):
            raise error
    assert rows() == {(DAY, "r1"): 4}


def test_a_failed_run_whose_database_is_gone_fails_as_it_did(lake, defined, monkeypatch):
    job = a_job(retries=0)
    defined(job)
    monkeypatch.setenv("TARGET_URI", "postgresql://me@127.0.0.1:1/db")
    publish(lake, job, DAY, "r1", 4)
    with pytest.raises(ZeroDivisionError), tasks.deliver.caught_up("churn", DAY):
        raise ZeroDivisionError
    assert "could not connect" in state.shortfall(lake, job, DAY)
