"""The flow `score`: one job, one window, from pull to published predictions and a report."""

from __future__ import annotations

from typing import Annotated

from prefect import flow, unmapped
from pydantic import Field

from tasks.core.manifest import Manifest
from tasks.load import load
from tasks.open import opened, told_as_state
from tasks.publish import publish
from tasks.pull import pull
from tasks.report import reported
from tasks.score import conclude_scoring, score_shard
from tasks.core.shards import deal
from tasks.validate import conclude_validation, validate_shard

JobName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="A job: the name of its YAML file.")]
AsOf = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-\d{2}-\d{2}(T\d{4}Z)?$",
        description="The window: its day (2013-07-01), or for windows shorter than a day its start in UTC (2013-07-01T0500Z).",
    ),
]
Reason = Annotated[
    str, Field(description="Why a published window is scored again; empty leaves it alone.", max_length=500)
]


@flow(name="score", flow_run_name="{job} {as_of}")
@told_as_state
def score(job: JobName, as_of: AsOf, rescore: Reason = "") -> Manifest:
    """Scores one window of one job, accounts for every row, and publishes all of it or nothing."""
    with reported(job, as_of), opened(job, as_of, rescore=rescore) as run:
        run = pull(run)
        conclude_validation(run, validate_shard.map(unmapped(run), deal(run)))
        load(run)
        conclude_scoring(run, score_shard.map(unmapped(run), deal(run)))
        return publish(run)
