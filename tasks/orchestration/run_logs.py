"""The log of a flow run in Prefect's UI gets our lines too."""

from __future__ import annotations

import logging

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler

from tasks.core.logs import is_decided, log, show_lines


class _ToRunPage(APILogHandler):
    """Prefect's handler, for lines of a run: of any other it would warn."""

    def emit(self, record: logging.LogRecord) -> None:
        if FlowRunContext.get() or TaskRunContext.get():
            super().emit(record)


def log_to_run_page() -> None:
    """Our lines go to the run's page, and in a worker to standard error; said more than once it is said once.

    PREFECT_LOGGING_EXTRA_LOGGERS would do the first as well, where each who starts a worker sets it.
    """
    if not is_decided():
        show_lines(usual_level="info")
    if not any(isinstance(handler, APILogHandler) for handler in log.handlers):
        log.addHandler(_ToRunPage(logging.INFO))
