"""Commands that read the lake and change nothing: runs, show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.cli import app
from flows.cli.output import console, echo_json, paragraph, table
from flows.cli.places import the_lake
from flows.cli.run import AsJson, AsOf, JobArgument, definition_of
from tasks.core.errors import DefinitionError

if TYPE_CHECKING:
    from tasks.core.runs.manifest import Manifest
    from tasks.core.storage import Lake

RUN_COLUMNS = ("window", "verdict", "pulled", "quarantined", "scored", "rows/s", "model", "run")
RUN_NUMBERS = ("pulled", "quarantined", "scored", "rows/s")


@app.command()
def runs(job: JobArgument, as_json: AsJson = False) -> None:
    """List the windows of a job: what each run did, and which one readers see."""
    from tasks.core.runs.run import as_of_labels, manifests  # noqa: PLC0415

    lake = _lake(job)
    found = [
        one
        for as_of in as_of_labels(lake, job)
        for one in sorted(manifests(lake, job, as_of), key=lambda manifest: manifest.started_at)
    ]
    if as_json:
        echo_json([one.model_dump(mode="json") for one in found])
    elif found:
        table(RUN_COLUMNS, map(run_row, found), numbers=RUN_NUMBERS)
    else:
        paragraph(f"{job} has no runs yet. Next: lamplighter score {job} --as-of DATE")


@app.command()
def show(job: JobArgument, as_of: AsOf, as_json: AsJson = False) -> None:
    """Show what is known of a window: its verdict, rows, gates, model, and where its files are."""
    from tasks.core.pages import challenger_sentence  # noqa: PLC0415
    from tasks.core.runs import challenger  # noqa: PLC0415
    from tasks.core.runs.recalling import queue  # noqa: PLC0415
    from tasks.core.runs.run import latest_manifest, published_manifest  # noqa: PLC0415

    lake = _lake(job)
    latest, visible = latest_manifest(lake, job, as_of), published_manifest(lake, job, as_of)
    if latest is None:
        raise DefinitionError(
            f"{job} {as_of} has no run in {lake.root}", next_step=f"lamplighter score {job} --as-of {as_of}"
        )
    if as_json:
        echo_json(latest.model_dump(mode="json"))
        return
    _tell(latest)
    if visible is None:
        paragraph("Readers see nothing of this window.")
    elif visible.run_id != latest.run_id:
        again = ", restored" if visible.restored else ""
        paragraph(f"Readers see run {visible.run_id}, of {visible.finished_at:%Y-%m-%d %H:%M} UTC{again}.")
    if visible and (said := challenger_sentence(challenger.of_run(lake, visible))):
        paragraph(f"Challenger: {said}.")
    entry = queue.read(lake, job, as_of)
    if entry is not None and not queue.is_settled(lake, entry, visible):
        paragraph(f"It waits to be scored again: {entry.reason}. Next: lamplighter backfill {job} --queued")


def run_row(manifest: Manifest) -> tuple[object, ...]:
    """A run as a row of RUN_COLUMNS."""
    speed = next((timing.rows_per_second for timing in manifest.timings if timing.stage == "score"), None)
    return (
        manifest.as_of,
        verdict_in_words(manifest),
        f"{manifest.rows.pulled:,}",
        f"{manifest.rows.quarantined:,}",
        f"{manifest.rows.scored:,}",
        f"{speed:,.0f}" if speed else "",
        f"{manifest.model.name}/{manifest.model.version:04d}",
        manifest.run_id,
    )


def verdict_in_words(manifest: Manifest) -> str:
    if manifest.state in ("superseded", "withdrawing", "withdrawn"):
        return manifest.state
    words = (manifest.verdict or manifest.state).replace("_", " ")
    return f"{words}, restored" if manifest.is_published and manifest.restored else words


def _tell(manifest: Manifest) -> None:
    paragraph(f"{manifest.job} {manifest.as_of}: {verdict_in_words(manifest)}")
    for reason in manifest.reasons:
        paragraph(f"  {reason}")
    if manifest.next_step:
        paragraph(f"  Next: {manifest.next_step}")
    table(("", ""), _facts(manifest))
    for suite in filter(None, (manifest.suite, manifest.output_suite)):
        console.print()
        rows = [(one.consequence, one.severity, one.sentence) for one in suite.expectations]
        table(("consequence", "severity", f"expectation of suite {suite.name}"), rows)
    if manifest.timings:
        console.print()
        stages = [(one.stage, f"{one.seconds:.2f}", f"{one.rows_per_second or 0:,.0f}") for one in manifest.timings]
        table(("stage", "seconds", "rows/s"), stages, numbers=("seconds", "rows/s"))


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    rows, model = manifest.rows, manifest.model
    facts = [
        ("window", f"{manifest.window.start:%Y-%m-%d %H:%M} to {manifest.window.end:%Y-%m-%d %H:%M} UTC"),
        (
            "rows",
            f"{rows.pulled:,} pulled = {rows.scored:,} scored + {rows.quarantined:,} quarantined + {rows.duplicates:,} duplicates",
        ),
        *(("", f"{count:,} x {reason}") for reason, count in manifest.quarantine_reasons.items()),
        *([("volume", manifest.volume.sentence)] if manifest.volume else []),
        *(("schema", f"{one.sentence} ({one.consequence})") for one in manifest.schema_changes),
        ("model", f"{model.name}/{model.version:04d} ({model.alias}), digest {model.digest[:16]}"),
        *([("", f"{model.origin} of MLflow's registry")] if model.origin else []),
        *([("", model.loaded_by)] if model.loaded_by else []),
        (
            "code",
            f"{manifest.code.version}, commit {(manifest.code.commit or 'none')[:12]}{', dirty' if manifest.code.dirty else ''}",
        ),
        ("run", manifest.run_id),
    ]
    if why := manifest.withdrawal:
        facts.append(("withdrawn", f"{why.at:%Y-%m-%d %H:%M} UTC by {why.by}: {why.reason}"))
        facts += [("", note) for note in why.notes]
    if manifest.snapshot:
        facts.append(
            (
                "snapshot",
                f"digest {manifest.snapshot.digest[:16]}, complete at {manifest.snapshot.complete_at:%Y-%m-%d %H:%M:%S} UTC",
            )
        )
    return [*facts, *((f"{table} file", file.key) for table, file in manifest.files.items())]


def _lake(job: str) -> Lake:
    """The lake, for a job that the project has."""
    definition_of(job)
    return the_lake()
