"""Latest: the table with one row a key follows what was published. It is a view: nothing fails for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from tasks.core.definitions.project import Project
from tasks.core.errors import WindowFinished
from tasks.core.logs import log
from tasks.core.runs.latest import MOST_ROWS, Refreshed, refresh
from tasks.core.runs.run import Run
from tasks.core.settings import Settings
from tasks.core.storage import Folder, Lake
from tasks.stage import Stage

# Another window of the job may be bringing it up to date: that one does not know of this one's rows.
_WAIT_SECONDS = 300.0


def keep_latest_of(run: Run) -> None:
    """After a publication. A dry run and one in shadow change nothing that it shows."""
    if not (run.is_dry_run or run.job.output.shadow):
        _keep(run.job.job)


def keep_latest_of_jobs(windows: Sequence[tuple[str, str]]) -> None:
    """After windows were withdrawn or restored, given as (job, as_of)."""
    for job in sorted({job for job, _ in windows}):
        _keep(job)


@contextlib.contextmanager
def latest_kept(job: str, *, dry_run: bool) -> Iterator[None]:
    """Where the block finds its window finished: its run may have been killed before the table had followed."""
    try:
        yield
    except WindowFinished:
        if not dry_run:
            _keep(job)
        raise


def _keep(job: str) -> None:
    """A table that could not be brought up to date stays as it was, and is a line in the log; the next run tries again."""
    try:
        settings = Settings()
        definition = Project(Folder(settings.project)).load(job, suites=False).job
        _tell(job, refresh(Lake(settings.lake), definition, wait_seconds=_WAIT_SECONDS))
    except Exception as error:  # noqa: BLE001 - what was published stands, whatever a view of it cannot show
        log.warning("latest/%s was not brought up to date: %s", job, error)


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
