"""The page of a model: written whenever something around it has changed."""

from __future__ import annotations

from tasks.core import layout
from tasks.core.logs import log
from tasks.core.models.registry import Registry
from tasks.core.pages import ModelPage, render_model
from tasks.core.settings import Settings
from tasks.core.storage import Lake
from tasks.stage import Stage


def write_model_page(name: str) -> None:
    """A page that cannot be drawn undoes nothing: the change stands, and the next one draws it again."""
    try:
        lake = Lake(Settings().lake)
        lake.write_bytes(layout.model_page(name), model_html(Registry(lake), name).encode())
    except Exception as error:  # noqa: BLE001
        log.warning("The page of the model %s was not written: %s", name, error)


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
