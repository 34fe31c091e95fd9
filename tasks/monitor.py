"""Monitor: what readers see, looked at as labels arrive: how it did, how it differs, and whether that is an alarm."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

import pyarrow as pa
from prefect.runtime import flow_run

from tasks.alarms import tell_alarms
from tasks.core import layout
from tasks.core.definitions.project import Project
from tasks.core.errors import LakeError, LamplighterError, SourceError
from tasks.core.logs import log
from tasks.core.monitoring import finding, keeping
from tasks.core.monitoring.assessing import assess
from tasks.core.monitoring.finding import Finding, Pulled
from tasks.core.monitoring.looking import NOW, Look, instant_of
from tasks.core.monitoring.records import Alarm, Monitored
from tasks.core.performance.measuring import measure_window
from tasks.core.performance.pulling import Due, due, labels_of
from tasks.core.settings import Settings
from tasks.core.storage import Folder, Lake
from tasks.scheduled import scheduled_at
from tasks.secrets import secret_address
from tasks.shards.label_validation import check_labels
from tasks.stage import Stage

# A look is a matter of seconds, and of some minutes where a year of labels is due at once.
_WAIT_SECONDS = 600.0
# A source that says nothing to so many windows says nothing to the others.
_MOST_FAILURES = 5


@contextlib.contextmanager
def looking(job: str, as_of: str) -> Iterator[Look]:
    """A look at a job, one at a time: whoever comes second waits, and finds what the first has kept.

    DefinitionError for a day that is none or still to come; WindowBusy where another look takes too long.
    """
    settings = Settings()
    lake, project = Lake(settings.lake), Folder(settings.project)
    definition = Project(project).load(job)
    day, at = instant_of(definition.job.window, as_of, scheduled_at())
    look = Look(lake, project, definition, day, at)
    with lake.lock(layout.monitor_lock(job), holder=f"the look at {look.name}", wait_seconds=_WAIT_SECONDS):
        keeping.end_what_was_killed(lake, job)
        yield look


def pull_due_labels(look: Look) -> Pulled:
    """Pulls the labels that are due, and works out how each window did. What fails of one window stops no other."""
    measured: list[str] = []
    missed: list[str] = []
    waiting = due(look.lake, look.definition, now=look.at, day=look.as_of)
    failures = 0
    # The newest first: what can never be pulled must not keep them waiting.
    for one in reversed(waiting):
        if failures == _MOST_FAILURES and not measured:
            missed.append(f"{len(waiting) - failures} more were not tried")
            break
        try:
            measured += [one.window.as_of] if _measured(look, one) else []
        except Exception as error:  # noqa: BLE001 - it would come again at every look, and hide all alarms
            failures += isinstance(error, SourceError)
            said = error.failed if isinstance(error, LamplighterError) else f"{type(error).__name__}: {error}"
            missed.append(f"{one.window.as_of}: {' '.join(said.split())}")
    if waiting:
        log.info("Labels of %s windows were due; %s were measured", len(waiting), len(measured))
    return Pulled(measured=tuple(sorted(measured)), missed=tuple(missed))


def find_what_differs(look: Look, pulled: Pulled) -> None:
    """Holds what readers see against what is usual, and keeps what was found: what is told and shown is read from there."""
    notes = [f"Labels could not be used of {sentence}." for sentence in pulled.missed]
    keeping.keep(look.lake, assess(look, notes))


def tell_found(look: Look) -> list[Alarm]:
    """Tells of each alarm that nobody was told of, once. An alarm that is not taken costs nothing: the next look tells it.

    A look back at a day before the last that was looked at is no news, and tells nothing.
    """
    today, _ = instant_of(look.job.window, NOW, scheduled_at())
    # A day to come was looked at by a clock that was wrong: it keeps no alarm back until then.
    if any(look.as_of < day <= today for day in keeping.days_looked_at(look.lake, look.job.job)):
        return []
    try:
        return tell_alarms(look.lake, look.job, _found(look))
    except Exception as error:  # noqa: BLE001 - what was found is kept, and told by the next look
        log.warning("The alarms of %s were not told: %s", look.name, error)
        return []


def conclude(look: Look, pulled: Pulled, told: list[Alarm]) -> Finding:
    """What the look has come to; Incomplete, with it, where labels that were due could not be used."""
    return finding.concluded(
        Finding(found=_found(look), told=tuple(told), measured=len(pulled.measured), missed=pulled.missed)
    )


def named() -> str:
    """The run's name in the Prefect UI, `monitor flight_delays as of 2013-09-20`."""
    given = flow_run.parameters
    as_of = str(given.get("as_of", NOW))
    return f"monitor {given.get('job')}{'' if as_of == NOW else f' as of {as_of}'}"


def _measured(look: Look, one: Due) -> bool:
    """Whether the window is still there to be measured."""
    labels: pa.Table | None = None
    if one.pull:
        check = partial(check_labels, look.definition)
        labels = labels_of(look.definition, look.project, one.window, secret_address, check)
    return measure_window(look.lake, look.definition, one, labels, day=look.as_of, now=look.at) is not None


def _found(look: Look) -> Monitored:
    found = keeping.monitored(look.lake, look.job.job, look.as_of)
    if found is None:
        raise LakeError(f"what the look at {look.name} had found is gone", next_step="run it again")
    return found


pull_labels = Stage("Pull the labels that are due", pull_due_labels)
compare = Stage("Compare with what is usual", find_what_differs)
tell = Stage("Tell the alarms", tell_found)
