"""The history of a model: whole, and with every recall of which there is a record. Files at its end are missed by nobody else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tasks.core import layout
from tasks.core.auditing.records import Finding
from tasks.core.errors import DefinitionError, LamplighterError
from tasks.core.models.model_events import recalled_in
from tasks.core.models.registry import Registry
from tasks.core.storage import Lake


def check(lake: Lake, models: Iterable[str]) -> list[Finding]:
    """What is wrong with the histories of these models."""
    return [one for name in sorted(set(models)) for one in _of(lake, name)]


def _of(lake: Lake, model: str) -> Iterator[Finding]:
    try:
        recalled = recalled_in(Registry(lake).history(model))
        recorded = [name.removesuffix(".json") for name in lake.names(layout.recalls(model)) if name.endswith(".json")]
    except DefinitionError:
        # A name that is none: of the version that is called so it is told.
        return
    except LamplighterError as error:
        yield _finding(lake, model, "the history", f"not to be read ({error.failed})", "whole")
        return
    # A recall is an event first, and recorded then.
    for number in (int(name) for name in recorded if name.isdigit()):
        if number not in recalled:
            said = f"so, as {layout.recall_record(model, number)} says"
            yield _finding(lake, model, f"that version {number} was recalled", "not in the history", said)


def _finding(lake: Lake, model: str, what: str, found: str, expected: str) -> Finding:
    return Finding(
        link="model",
        file=lake.address(f"{layout.model(model)}/events"),
        what=what,
        found=found,
        expected=expected,
        next_step=f"restore models/{model}/events/ from a backup: it says which version an alias names, and which are recalled",
    )
