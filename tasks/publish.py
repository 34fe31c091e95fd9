"""Publish: stage every table, prove that no row was lost, and make it all visible in one step."""

from __future__ import annotations

import datetime as dt
import time

from tasks.core.layout import METRICS, PREDICTIONS, QUARANTINE
from tasks.core.models.model_events import refuse_recalled
from tasks.core.models.registry import Registry
from tasks.core.runs import dry_run, formats, gate, metrics, staging
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.publication import publish_staged
from tasks.core.runs.run import Run, manifest_of, record, record_timing
from tasks.core.workers import peak_memory_bytes
from tasks.stage import Stage

STAGE = "publish"


def publish_run(run: Run) -> Manifest:
    """The run's tables become what readers see, or nothing changes. Returns the manifest that says so."""
    started = time.monotonic()
    manifest = gate.settle_acceptances(run)
    files = {
        PREDICTIONS: staging.stage_predictions(run, manifest),
        QUARANTINE: staging.stage_quarantine(run, manifest),
    }
    rows, digests = staging.prove_conservation(run, manifest)
    peak = max(peak_memory_bytes(), manifest.peak_memory_bytes or 0)
    manifest = record(run, rows=rows, key_digests=digests, peak_memory_bytes=peak)
    files[METRICS] = staging.stage_metrics(run, manifest, metrics.of_run(manifest))
    record_timing(run, STAGE, time.monotonic() - started, rows.scored)
    intent = manifest_of(run).but(files=files, verdict=_verdict(manifest), reasons=_warnings(manifest))
    # Last: a recall that comes later waits for this window's lock, and finds what is published here.
    refuse_recalled(Registry(run.lake).history(run.model.name), run.model.name, run.model.version)
    if run.is_dry_run:
        return dry_run.conclude(run, intent, finished_at=dt.datetime.now(dt.UTC))
    at = dt.datetime.now(dt.UTC)
    formats.make_ready(run.lake, run.job, intent, at=at)
    return publish_staged(run.lake, run.workspace, intent, finished_at=at)


def _warnings(manifest: Manifest) -> tuple[str, ...]:
    of_suite = manifest.suite.expectations if manifest.suite else ()
    of_output = manifest.output_suite.expectations if manifest.output_suite else ()
    return (
        *(one.told for one in manifest.accepted),
        *(one.sentence for one in manifest.schema_changes if one.consequence == "warns"),
        *(one.sentence for one in of_suite if one.consequence == "warns"),
        *(f"of what goes out: {one.sentence}" for one in of_output if one.consequence == "warns"),
        *(one.sentence for one in [manifest.volume] if one and one.consequence == "warns"),
        *manifest.model.warnings,
    )


def _verdict(manifest: Manifest) -> str:
    return "published_with_warnings" if _warnings(manifest) else "published"


publish = Stage("Publish the predictions", publish_run)
