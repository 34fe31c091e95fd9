"""Promote: a version is held against the one in its place, on the same labelled rows, before an alias names it."""

from __future__ import annotations

import contextlib
import datetime as dt
from functools import partial

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.exceptions import MissingContextError
from prefect.runtime import flow_run
from pydantic import JsonValue

from tasks.core import pages, provenance
from tasks.core.definitions.modelling import WindowRange
from tasks.core.definitions.project import Definition, Project
from tasks.core.logs import log
from tasks.core.models.gate.candidacy import Candidacy, consider
from tasks.core.models.registering.training_data import Labelled, labelled_rows
from tasks.core.models.registry import Registry
from tasks.core.runs import promotions
from tasks.core.runs.promotions import Judged, Promoted
from tasks.core.settings import Settings
from tasks.core.storage import Folder, Lake
from tasks.secrets import secret_address
from tasks.shards import judging
from tasks.shards.label_validation import check_labels
from tasks.stage import Stage


def consider_version(model: str, version: int, alias: str, job: str) -> Candidacy:
    """Who holds the alias, and by whose terms the version is judged; what can be refused at once is refused here."""
    settings = Settings()
    return consider(Registry(Lake(settings.lake)), Project(Folder(settings.project)), model, version, alias, job)


def judge_candidate(candidacy: Candidacy) -> Judged:
    """The gate's verdict. Blocked where the candidate does not even load; nothing is changed in any case."""
    say = log.info
    return Judged(candidacy, judging.judge(candidacy, _labelled_rows, lambda what: say("%s: %s", candidacy.name, what)))


def _labelled_rows(definition: Definition, windows: WindowRange) -> Labelled:
    project = Folder(Settings().project)
    return labelled_rows(definition, project, windows, secret_address, partial(check_labels, definition))


def show_verdict(judged: Judged) -> Judged:
    """The verdict as a page, and with the same rows in the Prefect UI."""
    shown = promotions.show(judged)
    verdict = shown.verdict
    with contextlib.suppress(MissingContextError):
        text = pages.promotion_markdown(verdict, f"file://{shown.page_path}")
        create_markdown_artifact(text, key=f"{verdict.key}-verdict", description=str(verdict))
        create_table_artifact(pages.promotion_rows(verdict), key=f"{verdict.key}-checks", description=str(verdict))
    return shown


def refuse_if_failed(judged: Judged, force: bool) -> None:
    """NotPromoted where a check failed and nobody forces it."""
    promotions.refuse_failed(judged, force=force)


def let_alias_name(judged: Judged, reason: str, approval: dict[str, JsonValue]) -> Promoted:
    """Lets the alias name the candidate; the history keeps the verdict, its page, and who agreed."""
    flow_run_id = str(flow_run.id) if flow_run.id else None
    return promotions.move_alias(
        judged,
        at=dt.datetime.now(dt.UTC),
        actor=provenance.actor(),
        reason=reason,
        evidence={"flow_run_id": flow_run_id, **approval},
    )


look = Stage("Look who holds the alias", consider_version)
judge = Stage("Hold the version against it", judge_candidate)
show = Stage("Show the verdict", show_verdict)
refuse = Stage("Refuse what failed", refuse_if_failed)
move_alias = Stage("Move the alias", let_alias_name)
