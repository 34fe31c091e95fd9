"""What a run's state says already is not said again by a traceback: a blocked run is an answer, not a crash."""

from __future__ import annotations

import logging

from tasks.core.errors import LamplighterError

# Who logs it: the process that ran a flow, the run, and each of its tasks.
_LOGGERS = ("prefect.engine", "prefect.flow_runs", "prefect.task_runs")


class _SaidAlready(logging.Filter):
    """Leaves out what Prefect logs of an error that is raised on purpose: it stands in the state, one paragraph."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.exc_info:
            return True
        error = record.exc_info[1]
        # Of a task that returned a failed state Prefect logs the state, with a traceback of no exception.
        return not isinstance(error, LamplighterError) and not (
            error is None and "failed with state" in str(record.msg)
        )


def say_it_once() -> None:
    """From here on; said more than once it is said once."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(one, _SaidAlready) for one in logger.filters):
            logger.addFilter(_SaidAlready())
