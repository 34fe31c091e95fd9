"""Recall and rollback: a version that was wrong, or merely worse than the one before."""

from __future__ import annotations

import datetime as dt

from prefect.runtime import flow_run

from tasks.core import provenance
from tasks.core.runs.recalling import recalls, rollback
from tasks.core.runs.recalling.recalls import Order, Recall
from tasks.core.runs.recalling.rollback import RolledBack
from tasks.core.settings import Settings
from tasks.core.storage import Lake
from tasks.outcome import show_table
from tasks.stage import Stage

# For all windows together that runs hold: most runs end within it, and whoever recalls is waiting.
_WAIT_SECONDS = 30.0
_SHOWN = {"job", "as_of", "rows", "state", "restores_model"}


def foresee_recall(model: str, version: int, keep_until_replaced: bool) -> Recall:
    """What a recall would withdraw and restore, and what scoring its windows again would cost. Changes nothing."""
    return recalls.plan(Lake(Settings().lake), model, version, keep_until_replaced=keep_until_replaced)


def recall_version(model: str, version: int, reason: str, keep_until_replaced: bool, repull: bool) -> Recall:
    """Withdraws a version and what readers see of it. What is `left` in the record could not be withdrawn yet."""
    order = Order(
        model=model,
        version=version,
        reason=reason,
        by=provenance.actor(),
        at=dt.datetime.now(dt.UTC),
        keep_until_replaced=keep_until_replaced,
        repull=repull,
    )
    record = recalls.recall(Lake(Settings().lake), order, wait_seconds=_WAIT_SECONDS)
    rows = [one.model_dump(mode="json", include=_SHOWN) for one in record.windows]
    show_table(f"{model} {version} recall", rows, str(record))
    return record


def roll_alias_back(model: str, reason: str, alias: str) -> RolledBack:
    """Lets an alias name the version before again, and says what the version it left has written."""
    lake, now = Lake(Settings().lake), dt.datetime.now(dt.UTC)
    # Prefect runs a crashed run again under its own id.
    run = str(flow_run.id) if flow_run.id else None
    return rollback.roll_back(lake, model, alias, reason=reason, at=now, by=provenance.actor(), run=run)


foresee = Stage("Look up what the version wrote", foresee_recall)
withdraw = Stage("Withdraw the version", recall_version)
roll_back = Stage("Move the alias back", roll_alias_back)
