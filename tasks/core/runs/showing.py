"""In which table a window shows: in predictions/, which readers rely on, or in shadow/, until the team switches over.

Once a publication is finished it is one of the two at most. Quarantine and metrics have one table for both.
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks.core import layout
from tasks.core.errors import DefinitionError
from tasks.core.runs import partitions
from tasks.core.runs.manifest import Manifest
from tasks.core.storage import Folder


@dataclass(frozen=True)
class Showing:
    """What a window shows: the run, and the folder of the partition that holds its file."""

    run_id: str
    folder: str
    shadow: bool


def table_of(table: str, *, shadow: bool) -> str:
    """The table of the lake in which a run's table stands."""
    return layout.SHADOW if shadow and table == layout.PREDICTIONS else table


def partition_of(manifest: Manifest, table: str) -> str:
    """The folder in which a run's table stands, when it is published."""
    return layout.partition(table_of(table, shadow=manifest.shadow), manifest.job, manifest.as_of)


def showing(lake: Folder, job: str, as_of: str) -> Showing | None:
    """What the window shows; while a run switches it over both tables may have it, and then it is what is live."""
    for shadow in (False, True):
        folder = layout.partition(table_of(layout.PREDICTIONS, shadow=shadow), job, as_of)
        if names := partitions.names(lake, folder):
            return Showing(layout.run_of(names[0]), folder, shadow)
    return None


def live_labels(lake: Folder, job: str) -> list[str]:
    """The windows of which predictions/ has rows, in the order of time."""
    return partitions.labels(lake, layout.table(layout.PREDICTIONS, job))


def live_runs(lake: Folder, job: str) -> dict[str, str]:
    """By window, in the order of time, the run whose rows predictions/ has."""
    found = partitions.by_label(lake, layout.table(layout.PREDICTIONS, job))
    return {label: layout.run_of(names[0]) for label, names in found.items() if names}


def shown_labels(lake: Folder, job: str) -> list[str]:
    """The windows that show rows, live or in shadow, in the order of time."""
    return sorted({*live_labels(lake, job), *partitions.labels(lake, layout.table(layout.SHADOW, job))})


def refuse_shadow_over_live(lake: Folder, job: str, as_of: str, *, shadow: bool) -> None:
    """DefinitionError where a run that publishes in shadow would take rows away that readers rely on."""
    seen = showing(lake, job, as_of) if shadow else None
    if seen is not None and not seen.shadow:
        raise DefinitionError(
            f"{job} {as_of} is live: readers of predictions/ see run {seen.run_id}, and the job publishes in shadow "
            "(output.shadow: true), from where a live window cannot be replaced",
            state="nothing was pulled, and readers see what they saw",
            next_step=f"set output.shadow: false in deployments/jobs/{job}.yaml to replace it, or look at what would be "
            f"published: lamplighter score {job} --as-of {as_of} --dry-run",
        )
