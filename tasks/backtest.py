"""Backtest: a job's past, replayed through the alarms of its production model. Nothing is written, and nobody is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.core.definitions.job import Job
from tasks.core.definitions.modelling import Training, WindowRange
from tasks.core.definitions.project import Definition, Project
from tasks.core.errors import DefinitionError, LamplighterError
from tasks.core.logs import log
from tasks.core.models.gate.held_out import Trained, is_of
from tasks.core.models.model import LoadedModel, score_with_bisection
from tasks.core.models.model_version import ModelVersion
from tasks.core.models.registering.training_data import window_rows
from tasks.core.models.registering.usual import figures_from
from tasks.core.models.registry import Registry
from tasks.core.monitoring import backtest
from tasks.core.monitoring.backtest import Backtested, Counted, Injected, Of
from tasks.core.monitoring.injections import Injection, injections
from tasks.core.monitoring.keeping import newest_monitored
from tasks.core.monitoring.observed import Observed, References, from_table, of_profiles
from tasks.core.monitoring.records import Calibration, DriftCalibration, DriftPoint, PerformancePoint, Rate
from tasks.core.monitoring.rhythm import Rhythm, rhythm_of, unit_of
from tasks.core.monitoring.tails import rate_of
from tasks.core.profiles.profile import WindowProfile, profile_batch
from tasks.core.settings import Settings
from tasks.core.storage import Folder, Lake
from tasks.secrets import secret_address
from tasks.shards.loading import loaded
from tasks.shards.scoring import profiles_of

_BLOCKS_SHIFTED = 3
_MOST_ROWS = 2_000_000
_MOST_COLUMNS = 60
_UNIT = "unit of the row"


@dataclass(frozen=True)
class _Case:
    """What is replayed: the job, the version that its alias names, and what is usual of that version."""

    lake: Lake
    project: Folder
    definition: Definition
    version: ModelVersion
    calibration: Calibration
    rhythm: Rhythm

    @property
    def job(self) -> Job:
        return self.definition.job

    @property
    def per_year(self) -> float:
        """Half of the false alarms are for the data, half for the performance."""
        return self.job.monitor.false_alarms_per_year / 2


@dataclass(frozen=True)
class _Stretch:
    """Past rows in the order of their units. The first `quiet` units stay as they were, the others are shifted."""

    table: pa.Table
    units: tuple[str, ...]
    quiet: int


def backtest_job(job: str) -> Backtested:
    """How many alarms a year the past raises, and how soon injected shifts do. DefinitionError where nothing is calibrated."""
    case = _case(job)
    notes: list[str] = [*case.calibration.lacks]
    counted = [*_past(case), *_published(case, notes)]
    stretch, injected = None, []
    if case.calibration.drift:
        stretch = _stretch(case, notes)
        injected = list(_inject(case, case.calibration.drift, stretch, notes)) if stretch else []
    return Backtested(
        job=job,
        model=case.version.label,
        false_alarms_per_year=case.job.monitor.false_alarms_per_year,
        calibration=case.calibration,
        promised=_promised(case),
        counted=tuple(counted),
        injected=tuple(injected),
        injected_into=f"{stretch.units[stretch.quiet]} to {stretch.units[-1]}" if stretch else "",
        horizon=len(stretch.units) - stretch.quiet if stretch else 0,
        notes=tuple(notes),
    )


def _case(job: str) -> _Case:
    settings = Settings()
    lake, project = Lake(settings.lake), Folder(settings.project)
    definition = Project(project).load(job)
    registry, model = Registry(lake), definition.job.model
    version = registry.alias(model.name, model.alias)
    calibration = registry.calibration(version)
    if calibration is None or not (calibration.drift or calibration.performance):
        why = " ".join(calibration.lacks) if calibration else f"{version} was registered without what is usual of it."
        raise DefinitionError(
            f"there is nothing to test of {job}: {why}",
            state="nothing was changed",
            next_step=f"lamplighter train {job}, where the job has 'training'; else register the model with a longer sample",
        )
    rhythm = rhythm_of(definition.job.window)
    if calibration.unit != rhythm.unit:
        raise DefinitionError(
            f"what is usual of {version} is told by the {calibration.unit}, and the windows of {job} by the {rhythm.unit}",
            state="nothing was changed",
            next_step=f"lamplighter train {job}, on windows as they are now",
        )
    return _Case(lake, project, definition, version, calibration, rhythm)


def _promised(case: _Case) -> dict[Of, Rate]:
    found: dict[Of, Rate] = {}
    parts: tuple[tuple[Of, object], ...] = (
        ("data", case.calibration.drift),
        ("performance", case.calibration.performance),
    )
    for of, part in parts:
        tail = getattr(part, "tail", None)
        if tail is not None:
            found[of] = rate_of(tail, case.per_year)
    return found


# --- How often, when nothing has changed


def _past(case: _Case) -> Iterator[Counted]:
    """Each part of the past against the others."""
    registry, rhythm, label = Registry(case.lake), case.rhythm, case.version.label
    windows, performance = registry.null_windows(case.version), registry.null_performance(case.version)
    if windows is not None and case.calibration.drift:
        observed = from_table(windows)
        drift = backtest.drift_of_parts(observed, rhythm, per_year=case.per_year, model=label)
        alarms = backtest.alarms_of_parts(drift, observed.units, rhythm)
        if found := backtest.count("data", "past", drift, alarms, rhythm, case.per_year):
            yield found
    if performance is not None and case.calibration.performance:
        figures = figures_from(performance)
        points = backtest.performance_of_parts(
            figures,
            rhythm,
            together=case.calibration.performance.together,
            per_year=case.per_year,
            model=label,
        )
        alarms = backtest.alarms_of_parts(points, sorted({one.unit for one in figures}), rhythm)
        if found := backtest.count("performance", "past", points, alarms, rhythm, case.per_year):
            yield found


def _published(case: _Case, notes: list[str]) -> Iterator[Counted]:
    """What the last look has found of the windows that are published. Here something may well have changed."""
    found = newest_monitored(case.lake, case.job.job)
    if found is None:
        notes.append(f"No published window was looked at yet: lamplighter monitor {case.job.job}")
        return
    seen: tuple[tuple[Of, str, Sequence[DriftPoint] | Sequence[PerformancePoint]], ...] = (
        ("data", "drifted", found.drift),
        ("performance", "degraded", found.performance),
    )
    for of, kind, points in seen:
        alarms = [one for one in found.alarms if one.kind == kind]
        if counted := backtest.count(of, "published", points, alarms, case.rhythm, case.per_year):
            yield counted


# --- How soon, when something has


def _stretch(case: _Case, notes: list[str]) -> _Stretch | None:
    """The newest rows that the version was trained on: read again, as they were. None, and a note, where there are none."""
    training, size = case.job.training, case.rhythm.units_a_block
    if training is None:
        notes.append("Shifts are injected into the rows of 'training', which this job has none of.")
        return None
    quiet, shifted = size + 2, size * _BLOCKS_SHIFTED
    span = _learnt(case, training)
    every = [one.as_of for one in case.job.window.between(span.first, span.last)]
    units = sorted({unit_of(case.job.window, as_of) for as_of in every})[-(quiet + shifted) :]
    labels = [as_of for as_of in every if unit_of(case.job.window, as_of) in set(units)]
    if len(units) <= quiet:
        notes.append(f"Shifts are injected after {quiet} quiet units, and training has {len(units)}.")
        return None
    try:
        span = WindowRange(first=labels[0], last=labels[-1])
        rows = window_rows(case.definition, case.project, span, secret_address, lambda _: None)
    except LamplighterError as error:
        notes.append(f"No shift was injected, as past rows cannot be read: {error.failed}")
        return None
    if len(rows.table) > _MOST_ROWS:
        notes.append(f"No shift was injected: {len(rows.table):,} rows would be scored many times.")
        return None
    numbers = {unit: number for number, unit in enumerate(units)}
    of_rows = np.array(
        [numbers[unit_of(case.job.window, as_of)] for as_of, part in rows.parts for _ in range(len(part))]
    )
    return _Stretch(rows.table.append_column(_UNIT, pa.array(of_rows, pa.int64())), tuple(units), quiet)


def _learnt(case: _Case, training: Training) -> WindowRange:
    """From the version's first window to the last of its benchmark; those of the job, where it does not say."""
    found = Trained.of(case.version.manifest.training, Registry(case.lake).benchmark(case.version))
    if found.record and found.record.first and found.benchmark:
        span = WindowRange(first=found.record.first, last=found.benchmark.last)
        if is_of(case.job, span):
            return span
    return WindowRange(first=training.fit.first, last=training.benchmark.last)


def _inject(case: _Case, calibration: DriftCalibration, stretch: _Stretch, notes: list[str]) -> Iterator[Injected]:
    """Each shift by itself, in all rows after the quiet units: as they would be scored, and counted."""
    model = loaded(case.lake, case.version, case.job.model.allowed_types, probe=False)
    references = profiles_of(case.lake, case.version)
    of_row = stretch.table[_UNIT].to_numpy()
    quiet = stretch.table.filter(pa.array(of_row < stretch.quiet))
    later = stretch.table.filter(pa.array(of_row >= stretch.quiet))
    before = _observed(model, references, quiet, stretch.units[: stretch.quiet])
    units = stretch.units[stretch.quiet :]

    def delay(rows: pa.Table) -> tuple[int | None, str]:
        after = _observed(model, references, rows, units, first=stretch.quiet)
        return backtest.delay_of(calibration, case.rhythm, before, after, per_year=case.per_year)

    unshifted, by = delay(later)
    if unshifted is not None:
        notes.append(f"These weeks raise the alarm as they are ({by}), so the delays below say little.")
    columns = case.version.inputs.names
    if len(columns) > _MOST_COLUMNS:
        notes.append(f"Shifts are injected into the first {_MOST_COLUMNS} of {len(columns)} features.")
    for one in injections(references[0], columns[:_MOST_COLUMNS]):
        try:
            found, by = delay(one.apply(later))
        except LamplighterError as error:
            notes.append(f"{_named(one)}: the model cannot score such rows: {error.failed}")
            continue
        log.debug("%s: %s", _named(one), found)
        yield Injected(kind=one.kind, column=one.column, size=one.size, delay=found, by=by)


def _named(one: Injection) -> str:
    return f"{one.kind} of {one.column} ({one.size})"


def _observed(
    model: LoadedModel, references: References, rows: pa.Table, units: Sequence[str], *, first: int = 0
) -> Observed:
    """The rows scored and counted, unit by unit; `first` is the number of the first of the units."""
    positions = np.arange(len(rows))
    outputs, kept, _ = score_with_bisection(
        model, rows, positions, model.version.outputs, give_up_after=max(len(rows) // 50, 1)
    )
    rows = rows if len(kept) == len(rows) else rows.take(kept)
    starts = np.searchsorted(rows[_UNIT].to_numpy(), np.arange(first, first + len(units) + 1)).tolist()
    profiles = []
    for unit, start, end in zip(units, starts, starts[1:], strict=False):
        profiles.append(
            (
                unit,
                WindowProfile(
                    features=profile_batch(references[0], rows.slice(start, end - start)),
                    predictions=profile_batch(references[1], outputs.slice(start, end - start)),
                ),
            )
        )
    return of_profiles(references, profiles)
