"""The flow `score`: one job, one window, from pull to published predictions and a report."""

# Annotations are values here, not text: Prefect makes a form of them.
from prefect import flow

from flows.parameters import Accept, AcceptedFor, DryRun, FromSnapshot, JobName, OnlyIfChanged, Rescore, ScheduledAsOf
from tasks.announce import told_as_event
from tasks.challenge import challenge
from tasks.core.runs.asked import Asked
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.shards import deal
from tasks.deliver import caught_up, deliver, refuse_undelivered
from tasks.estimate import estimate
from tasks.latest import keep_latest, latest_kept
from tasks.load import load
from tasks.open import opened
from tasks.orchestration.engines import engaged
from tasks.outcome import told_as_state
from tasks.publish import publish
from tasks.pull import pull
from tasks.ready import wait_until_ready
from tasks.report import reported, try_to_report
from tasks.scheduled import named, window_asked_for
from tasks.score import conclude_scoring, score_shard
from tasks.stage import on_each
from tasks.validate import check, conclude_validation, validate_shard
from tasks.validate_output import validate_output
from tasks.watch import watched


@flow(name="score", flow_run_name=named)
@told_as_state
@told_as_event
def score(
    job: JobName,
    as_of: ScheduledAsOf = "scheduled",
    rescore: Rescore = "",
    from_snapshot: FromSnapshot = False,
    only_if_changed: OnlyIfChanged = False,
    accept: Accept = (),
    reason: AcceptedFor = "",
    dry_run: DryRun = False,
) -> Manifest:
    """Scores one window of one job, accounts for every row, and publishes all of it or nothing."""
    asked = Asked(
        rescore=rescore,
        from_snapshot=from_snapshot,
        only_if_changed=only_if_changed,
        accept=accept,
        reason=reason,
        dry_run=dry_run,
    )
    as_of = window_asked_for(job, as_of)
    with (
        watched(job, as_of),
        reported(job, as_of, dry_run=dry_run),
        caught_up(job, as_of, dry_run=dry_run),
        latest_kept(job, dry_run=dry_run),
        opened(job, as_of, asked) as planned,
        engaged(planned),
    ):
        check(planned)
        wait_until_ready(planned)
        run = pull(planned)
        conclude_validation(run, on_each(validate_shard, run, deal(run)))
        load(run)
        conclude_scoring(run, on_each(score_shard, run, deal(run)))
        validate_output(run)
        estimate(run)
        published = publish(run)
        keep_latest(run)
        deliver(run)
        challenge(run, first=try_to_report)
        return refuse_undelivered(published)
