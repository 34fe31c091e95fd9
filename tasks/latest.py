"""Latest: the table with one row a key follows what was published. It is a view: no run fails for it.

A recall does where the table may still have what it has withdrawn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from tasks.core.definitions.job import Job
from tasks.core.definitions.project import Project
from tasks.core.errors import Incomplete, LamplighterError, WindowFinished
from tasks.core.logs import log
from tasks.core.runs.latest import MOST_ROWS, Refreshed, is_behind, refresh, take_stale_away
from tasks.core.runs.recalling.recalls import Recall
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tasks.core.storage import Folder, Lake
from tasks.stage import Stage

# Another window of the job may be bringing it up to date: that one does not know of this one's rows.
_WAIT_SECONDS = 300.0
_MOST_NAMED = 5


def keep_latest_of(run: Run) -> None:
    """After a publication. One in shadow adds nothing to it; what the job had live before it may have changed since."""
    if not run.is_dry_run:
        _keep(run.job.job, run.job)


def keep_latest_of_jobs(windows: Sequence[tuple[str, str]]) -> list[str]:
    """After windows were withdrawn or restored, given as (job, as_of).

    A table that cannot follow and has rows of what was withdrawn is taken away. Returns those that could not be, and why.
    """
    jobs = sorted({job for job, _ in windows})
    ended = {job: "" if _keep(job) else _take_stale_away(job) for job in jobs}
    return [f"latest/{job}: {why}" for job, why in ended.items() if why]


def check_latest(record: Recall, left: Sequence[str]) -> Recall:
    """The record of a recall; Incomplete, with it, where a table of latest rows may have what was withdrawn."""
    if not left:
        return record
    more = f"; and {len(left) - _MOST_NAMED} more" if len(left) > _MOST_NAMED else ""
    error = Incomplete(
        f"{record}, and its rows may still be in {len(left)} table{'s' if len(left) > 1 else ''} of latest rows: "
        f"{'; '.join(left[:_MOST_NAMED])}{more}",
        state="what is done stays done",
        next_step=f'run it again: lamplighter recall {record.model} --version {record.version} --reason "why"',
    )
    error.summary = record
    raise error


@contextlib.contextmanager
def latest_kept(job: str, *, dry_run: bool) -> Iterator[None]:
    """A run that was killed before the table had followed is made good by the next one, however that one ends."""
    try:
        yield
    except Exception as error:
        if not dry_run and (isinstance(error, WindowFinished) or _is_behind(job)):
            _keep(job)
        raise


def _is_behind(job: str) -> bool:
    try:
        return is_behind(Lake(Settings().lake), job)
    except Exception:  # noqa: BLE001 - nothing stands before what the run itself has failed by
        return False


def _keep(job: str, definition: Job | None = None) -> bool:
    """Whether the table is what windows show. If not it is as it was, with a line in the log; the next run tries again."""
    try:
        settings = Settings()
        definition = definition or Project(Folder(settings.project)).load(job, suites=False).job
        _tell(job, refresh(Lake(settings.lake), definition, wait_seconds=_WAIT_SECONDS))
    except Exception as error:  # noqa: BLE001 - what was published stands, whatever a view of it cannot show
        log.warning("latest/%s was not brought up to date: %s", job, error)
        return False
    return True


def _take_stale_away(job: str) -> str:
    """Why it could not be done; '' where no row is left that no window shows."""
    try:
        if take_stale_away(Lake(Settings().lake), job):
            log.warning("latest/%s was taken away, as it may have rows that were withdrawn; the next run makes it", job)
    except Exception as error:  # noqa: BLE001 - the other jobs of the recall come first; it is told at its end
        return error.failed if isinstance(error, LamplighterError) else f"{type(error).__name__}: {error}"
    return ""


def _tell(job: str, found: Refreshed) -> None:
    if found.state == "replaced":
        log.info("latest/%s: %s rows", job, f"{found.rows:,}")
    elif found.removed and found.state == "outgrown":
        log.warning(
            "latest/%s is not kept any more: it would have more than %s rows; output.latest: true keeps it all the same",
            job,
            f"{MOST_ROWS:,}",
        )
    elif found.removed:
        why = "output.latest is false" if found.state == "switched off" else "no window is live"
        log.info("latest/%s was removed: %s", job, why)


keep_latest = Stage("Keep the latest rows", keep_latest_of)
keep_latest_again = Stage("Keep the latest rows of the windows", keep_latest_of_jobs)
