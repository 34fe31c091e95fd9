"""A version from elsewhere becomes one of this registry: the very same files, and so the same digest."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Mapping

from tasks.core.errors import LakeError
from tasks.core.models.contents import MANIFEST
from tasks.core.models.model_version import ModelManifest, ModelVersion
from tasks.core.models.registry import Registry, version_folder


def known(registry: Registry, name: str, digest: str) -> ModelVersion | None:
    """The version of these files that is here already; of several the last."""
    numbers = reversed(registry.numbers(name))
    return next((one for one in (registry.version(name, number) for number in numbers) if one.digest == digest), None)


def adopt(
    registry: Registry, home: ModelManifest, files: Mapping[str, bytes], *, at: dt.datetime, actor: str
) -> ModelVersion:
    """The version with these files, registered under the next free number where there is none. Moves no alias."""
    found = known(registry, home.name, home.digest)
    if found is not None:
        return found
    lake, folder = registry.lake, f"models/{home.name}/versions"
    # Of one installation at a time: what a killed one left under this name is begun again.
    staging = f"{folder}/.tmp-{home.digest[:16]}"
    lake.remove(staging)
    try:
        for name, content in files.items():
            lake.write_bytes(f"{staging}/{name}", content)
        while True:
            number = max(registry.numbers(home.name), default=0) + 1
            here = home.model_copy(update={"version": number, "registered_at": at, "registered_by": actor})
            # Last in the folder, and again for another number when somebody else has just taken this one.
            lake.write_bytes(f"{staging}/{MANIFEST}", here.model_dump_json(indent=2, by_alias=True).encode() + b"\n")
            if lake.try_rename(staging, version_folder(home.name, number)):
                return registry.version(home.name, number)
    except BaseException:
        with contextlib.suppress(LakeError):
            lake.remove(staging)
        raise
