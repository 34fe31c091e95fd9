"""Approve: the run waits in the Prefect UI until a person has read the verdict, and says yes or no."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from prefect.states import Running
from pydantic import Field, JsonValue, ValidationError

from tasks.core.errors import DefinitionError
from tasks.core.logs import log
from tasks.core.models.gate.candidacy import Candidacy
from tasks.core.pages import Answer, promotion_markdown
from tasks.core.runs.promotions import Judged, not_promoted, show_answer

# How long somebody may take, and how often is looked.
PATIENCE_SECONDS = 86_400
LOOK_SECONDS = 2


class Approval(RunInput):
    """The form in the Prefect UI."""

    answer: Literal["yes", "no"] = Field(description="Whether the alias is to name this version.")
    name: str = Field(min_length=1, max_length=100, description="Who answers; it stays in the history for ever.")
    comment: str = Field(default="", max_length=500, description="Why; it stays in the history for ever.")


def check_answerable(candidacy: Candidacy) -> None:
    """DefinitionError where a person is to be asked whom nobody can reach: refused before anything is scored."""
    if candidacy.needs_approval and get_current_settings().api.url is None:
        raise DefinitionError(
            f"a job of the model '{candidacy.candidate.name}' wants a person to agree (promotion.approval), and there is "
            "no Prefect server in whose UI somebody could: PREFECT_API_URL is not set",
            state="nothing was scored, and no alias was moved",
            next_step="`prefect server start`, set PREFECT_API_URL to its address, and run it again",
        )


def agreed(judged: Judged) -> dict[str, JsonValue]:
    """Who agreed, and why, for the history; empty where no job asks for it. NotPromoted where nobody did."""
    if not judged.candidacy.needs_approval:
        return {}
    answer = _asked(judged)
    told = Answer(answer.answer == "yes", answer.name.strip(), answer.comment.strip())
    show_answer(judged, told)
    if told.agreed:
        at = dt.datetime.now(dt.UTC).isoformat()
        return {"approved_by": told.name, "approved_at": at, "comment": told.comment}
    raise not_promoted(
        judged,
        f"{told.name} said no to version {judged.verdict.version} of {judged.verdict.model} as {judged.verdict.alias}"
        + (f": {told.comment}" if told.comment else ""),
        next_step=f"talk to {told.name}",
    )


def address_of_answer() -> str:
    """Where the question can be answered."""
    ui = get_current_settings().ui_url or ""
    return f"{ui}/runs/flow-run/{flow_run.id}" if flow_run.id else ui


def _asked(judged: Judged) -> Approval:
    log.warning("Waiting for an answer at %s", address_of_answer())
    # The checks stand in the form's own text: an artifact is a page away.
    form = Approval.with_initial_data(description=promotion_markdown(judged.verdict, f"file://{judged.page_path}"))
    try:
        answer: Approval = pause_flow_run(wait_for_input=form, timeout=PATIENCE_SECONDS, poll_interval=LOOK_SECONDS)
    except FlowPauseTimeout as error:
        _wake_up()
        raise not_promoted(
            judged, f"nobody answered within {PATIENCE_SECONDS / 3600:g} hours", next_step="run it again, and answer"
        ) from error
    except ValidationError as error:
        raise not_promoted(judged, "the run was resumed without an answer", next_step="run it again") from error
    return answer


def _wake_up() -> None:
    """A run that is paused for too long may end in no state of its own any more, and so not say why."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, Running(), force=True)
