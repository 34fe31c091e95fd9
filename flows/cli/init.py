"""The command `init`: a project of one's own."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import app
from flows.cli.output import echo_json, paragraph, table
from flows.cli.run import AsJson
from tasks.core.errors import DefinitionError

if TYPE_CHECKING:
    from tasks.core.starting.new_project import NewProject


@app.command()
def init(
    folder: Annotated[str, typer.Argument(help="The project's folder; it is made where it is not there.")],
    *,
    job: Annotated[str, typer.Option(help="What its first job is called; else as the folder.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a project: a job to edit, a place for suites, a package for your own code. Overwrites nothing."""
    from tasks.core.starting.new_project import make, new_project  # noqa: PLC0415
    from tasks.core.storage import Lake  # noqa: PLC0415

    if not folder.strip() or "\0" in folder:
        raise DefinitionError(
            "no folder was given", state="nothing was made", next_step="lamplighter init FOLDER; . is this one"
        )
    place = Lake(Lake(folder).root.resolve())
    project = new_project(place, job)
    made = make(place, project)
    following = _next(folder, project)
    if as_json:
        files = {key: "made" if is_new else "there already" for key, is_new in made.items()}
        echo_json(
            {"folder": str(place.root), "job": project.job, "package": project.package, "files": files}
            | {"next": following}
        )
        return
    table(
        ("file", "what it is"),
        [(key, project.told[key] + ("" if is_new else " (there already)")) for key, is_new in made.items()],
    )
    paragraph("", f"Next: {following}")


def _next(folder: str, project: NewProject) -> str:
    there = "" if folder.rstrip("/") == "." else f"cd {shlex.quote(folder)}; "
    return (
        f"{there}cp .env.example .env, and put the database's address into it; say in deployments/jobs/{project.job}.yaml what "
        f"is scored; then: lamplighter register {project.job} --model FILE --reference SAMPLE.parquet"
    )
