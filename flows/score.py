"""The flow `score`: one job, one window, from pull to published predictions and a report."""

# Annotations are values here, not text: Prefect makes a form of them.
from prefect import flow

from flows.parameters import AsOf, FromSnapshot, JobName, Reason
from tasks.challenge import challenge
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.shards import deal
from tasks.load import load
from tasks.open import opened
from tasks.outcome import told_as_state
from tasks.publish import publish
from tasks.pull import pull
from tasks.report import reported, try_to_report
from tasks.score import conclude_scoring, score_shard
from tasks.stage import on_each
from tasks.validate import check, conclude_validation, validate_shard
from tasks.validate_output import validate_output
from tasks.watch import watched


@flow(name="score", flow_run_name="{job} {as_of}")
@told_as_state
def score(job: JobName, as_of: AsOf, rescore: Reason = "", from_snapshot: FromSnapshot = False) -> Manifest:
    """Scores one window of one job, accounts for every row, and publishes all of it or nothing."""
    opening = opened(job, as_of, rescore=rescore, from_snapshot=from_snapshot)
    with watched(job, as_of), reported(job, as_of), opening as planned:
        check(planned)
        run = pull(planned)
        conclude_validation(run, on_each(validate_shard, run, deal(run)))
        load(run)
        conclude_scoring(run, on_each(score_shard, run, deal(run)))
        validate_output(run)
        published = publish(run)
        challenge(run, first=try_to_report)
        return published
