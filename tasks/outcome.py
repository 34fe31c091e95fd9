"""How a run ends, as a Prefect state that a person understands: Published, AlreadyPublished, Blocked, Failed."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, ParamSpec

from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from tasks.core.errors import Blocked, LamplighterError, NothingToDo, WindowFinished
from tasks.core.runs.manifest import Manifest

P = ParamSpec("P")


def told_as_state(function: Callable[P, object]) -> Callable[P, Any]:
    """Makes a flow's function end in a named state; what it raises on purpose is kept in the state, without a traceback."""

    @functools.wraps(function)
    def told(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            result = function(*args, **kwargs)
        except WindowFinished as finished:
            return Completed(name="AlreadyPublished", message=str(finished))
        except LamplighterError as error:
            return failed_state(error)
        if isinstance(result, Manifest):
            return Completed(name=_published_name(result), message=published_sentence(result), data=result)
        return Completed(name=getattr(result, "state_name", "Completed"), message=str(result), data=result)

    return told


def failed_state(error: LamplighterError) -> Any:
    """The final state of what ended with this error: 'Blocked' is a state of its own, not a crash."""
    if isinstance(error, NothingToDo):
        return Completed(name="NothingToDo", message=str(error), data=error)
    return Failed(name="Blocked" if isinstance(error, Blocked) else "Failed", message=str(error), data=error)


def show_table(name: str, rows: list[dict[str, Any]], description: str) -> None:
    """What a run did, as a table in the Prefect UI. A server that does not answer must not cost the run."""
    if flow_run.id is None:
        return
    try:
        create_table_artifact(rows, key=re.sub(r"[^a-z0-9]+", "-", name.lower()), description=description)
    except Exception as error:  # noqa: BLE001
        get_run_logger().warning("The table %s was not shown: %s", name, error)


def published_sentence(manifest: Manifest) -> str:
    rows = manifest.rows
    parts = [f"{rows.scored:,} of {rows.pulled:,} rows scored", f"{rows.quarantined:,} quarantined"]
    if rows.duplicates:
        parts.append(f"{rows.duplicates:,} exact duplicates")
    verdict = (manifest.verdict or "").replace("_", " ")
    return f"{manifest.job} {manifest.as_of}: {verdict}. {', '.join(parts)}. Run {manifest.run_id}."


def _published_name(manifest: Manifest) -> str:
    return "PublishedWithWarnings" if manifest.verdict == "published_with_warnings" else "Published"
