"""Assess: what readers see, against what is usual of the versions that made it, as far as labels have come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasks.core.definitions.monitoring import Cause
from tasks.core.errors import LakeError
from tasks.core.estimation.record import records_of
from tasks.core.monitoring.drift import drift_points
from tasks.core.monitoring.episodes import episodes_of
from tasks.core.monitoring.looking import Look, Published, profile_of, published
from tasks.core.monitoring.observed import References, of_profiles
from tasks.core.monitoring.performance_series import WindowFigures, performance_points
from tasks.core.monitoring.records import (
    Calibration,
    DriftPoint,
    Monitored,
    PerformancePoint,
    Rate,
    WindowPerformance,
)
from tasks.core.monitoring.tails import rate_of
from tasks.core.monitoring.versions import Version, versions_of
from tasks.core.performance.tables import of_window
from tasks.core.profiles.profile import WindowProfile

_MOST_NAMED = 5


def assess(look: Look, notes: Sequence[str] = ()) -> Monitored:
    """All that a look finds, from the lake alone. `notes` are sentences on what was before it."""
    windows, unreadable = published(look)
    versions = versions_of(look.lake, (one.manifest.model for one in windows), look.rhythm)
    newest = versions[windows[-1].model] if windows else None
    calibration = newest.calibration if newest else None
    known, broken = _known(look, windows)
    drift, without = _drift(look, windows, versions)
    performance = _performance(look, known, versions)
    expected = look.job.labels.expected_share if look.job.labels else 0.0
    return Monitored(
        job=look.job.job,
        at=look.at,
        as_of=look.as_of,
        model=newest.label if newest else "",
        calibration=calibration,
        false_alarms_per_year=look.job.monitor.false_alarms_per_year,
        rates=_rates(look, calibration),
        benchmarks={label: one.benchmark for label, one in versions.items()},
        drift=tuple(drift),
        performance=tuple(performance),
        windows=tuple(known),
        estimates=records_of(known),
        alarms=episodes_of(
            drift,
            performance,
            known,
            rhythm=look.rhythm,
            expected_share=expected,
            model=newest.label if newest else "",
        ),
        notes=(*notes, *_notes(look, versions, unreadable, without), *_of_broken(broken)),
    )


def _known(look: Look, windows: Sequence[Published]) -> tuple[list[WindowPerformance], list[str]]:
    """How each window did, as far as is known; and those of which that cannot be read, which hide no other."""
    known: list[WindowPerformance] = []
    broken: list[str] = []
    for window in windows:
        try:
            found = of_window(look.lake, look.job, window.as_of, until_day=look.as_of)
        except LakeError as error:
            broken.append(f"{window.as_of}: {error.failed}")
            continue
        known += [found] if found else []
    return known, broken


def _of_broken(broken: Sequence[str]) -> list[str]:
    return [f"How windows did cannot be read: {'; '.join(broken[:_MOST_NAMED])}."] if broken else []


def _drift(
    look: Look, windows: Sequence[Published], versions: Mapping[str, Version]
) -> tuple[list[DriftPoint], list[str]]:
    """Each version's windows against its own reference, by unit; and the windows of which no profile can be used."""
    points: list[DriftPoint] = []
    without: list[str] = []
    for version in versions.values():
        calibration = version.calibration.drift if version.calibration else None
        if calibration is None or version.references is None:
            continue
        of_it = [one for one in windows if one.model == version.label]
        profiles = {one.as_of: _profile(look, one, version.references) for one in of_it}
        seen = [(one.unit, found) for one in of_it if (found := profiles[one.as_of])]
        without += [as_of for as_of, found in profiles.items() if found is None]
        if seen:
            observed = of_profiles(version.references, seen)
            points += drift_points(calibration, look.rhythm, observed, per_year=_per_year(look), model=version.label)
    return sorted(points, key=lambda one: (one.unit, one.model)), without


def _performance(
    look: Look, known: Sequence[WindowPerformance], versions: Mapping[str, Version]
) -> list[PerformancePoint]:
    """By unit and version, as far as labels have come."""
    points: list[PerformancePoint] = []
    for version in versions.values():
        calibration = version.calibration.performance if version.calibration else None
        of_it = [_figures(one) for one in known if one.model == version.label and _is_told_by(look, one)]
        if of_it:
            points += performance_points(
                calibration,
                look.rhythm,
                of_it,
                per_year=_per_year(look),
                model=version.label,
                benchmark=version.benchmark,
                degraded_after=look.rhythm.degraded_after(look.job.monitor.degraded_after),
            )
    return sorted(points, key=lambda one: (one.unit, one.model))


def _per_year(look: Look) -> float:
    """Half of the budget is for the data, half for the performance."""
    return look.job.monitor.false_alarms_per_year / 2


def _profile(look: Look, window: Published, references: References) -> WindowProfile | None:
    """What was observed of a window; None where nothing was kept, or where that was counted in other bins."""
    try:
        found = profile_of(look.lake, window)
    except (LakeError, ValueError):
        return None
    bins = tuple(one.digest for one in references)
    return found if found and (found.features.reference, found.predictions.reference) == bins else None


def _figures(window: WindowPerformance) -> WindowFigures:
    figures = {**window.metrics, "bias": window.bias}
    return WindowFigures(
        unit=window.unit,
        labelled=window.labelled,
        figures={name: one.value for name, one in figures.items() if one.value is not None},
    )


def _is_told_by(look: Look, window: WindowPerformance) -> bool:
    """Whether as many labels have come as are expected: the first to come may not be like the rest."""
    expected = look.job.labels.expected_share if look.job.labels else 0.0
    return window.is_final or window.rows - window.awaited >= expected * window.rows


def _rates(look: Look, calibration: Calibration | None) -> dict[Cause, Rate]:
    """What the lines of the newest version really stand for."""
    if calibration is None:
        return {}
    found: dict[Cause, Rate] = {}
    if calibration.drift:
        found["drifted"] = rate_of(calibration.drift.tail, _per_year(look))
    if calibration.performance:
        found["degraded"] = rate_of(calibration.performance.tail, _per_year(look))
    return found


def _notes(look: Look, versions: Mapping[str, Version], unreadable: Sequence[str], without: Sequence[str]) -> list[str]:
    """Sentences: what could not be said, and why."""
    notes = [sentence for version in versions.values() for sentence in version.lacks]
    if look.job.labels is None:
        notes.append("The job has no labels, so nothing is known of its performance: write 'labels' into its YAML.")
    if without:
        notes.append(f"Of {_named(without)} no profile was kept in the bins of the version, so no drift is told of.")
    if unreadable:
        notes.append(f"What was published cannot be read: {'; '.join(unreadable[:_MOST_NAMED])}.")
    return notes


def _named(windows: Sequence[str]) -> str:
    if len(windows) == 1:
        return f"window {windows[0]}"
    return f"{len(windows):,} windows, {min(windows)} to {max(windows)},"
