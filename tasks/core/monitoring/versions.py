"""What a look needs to know of each model version that made what readers see: what is usual of it, and its benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from tasks.core.errors import LamplighterError
from tasks.core.models.model_version import ModelVersion
from tasks.core.models.registry import Registry
from tasks.core.monitoring.observed import References
from tasks.core.monitoring.records import Calibration
from tasks.core.monitoring.rhythm import Rhythm
from tasks.core.performance.measuring import benchmark_of
from tasks.core.profiles.profile import ReferenceProfile
from tasks.core.runs.manifest import Interval, ModelRecord
from tasks.core.storage import Lake


@dataclass(frozen=True)
class Version:
    """A model version, as model/0001. `why` says what cannot be read of it, as a sentence."""

    label: str
    calibration: Calibration | None = None
    references: References | None = None
    benchmark: dict[str, Interval] = field(default_factory=dict)
    why: str = ""

    @property
    def lacks(self) -> tuple[str, ...]:
        """Sentences: what cannot be said of what it made, and why."""
        if self.why:
            return (self.why,)
        if self.calibration is None:
            sentence = "it was registered without what is usual of its past. A version that is trained now has it."
            return (f"The alarms of {self.label} are not calibrated: {sentence}",)
        return tuple(f"{self.label}: {sentence}" for sentence in self.calibration.lacks)


def versions_of(lake: Lake, models: Iterable[ModelRecord], rhythm: Rhythm) -> dict[str, Version]:
    """By label, each version that is named. One that cannot be read is there too, and says why."""
    named = {f"{one.name}/{one.version:04d}": one for one in models}
    return {label: _in_rhythm(_read(Registry(lake), label, one), rhythm) for label, one in named.items()}


def _in_rhythm(version: Version, rhythm: Rhythm) -> Version:
    """Without what is usual of it where that is told in other units: a week has the rows of seven days."""
    usual = version.calibration
    if usual is None or (usual.unit, usual.units_a_block) == (rhythm.unit, rhythm.units_a_block):
        return version
    why = f"what is usual of its past is told by the {usual.unit}, and the job's windows by the {rhythm.unit}"
    sentence = f"The alarms are not calibrated: {why}. A version that is trained now has it."
    return replace(version, calibration=Calibration(unit=usual.unit, lacks=(sentence,)))


def _read(registry: Registry, label: str, named: ModelRecord) -> Version:
    try:
        version = registry.version(named.name, named.version)
        return Version(
            label=label,
            calibration=registry.calibration(version),
            references=_references(registry.profile(version)),
            benchmark=_benchmark(registry, version),
        )
    except (LamplighterError, ValidationError) as error:
        why = error.failed if isinstance(error, LamplighterError) else "a file of it is not what it should be"
        return Version(label=label, why=f"{label} cannot be read: {why}.")


def _benchmark(registry: Registry, version: ModelVersion) -> dict[str, Interval]:
    """None of a version that was registered without labelled rows."""
    try:
        return benchmark_of(registry, version)
    except ValidationError:
        return {}


def _references(kept: dict[str, object]) -> References | None:
    """None of a version that was registered without profiles."""
    roles = [kept.get(role) for role in ("features", "predictions")]
    if not all(roles):
        return None
    features, predictions = (ReferenceProfile.model_validate(one) for one in roles)
    return features, predictions
