"""The command `quarantine`: the rows that were not scored, by reason; and scoring their window again once it is mended."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import app
from flows.cli.look import verdict_in_words
from flows.cli.output import console, echo_json, paragraph, table
from flows.cli.places import the_lake
from flows.cli.run import AsJson, AsOf, JobArgument, definition_of, score
from tasks.core.errors import DefinitionError

if TYPE_CHECKING:
    from tasks.core.rows.quarantine import ReasonGroup
    from tasks.core.runs.manifest import Manifest


@app.command()
def quarantine(
    context: typer.Context,
    job: JobArgument,
    as_of: AsOf,
    release: Annotated[
        str | None,
        typer.Option(help="Score the whole window again, now that the suite or the data is mended, and record why."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the rows of a window that were not scored, by reason; or release them by scoring the window again."""
    from tasks.core.rows import quarantine as rows  # noqa: PLC0415

    lake, definition = the_lake(), definition_of(job)
    manifest = _last_run(lake, job, as_of)
    if release is not None:
        score(context, job, as_of, rescore=_reason(release), as_json=as_json)
        return
    groups = rows.groups(lake, definition.job, manifest)
    if as_json:
        echo_json(_as_dict(manifest, groups))
        return
    _tell(manifest, groups)
    if groups:
        paragraph(
            f"Next: mend the data or the suite, then: lamplighter quarantine {job} --as-of {as_of} "
            '--release "what was mended", which scores the whole window again'
        )


def _reason(given: str) -> str:
    """The reason without blanks around it; an empty one is refused: what is released is to be explained later."""
    if not given.strip():
        raise DefinitionError(
            "the reason of --release is empty",
            state="nothing was released",
            next_step='say what was mended: --release "the feed sends Fahrenheit again"',
        )
    return given.strip()


def _last_run(lake: object, job: str, as_of: str) -> Manifest:
    from tasks.core.runs.run import latest_manifest  # noqa: PLC0415
    from tasks.core.storage import Lake  # noqa: PLC0415

    assert isinstance(lake, Lake)  # noqa: S101 - narrowing
    manifest = latest_manifest(lake, job, as_of)
    if manifest is None:
        raise DefinitionError(
            f"{job} {as_of} has no run in {lake.address()}", next_step=f"lamplighter score {job} --as-of {as_of}"
        )
    return manifest


def _tell(manifest: Manifest, groups: list[ReasonGroup]) -> None:
    from tasks.core.rows.reasons import cut_value  # noqa: PLC0415

    counts = manifest.rows
    paragraph(
        f"{manifest.job} {manifest.as_of}: {verdict_in_words(manifest)}. "
        f"{counts.quarantined:,} of {counts.pulled:,} rows are in quarantine."
    )
    if manifest.pruned and not manifest.is_published:
        paragraph(f"The rows are not kept any more: {manifest.pruned[-1].sentence}.")
    for group in groups:
        console.print()
        paragraph(f"{group.rows:,} x {group.reason}")
        names = [*(group.examples[0].keys if group.examples else ()), group.column or "value", "because"]
        keys = [[cut_value(str(key)) for key in one.keys.values()] for one in group.examples]
        table(names, [[*of, one.value, one.message] for of, one in zip(keys, group.examples, strict=True)])
    if groups:
        console.print()


def _as_dict(manifest: Manifest, groups: list[ReasonGroup]) -> dict[str, object]:
    return {
        "job": manifest.job,
        "as_of": manifest.as_of,
        "run_id": manifest.run_id,
        "verdict": manifest.verdict,
        "rows_pulled": manifest.rows.pulled,
        "rows_quarantined": manifest.rows.quarantined,
        "reasons": [asdict(group) for group in groups],
    }
