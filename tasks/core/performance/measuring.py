"""Measures a published window by the labels that have come: joined, worked out, and kept as of the day of the look."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.definitions.modelling import Labels, Prediction
from tasks.core.definitions.project import Definition
from tasks.core.definitions.window import Window
from tasks.core.errors import LakeCorrupt, LakeError, LamplighterError
from tasks.core.models.gate.evaluation import Benchmark
from tasks.core.models.model_version import ModelVersion
from tasks.core.models.registry import Registry
from tasks.core.monitoring.records import WindowPerformance
from tasks.core.monitoring.rhythm import unit_of
from tasks.core.performance import tables
from tasks.core.performance.corrections import corrected_since
from tasks.core.performance.figures import Figure, figures_of, largest
from tasks.core.performance.joining import Joined, Wanted, join
from tasks.core.performance.pulling import Due, Kept, Look, keep_labels, newest_labels, note_look, notes_in
from tasks.core.performance.target import Held, hold, predicts_classes
from tasks.core.records import said_by_file
from tasks.core.runs.manifest import Interval, Manifest
from tasks.core.runs.run import load_manifest
from tasks.core.runs.showing import Showing, showing
from tasks.core.storage import Folder, Lake

_NOT_METRICS = frozenset(
    ("rows", "labelled", "without_label", "awaited", "corrected", "unmatched_labels", "mean_truth", "mean_prediction", "bias")
)  # fmt: skip


@dataclass(frozen=True)
class _Made:
    """The version that made the rows: what it publishes and was worth, and sentences on what of that is not known."""

    run_id: str
    model: str
    name: str
    output: Prediction
    benchmark: dict[str, Interval] = field(default_factory=dict)
    estimates: dict[str, Interval] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def measure_window(
    lake: Lake, definition: Definition, due: Due, pulled: pa.Table | None, *, day: str, now: dt.datetime
) -> WindowPerformance | None:
    """What is known of a window as of a look's day, kept where the labels or the run have changed; None where readers see
    none of it any more.

    `pulled` are the labels of this look (labels_of); None: those that were kept last. The look is recorded last, so what
    was killed is done again. Whoever calls holds the monitor's lock of the job.
    """
    job, as_of = definition.job, due.window.as_of
    seen = showing(lake, job.job, as_of)
    if seen is None or job.labels is None:
        return None
    if pulled is not None:
        kept: Kept | None = keep_labels(lake, definition, due, pulled, day=day)
    else:
        kept = newest_labels(lake, job.job, as_of, until_day=day)
    if kept is None:
        return None
    before = tables.newest(lake, job.job, as_of, until_day=day)
    if before is None or (before.found.run_id, before.labels_digest) != (seen.run_id, kept.digest):
        _measure(lake, job, job.labels, due, seen, kept, day)
    if pulled is not None:
        note_look(lake, job.job, as_of, Look(day=day, at=now))
    return tables.of_window(lake, job, as_of, until_day=day)


@dataclass(frozen=True)
class _Found:
    labels: pa.Table
    joined: Joined
    held: Held
    corrected: int
    figures: Sequence[Figure]


def _measure(lake: Lake, job: Job, labels: Labels, due: Due, seen: Showing, kept: Kept, day: str) -> None:
    as_of, workspace = due.window.as_of, layout.workspace(job.job, due.window.as_of, seen.run_id)
    made = _made(lake, job, workspace, seen)
    table = _read(lake, kept.key)
    slices = job.monitor.slices if job.monitor.slices is not None else tuple(job.promotion.slices)
    joined = join(lake, workspace, seen, Wanted(job.keys, made.name, labels.target, slices), table)
    is_classifier = predicts_classes(made.output, table.schema.field(labels.target).type, set(made.benchmark))
    held = hold(made.output, joined.truth, joined.predicted_where_labelled, is_classifier=is_classifier)
    corrected = _corrected(lake, job, labels, as_of, kept, table)
    figures = [*figures_of(joined, held, made.benchmark), *_of_labels(joined, corrected)]
    found = _record(job, due.window, day, made, _Found(table, joined, held, corrected, figures))
    tables.keep(lake, job, due.window, found, figures, kept.digest)


def _record(job: Job, window: Window, day: str, made: _Made, found: _Found) -> WindowPerformance:
    whole = {one.metric: one.found for one in found.figures if not one.slice}
    joined = found.joined
    return WindowPerformance(
        as_of=window.as_of,
        unit=unit_of(job.window, window.as_of),
        run_id=made.run_id,
        model=made.model,
        labels_as_of=day,
        rows=joined.rows,
        labelled=int(joined.is_labelled.sum()),
        without_label=int(joined.without.sum()),
        awaited=int((joined.places < 0).sum()),
        corrected=found.corrected,
        metrics={name: one for name, one in whole.items() if name not in _NOT_METRICS},
        bias=whole.get("bias", Interval(value=None)),
        estimates=made.estimates,
        notes=(*made.notes, *notes_in(found.labels), *_notes(joined, found.held)),
    )


def _notes(joined: Joined, held: Held) -> tuple[str, ...]:
    sentences = list(joined.notes)
    if held.why:
        sentences.append(f"no metric: {held.why}")
    if joined.unmatched and not (joined.places >= 0).any() and joined.rows:
        sentences.append(
            f"the {joined.unmatched:,} labels share no key with the {joined.rows:,} published rows: see whether the labels' "
            "query gives the keys in the same types and zones as the source's"
        )
    for name, sliced in joined.slices.items():
        if len(sliced.names) > (kept := len(largest(sliced))):
            sentences.append(f"{name} has {len(sliced.names):,} values: told apart are the {kept} with most rows")
    return tuple(sentences)


def _of_labels(joined: Joined, corrected: int) -> list[Figure]:
    labelled = int(joined.is_labelled.sum())
    counts = {"corrected": corrected, "unmatched_labels": joined.unmatched}
    return [Figure(name, Interval(value=float(count)), labelled) for name, count in counts.items()]


def _corrected(lake: Lake, job: Job, labels: Labels, as_of: str, kept: Kept, table: pa.Table) -> int:
    """How many labels differ from those that were kept before; a broken file tells nothing, nor do other names or types."""
    before = newest_labels(lake, job.job, as_of, until_day=kept.day, before=True)
    if before is None:
        return 0
    try:
        were = _read(lake, before.key)
    except LakeError:
        return 0
    alike = were.schema.remove_metadata() == table.schema.remove_metadata()
    return corrected_since(were, table, job.keys, labels.target) if alike else 0


def _made(lake: Lake, job: Job, workspace: str, seen: Showing) -> _Made:
    """By the run's manifest and the registry; what cannot be read of them costs the benchmark, not the figures.

    LakeError where the disk fails: the next look may read it, and what is kept without it would stay so.
    """
    name, output = next(iter(job.output.columns.items()))
    model_version, there = _said_by(lake, seen)
    made = _Made(seen.run_id, model_version, name, output)
    try:
        made = replace(made, estimates=_estimates(load_manifest(lake, workspace)))
    except LamplighterError as error:
        _refuse_passing(error)
        made = replace(made, notes=(f"the run's record cannot be read: {error.failed}",))
    registry, (model, _, number) = Registry(lake), made.model.rpartition("/")
    try:
        version = registry.version(model, int(number))
        # Rows of before the job's column had another name have it under the version's own.
        name = next((one for one in (name, *version.outputs) if one in there), name)
        made = replace(made, name=name, output=version.outputs.get(name, output))
        return replace(made, benchmark=benchmark_of(registry, version))
    except (LamplighterError, ValueError) as error:
        _refuse_passing(error)
        why = error.failed if isinstance(error, LamplighterError) else "it is none"
        return replace(made, notes=(*made.notes, f"the benchmark of {made.model} cannot be read: {why}"))


def _refuse_passing(error: Exception) -> None:
    """A disk that fails is no damage, and it is told; what is missing or damaged is so for good, and costs its part alone."""
    is_for_good = isinstance(error, LakeCorrupt) or isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError))
    if isinstance(error, LakeError) and not is_for_good:
        raise error


def _said_by(lake: Folder, seen: Showing) -> tuple[str, set[str]]:
    """The version that a published file says has scored it, and the columns that it has."""
    key = f"{seen.folder}/{layout.part(seen.run_id)}"
    said = said_by_file(lake, key)
    with lake.parquet(key) as file:
        there = set(file.schema_arrow.names)
    if "model" not in said:
        raise LakeCorrupt(f"{lake.address(key)} does not say which version has scored it")
    return str(said["model"]), there


def _estimates(manifest: Manifest) -> dict[str, Interval]:
    found: dict[str, Interval] = getattr(manifest, "estimates", {})
    return found


def benchmark_of(registry: Registry, version: ModelVersion) -> dict[str, Interval]:
    """What a version was worth at registration, by metric; ValueError where its file is none."""
    found = Benchmark.model_validate(registry.benchmark(version))
    return {one.name: Interval(value=one.value, low=one.low, high=one.high) for one in found.metrics}


def _read(lake: Folder, key: str) -> pa.Table:
    with lake.parquet(key) as file:
        return file.read()
