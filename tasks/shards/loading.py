"""The model of a version as a process keeps it: loaded once, from the very bytes that the run was planned with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from tasks.core.errors import ModelBlocked
from tasks.core.models.elsewhere.estimator import Interpreter
from tasks.core.models.model import LoadedModel, load_model
from tasks.core.models.model_version import ModelVersion
from tasks.core.models.registry import Registry
from tasks.core.storage import Lake


@dataclass(frozen=True)
class Checked:
    """What the gate had to remark of a version, and the libraries that load it."""

    warnings: tuple[str, ...]
    libraries: dict[str, str]


def check_version(
    lake: Lake,
    version: ModelVersion,
    allowed_types: tuple[str, ...],
    interpreter: Interpreter | None,
    timeout_seconds: float,
) -> Checked:
    """The whole gate, each time anew: whatever this process has loaded before, the file may be another by now."""
    model = load_model(
        Registry(lake),
        version,
        allowed_types=allowed_types,
        interpreter=interpreter,
        timeout_seconds=timeout_seconds,
    )
    return Checked(tuple(model.warnings), dict(model.libraries))


def loaded(
    lake: Lake,
    version: ModelVersion,
    allowed_types: tuple[str, ...],
    *,
    probe: bool,
    interpreter: Interpreter | None = None,
    timeout_seconds: float = 600,
) -> LoadedModel:
    """The model, through the gate. The probe may be left out where the parent has just tried it; nothing else may.

    Of a version that another interpreter loads, the parent tells which it has tried: what this process was told when it
    began may be another.
    """
    key = (lake, version.name, version.version, version.digest, allowed_types)
    return _load(*key, probe=probe, interpreter=interpreter, timeout_seconds=timeout_seconds)


@lru_cache(maxsize=2)
def _load(
    lake: Lake,
    name: str,
    version: int,
    digest: str,
    allowed_types: tuple[str, ...],
    *,
    probe: bool,
    interpreter: Interpreter | None,
    timeout_seconds: float,
) -> LoadedModel:
    registry = Registry(lake)
    found = registry.version(name, version)
    if found.digest != digest:
        raise ModelBlocked(
            f"{found} is not the version that this run was planned with: its digest is {found.digest}, and was {digest}",
            state="no row of this batch was scored",
            next_step=f"restore {lake.address('models')}/{name} from a backup",
        )
    return load_model(
        registry,
        found,
        allowed_types=allowed_types,
        probe=probe,
        interpreter=interpreter,
        timeout_seconds=timeout_seconds,
    )
