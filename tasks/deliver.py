"""Deliver: what was published in the lake goes to the job's database too. Whatever comes of that, the publication stands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.definitions.project import Project
from tasks.core.delivery import state
from tasks.core.delivery.delivering import Deliverer, Outcome, Round, target_of
from tasks.core.errors import (
    DefinitionError,
    LamplighterError,
    NotDelivered,
    NothingToDo,
    WindowBusy,
    WindowFinished,
)
from tasks.core.logs import log
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.recalling.recalls import Recall
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tasks.core.storage import Folder, Lake
from tasks.secrets import secret_address
from tasks.stage import Stage

# Of other windows that a run brings up too: what is left after a long failure is for `lamplighter deliver`.
_MOST_OTHERS = 20
_MOST_NAMED = 5


def deliver_windows(job: str, windows: Sequence[str], others: int = 0) -> Round:
    """Brings windows up to what readers of the lake see, and so many others; NotDelivered where one of these could not be."""
    lake, definition = _opened(job)
    done = Deliverer(lake, definition, read_block=secret_address).deliver(windows, others=others)
    log.info("%s", done)
    for one in done.failed:
        if one.as_of not in windows:
            log.warning("%s %s was not delivered to %s: %s", job, one.as_of, done.table, one.why)
    if failed := [one for one in done.failed if one.as_of in windows]:
        raise _windows_not_delivered(definition, failed)
    return done


def deliver(run: Run) -> None:
    """Delivers the run's window, and then others that are behind. Raises nothing: what could not be done is in the lake's record."""
    if run.is_dry_run or not state.delivers(run.lake, run.job):
        return
    # The rows of a run in shadow go nowhere; what was live before may still have to go.
    if run.job.output.shadow and state.shortfall(run.lake, run.job, run.window.as_of) is None:
        return
    _try_to_deliver(run.job, run.window.as_of)


def refuse_undelivered(published: Manifest) -> Manifest:
    """The manifest; NotDelivered where the window's rows did not reach the database that gets them too."""
    try:
        lake, job = _opened(published.job)
    except LamplighterError as error:
        # Whoever edits the job while it runs does not undo what the run has done.
        log.warning("Whether %s %s was delivered is not known: %s", published.job, published.as_of, error)
        return published
    if not published.is_dry_run:
        _refuse(lake, job, published.as_of)
    return published


@contextlib.contextmanager
def caught_up(job: str, as_of: str, *, dry_run: bool = False) -> Iterator[None]:
    """Of a window that is published already, and not in the database, the delivery is tried again.

    NotDelivered where that fails: a run that was killed, or failed so, is not told by the next one that all is well.
    What else the block raises stays what is raised: it may have ended the publication that a killed run had begun.
    """
    try:
        yield
    except (WindowFinished, NothingToDo):
        if dry_run:
            raise
        _follow(job, as_of)
        _refuse(*_opened(job), as_of)
        raise
    except (WindowBusy, NotDelivered):
        # Whoever holds the window delivers it; and what was tried is not tried again.
        raise
    except Exception:
        if not dry_run:
            with contextlib.suppress(LamplighterError):
                _follow(job, as_of)
        raise


def _follow(job: str, as_of: str) -> None:
    """Tries to deliver a window, if it is behind."""
    lake, definition = _opened(job)
    if state.shortfall(lake, definition, as_of) is not None:
        _try_to_deliver(definition, as_of)


def _opened(job: str) -> tuple[Lake, Job]:
    """The lake, and the job as its YAML is now."""
    settings = Settings()
    return Lake(settings.lake), Project(Folder(settings.project)).load(job, suites=False).job


def deliver_touched(record: Recall) -> list[Round | NotDelivered]:
    """Brings the windows of a recall up, job by job; one whose database fails keeps no other from it.

    Of each job whose database may have withdrawn rows still there is a NotDelivered.
    """
    lake, ended = Lake(Settings().lake), list[Round | NotDelivered]()
    for name in sorted({job for job, _ in record.touched}):
        windows = [as_of for one, as_of in record.touched if one == name]
        try:
            _, job = _opened(name)
        except LamplighterError as error:
            ended += _left_behind(lake, record, name, windows, error.failed)
            continue
        try:
            if state.delivers(lake, job):
                ended.append(_deliver(name, windows))
            else:
                ended += _left_behind(lake, record, name, windows, "its output.sql names no table")
        except NotDelivered as error:
            ended.append(error)
        except LamplighterError as error:
            next_step = f"{error.next_step.rstrip(' .;') or 'mend that'}; then: lamplighter deliver {name}"
            ended.append(NotDelivered(f"{name}: {error.failed}", next_step=next_step))
    return ended


def _left_behind(lake: Lake, record: Recall, job: str, windows: Sequence[str], why: str) -> list[NotDelivered]:
    """A failure where a job that is no longer delivered has left withdrawn rows in a database, by the lake's records."""
    tables = {as_of: found for as_of in windows if (found := state.may_have_withdrawn(lake, job, as_of))}
    if not tables:
        return []
    named = sorted({table for found in tables.values() for table in found})
    version = f"{record.model}/{record.version:04d}"
    # For a person to look at.
    sql = " ".join(f"DELETE FROM {table} WHERE model_version = '{version}';" for table in named)  # noqa: S608
    return [
        NotDelivered(
            f"the rows of {job} {', '.join(list(tables)[:_MOST_NAMED])}{', ...' if len(tables) > _MOST_NAMED else ''} were "
            f"delivered to {', '.join(named)}, from where they cannot be taken: {why}",
            next_step=f"mend deployments/jobs/{job}.yaml; then: lamplighter deliver {job}; or, if it is no more, in its "
            f"database: {sql} and remove the folder {lake.address(layout.deliveries(job))}",
        )
    ]


def check_delivered(record: Recall, ended: Sequence[Round | NotDelivered]) -> Recall:
    """The record of a recall; NotDelivered, with it, where a database has still what was withdrawn."""
    failed = [one for one in ended if isinstance(one, NotDelivered)]
    if not failed:
        return record
    error = NotDelivered(
        f"{record}, and a database may still have its rows: {'; '.join(one.failed for one in failed[:_MOST_NAMED])}",
        state="in the lake all of it is done",
        next_step=failed[0].next_step,
    )
    error.summary = record
    raise error


def deliver_all(job: str, as_of: str | None = None) -> Round:
    """What `lamplighter deliver` does: every window that is behind, or this one. DefinitionError where the job has no table."""
    lake, definition = _opened(job)
    target_of(definition)
    if as_of is not None:
        definition.window.parse(as_of)
    if not state.delivers(lake, definition):
        return Round(job=job, table=target_of(definition).table)
    if not lake.exists(""):
        raise DefinitionError(
            f"there is no lake in {lake.address()}, so nothing can be delivered from there",
            state="the database has what it had",
            next_step="set LAMPLIGHTER_LAKE to its folder",
        )
    try:
        return Deliverer(lake, definition, read_block=secret_address).deliver_all(as_of)
    except LamplighterError as error:
        error.state = "what is published in the lake stands, and the database has what it had"
        error.next_step = f"{error.next_step.rstrip(' .;') or 'mend that'}; then: lamplighter deliver {job}"
        raise


def _try_to_deliver(job: Job, as_of: str) -> None:
    try:
        _deliver(job.job, [as_of], _MOST_OTHERS)
    except NotDelivered as error:
        log.warning("%s", error)
    except Exception as error:  # noqa: BLE001 - what was published stands, whatever happens here
        log.warning("%s %s was not delivered: %s", job.job, as_of, error)
        why = error.failed if isinstance(error, LamplighterError) else f"{type(error).__name__}, which was not foreseen"
        with contextlib.suppress(LamplighterError):
            state.note_failure(Lake(Settings().lake), job, as_of, why)


def _refuse(lake: Lake, job: Job, as_of: str) -> None:
    why = state.shortfall(lake, job, as_of)
    if why is not None:
        record = state.try_read(lake, job.job, as_of)
        raise _not_delivered(job, as_of, why, record.next_step if record else "")


def _windows_not_delivered(job: Job, failed: Sequence[Outcome]) -> NotDelivered:
    first = failed[0]
    error = _not_delivered(job, first.as_of, first.why, first.next_step)
    if len(failed) > 1 or state.live_run(Lake(Settings().lake), job.job, first.as_of) is None:
        # One command for all of them.
        error.next_step = first.next_step.removesuffix(f" --as-of {first.as_of}")
        error.failed = (
            f"the table {target_of(job).table} has not what readers of the lake see of {job.job} "
            f"{', '.join(one.as_of for one in failed[:_MOST_NAMED])}{', ...' if len(failed) > _MOST_NAMED else ''}: {first.why}"
        )
    return error


def _not_delivered(job: Job, as_of: str, why: str, next_step: str) -> NotDelivered:
    table = target_of(job).table
    return NotDelivered(
        f"{job.job} {as_of} is published in the lake, and was not delivered to the table {table}: {why}",
        state=f"the publication stands; readers of {table} see what was there before",
        next_step=next_step or f"lamplighter deliver {job.job} --as-of {as_of}",
    )


_deliver = Stage("Deliver to the database", deliver_windows)
