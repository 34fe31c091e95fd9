"""The page of a model: written whenever something around it has changed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tasks.core import layout
from tasks.core.errors import NothingToDo
from tasks.core.logs import log
from tasks.core.models.registry import Registry
from tasks.core.pages import ModelPage, render_model
from tasks.core.settings import Settings
from tasks.core.storage import ABANDONED_SECONDS, Lake
from tasks.stage import Stage


def write_model_page(name: str) -> None:
    """A page that cannot be drawn undoes nothing: the change stands, and the next one draws it again."""
    try:
        lake = Lake(Settings().lake)
        page = layout.model_page(name)
        lake.write_bytes(page, model_html(Registry(lake), name).encode())
        # The pages of verdicts are written beside it.
        lake.sweep(page.rpartition("/")[0], idle_seconds=ABANDONED_SECONDS)
    except Exception as error:  # noqa: BLE001
        log.warning("The page of the model %s was not written: %s", name, error)


@contextlib.contextmanager
def model_reported(name: str) -> Iterator[None]:
    """A change that was killed before its page was written is asked for again, and finds that there is nothing to do."""
    try:
        yield
    except NothingToDo:
        report_model(name)
        raise


def model_html(registry: Registry, name: str) -> str:
    """The page of a model as the registry knows it now."""
    versions = registry.versions(name)
    return render_model(
        ModelPage(
            model=name,
            versions=versions,
            benchmarks={one.version: registry.benchmark(one) for one in versions},
            calibrations={one.version: registry.calibration(one) for one in versions},
            events=registry.history(name),
            home_href="../../index.html",
        )
    )


report_model = Stage("Write the model's page", write_model_page)
