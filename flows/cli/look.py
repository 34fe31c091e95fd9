"""Commands that read the lake and change nothing: runs, show."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import app
from flows.cli.output import console, echo_json, paragraph, table
from flows.cli.places import the_lake
from flows.cli.run import AsJson, AsOf, JobArgument, definition_of
from tasks.core.errors import DefinitionError, Incomplete, LakeError

if TYPE_CHECKING:
    from tasks.core.runs.expected import Missing
    from tasks.core.runs.manifest import Manifest
    from tasks.core.storage import Lake

RUN_COLUMNS = ("window", "verdict", "pulled", "quarantined", "scored", "rows/s", "model", "run")
RUN_NUMBERS = ("pulled", "quarantined", "scored", "rows/s")
MISSING_COLUMNS = ("window", "its last run", "asked for", "deadline", "run")
_MOST_MISSING = 100


@app.command()
def runs(
    job: JobArgument,
    *,
    missing: Annotated[
        bool, typer.Option("--missing", help="Only the windows that the schedule asked for and readers do not see.")
    ] = False,
    since: Annotated[
        str, typer.Option("--since", help="With --missing: from this window on; without it from the first one known.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the windows of a job: what each run did, and which one readers see."""
    from tasks.core.runs.run import as_of_labels  # noqa: PLC0415

    if since and not missing:
        raise DefinitionError(
            "--since goes with --missing", next_step=f"lamplighter runs {job} --missing --since {since}"
        )
    if missing:
        _tell_missing(job, since, as_json=as_json)
        return
    lake = _lake(job)
    found, damaged = _every_run(lake, job, as_of_labels(lake, job))
    if as_json:
        echo_json([one.model_dump(mode="json") for one in found])
    elif found:
        table(RUN_COLUMNS, map(run_row, found), numbers=RUN_NUMBERS)
    elif not damaged:
        paragraph(f"{job} has no runs yet. Next: lamplighter score {job} --as-of DATE")
    if damaged:
        raise _not_listed(damaged)


def _every_run(lake: Lake, job: str, labels: list[str]) -> tuple[list[Manifest], list[LakeError]]:
    """The runs of these windows, and what is wrong with the windows whose runs cannot be listed: each hides itself alone."""
    from tasks.core.runs.run import manifests  # noqa: PLC0415

    found: list[Manifest] = []
    damaged: list[LakeError] = []
    for as_of in labels:
        try:
            found += sorted(manifests(lake, job, as_of), key=lambda manifest: manifest.started_at)
        except LakeError as error:
            damaged.append(error)
    return found, damaged


def _not_listed(damaged: list[LakeError]) -> Incomplete:
    more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
    failed = f"the runs of {'1 window' if not more else f'{len(damaged):,} windows'} are not listed: {damaged[0].failed}{more}"
    return Incomplete(failed, state="nothing was changed, and all others are listed", next_step=damaged[0].next_step)


@app.command()
def show(job: JobArgument, as_of: AsOf, as_json: AsJson = False) -> None:
    """Show what is known of a window: its verdict, rows, gates, model, and where its files are."""
    from tasks.core.pages import challenger_sentence  # noqa: PLC0415
    from tasks.core.runs import challenger  # noqa: PLC0415
    from tasks.core.runs.compared import last_looked_at  # noqa: PLC0415
    from tasks.core.runs.recalling import queue  # noqa: PLC0415
    from tasks.core.runs.run import latest_manifest, published_manifest  # noqa: PLC0415

    lake = _lake(job)
    latest, visible = latest_manifest(lake, job, as_of), published_manifest(lake, job, as_of)
    if latest is None:
        raise DefinitionError(
            f"{job} {as_of} has no run in {lake.address()}", next_step=f"lamplighter score {job} --as-of {as_of}"
        )
    if as_json:
        echo_json(latest.model_dump(mode="json"))
        return
    _tell(latest)
    _tell_seen(latest, visible)
    if visible and (said := challenger_sentence(challenger.of_run(lake, visible))):
        paragraph(f"Challenger: {said}.")
    if visible and (looked := last_looked_at(lake, job, as_of)) and looked.run_id == visible.run_id:
        paragraph(f"Its source was read again on {looked.at:%Y-%m-%d %H:%M} UTC, and had not changed.")
    entry = queue.read(lake, job, as_of)
    if entry is not None and not queue.is_settled(lake, entry, visible):
        paragraph(f"It waits to be scored again: {entry.reason}. Next: lamplighter backfill {job} --queued")


def _tell_seen(latest: Manifest, visible: Manifest | None) -> None:
    if visible is None:
        paragraph("Readers see nothing of this window.")
    elif visible.shadow:
        paragraph(
            f"Readers see nothing of this window: what run {visible.run_id} published is in shadow. To publish it for them, "
            f"set output.shadow: false, and lamplighter score {visible.job} --as-of {visible.as_of} "
            '--rescore "why"'
        )
    elif visible.run_id != latest.run_id:
        again = ", restored" if visible.restored else ""
        at = f", of {visible.finished_at:%Y-%m-%d %H:%M} UTC" if visible.finished_at else ""
        paragraph(f"Readers see run {visible.run_id}{at}{again}.")


def _tell_missing(job: str, since: str, *, as_json: bool) -> None:
    from tasks.core.runs.expected import missing  # noqa: PLC0415

    definition = definition_of(job).job
    if definition.schedule is None:
        raise DefinitionError(
            f"the job '{job}' has no schedule, so nobody has asked for a window that could be missing",
            next_step=f"write 'schedule' into deployments/jobs/{job}.yaml, or list its runs: lamplighter runs {job}",
        )
    first, now = definition.window.parse(since).start if since else None, dt.datetime.now(dt.UTC)
    found = missing(the_lake(), definition, now=now, since=first)
    if as_json:
        echo_json([vars(one) | {"is_late": one.is_late(now)} for one in found])
    elif not (definition.schedule.active or since):
        paragraph(
            f"The schedule of {job} stands still (active: false) and asks for no window. "
            f"Those that it would have asked for: lamplighter runs {job} --missing --since DATE"
        )
    elif not found:
        paragraph(f"No window of {job} is missing{f' since {since}' if since else ''}.")
    else:
        table(MISSING_COLUMNS, [_missing_row(one, now) for one in found[-_MOST_MISSING:]])
        paragraph(_fill(job, found))


def _missing_row(one: Missing, now: dt.datetime) -> tuple[str, ...]:
    due = f"{one.due_at:%Y-%m-%d %H:%M} UTC" if one.due_at else ""
    return (
        one.as_of,
        one.state,
        f"{one.tick:%Y-%m-%d %H:%M} UTC",
        f"{due}, late" if one.is_late(now) else due,
        one.run_id or "",
    )


def _fill(job: str, found: list[Missing]) -> str:
    """How many are missing, and the one command that fills them: those between that are published are skipped."""
    shown = f", of which the last {_MOST_MISSING} are shown" if len(found) > _MOST_MISSING else ""
    count = "1 window is" if len(found) == 1 else f"{len(found):,} windows are"
    return (
        f"{count} missing{shown}. Next: lamplighter backfill {job} --from {found[0].as_of} --to {found[-1].as_of} "
        '--reason "windows were missed"'
    )


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
    marks = [mark for mark, is_so in _marks(manifest).items() if is_so]
    return ", ".join([words, *marks]) if manifest.is_published else words


def _marks(manifest: Manifest) -> dict[str, object]:
    return {"in shadow": manifest.shadow, "accepted": manifest.accepted, "restored": manifest.restored}


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
    from tasks.core.pages.verdicts import acceptance  # noqa: PLC0415

    rows, model, known_at = manifest.rows, manifest.model, manifest.window.known_at
    facts = [
        ("window", f"{manifest.window.start:%Y-%m-%d %H:%M} to {manifest.window.end:%Y-%m-%d %H:%M} UTC"),
        *([("known at", f"{known_at:%Y-%m-%d %H:%M:%S} UTC, its query's :known_at")] if known_at else []),
        (
            "rows",
            f"{rows.pulled:,} pulled = {rows.scored:,} scored + {rows.quarantined:,} quarantined + {rows.duplicates:,} duplicates",
        ),
        *(("", f"{count:,} x {reason}") for reason, count in manifest.quarantine_reasons.items()),
        *([("changes", manifest.changes.sentence)] if manifest.changes else []),
        *([("volume", manifest.volume.sentence)] if manifest.volume else []),
        *(("schema", f"{one.sentence} ({one.consequence})") for one in manifest.schema_changes),
        *(("accepted", acceptance(one)) for one in manifest.acceptances),
        ("model", f"{model.name}/{model.version:04d} ({model.alias}), digest {model.digest[:16]}"),
        *([("", f"{model.origin} of MLflow's registry")] if model.origin else []),
        *([("", model.loaded_by)] if model.loaded_by else []),
        (
            "code",
            f"{manifest.code.version}, commit {(manifest.code.commit or 'none')[:12]}{', dirty' if manifest.code.dirty else ''}",
        ),
        *(("", f"the project's own {name}, digest {digest[:16]}") for name, digest in manifest.code.modules.items()),
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
    facts += [("", f"its rows are not kept any more: {one.sentence}") for one in manifest.pruned]
    return [*facts, *((f"{table} file", file.key) for table, file in manifest.files.items())]


def _lake(job: str) -> Lake:
    """The lake, for a job that the project has."""
    definition_of(job)
    return the_lake()
