"""Ready: the source is asked whether the window is complete, until it says yes or the time is up."""

from __future__ import annotations

from tasks.core.runs.run import Run
from tasks.stage import Stage


def wait_for_source(run: Run) -> None:
    """Returns when the job's `ready` query is true, at once where there is none. SourceLate when the time is up."""
    if run.job.ready is None:
        return
    raise NotImplementedError


wait_until_ready = Stage("Wait until the source is ready", wait_for_source)
