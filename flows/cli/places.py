"""Where a command works: the lake, its registry, and the project, as the settings name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.core.definitions.project import Project
    from tasks.core.models.registry import Registry
    from tasks.core.storage import Lake


def the_lake() -> Lake:
    from tasks.core.settings import Settings  # noqa: PLC0415
    from tasks.core.storage import Lake  # noqa: PLC0415

    return Lake(Settings().lake)


def the_registry() -> Registry:
    from tasks.core.models.registry import Registry  # noqa: PLC0415

    return Registry(the_lake())


def the_project() -> Project:
    from tasks.core.definitions.project import Project  # noqa: PLC0415
    from tasks.core.settings import Settings  # noqa: PLC0415
    from tasks.core.storage import Folder  # noqa: PLC0415

    return Project(Folder(Settings().project))
