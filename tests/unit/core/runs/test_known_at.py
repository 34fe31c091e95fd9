"""What was known: it follows from the window and the schedule, and decides a run only where the query asks for it."""

import datetime as dt

from tasks.core.definitions.project import Definition, parse_job
from tasks.core.models.model_version import InputColumn, InputSchema, ModelManifest, ModelVersion, Signature
from tasks.core.runs.run import plan_key

JOB = """
job: churn
window: {{ kind: snapshot, every: 1d }}
source: {{ type: sql, driver: sqlite, uri: w.sqlite, query: unused }}
keys: [customer]
columns: {{ customer: int64, spend: float64 }}
model: {{ name: churn }}
output: {{ columns: {{ p: {{ method: predict }} }} }}
{schedule}
"""
AT_TWO, AT_FOUR = (f'schedule: {{ cron: "0 {hour} * * *" }}' for hour in (2, 4))
BINDS = "SELECT customer, spend FROM facts WHERE ingested_at <= :known_at"


def definition(query, schedule=""):
    return Definition(parse_job(JOB.format(schedule=schedule), where="churn.yaml"), query, None, None)


def plan(query, schedule=""):
    found = definition(query, schedule)
    version = ModelVersion(
        ModelManifest(
            name="churn",
            version=1,
            registered_at=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
            registered_by="test",
            files={},
        ),
        Signature(
            inputs=InputSchema(columns=(InputColumn(name="spend", type="float64"),)), outputs=found.job.output.columns
        ),
    )
    return plan_key(found, found.job.window.parse("2024-05-01"), version, "code")


def known_at(query, schedule=""):
    found = definition(query, schedule)
    return found.known_at(found.job.window.parse("2024-05-01"))


def test_it_is_the_tick_that_scores_the_window_and_without_a_schedule_the_snapshots_instant():
    assert known_at(BINDS, AT_TWO) == dt.datetime(2024, 5, 1, 2, tzinfo=dt.UTC)
    assert known_at(BINDS) == dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    assert known_at("SELECT ':known_at' -- :known_at") is None


def test_another_schedule_is_another_plan_only_where_the_query_binds_it():
    assert plan(BINDS, AT_TWO) != plan(BINDS, AT_FOUR)
    assert plan(BINDS, AT_TWO) == plan(BINDS, AT_TWO + " # a comment")
    assert plan("SELECT 1", AT_TWO) == plan("SELECT 1", AT_FOUR) == plan("SELECT 1")
