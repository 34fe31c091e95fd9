"""Commands that carry a job from one machine to another: release, install, releases."""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import app
from flows.cli.output import console, echo_json, paragraph, table
from flows.cli.places import the_lake, the_project
from flows.cli.run import AsJson, JobArgument, error_as_dict, given_reason
from tasks.core.errors import DefinitionError, LamplighterError, NothingToDo

if TYPE_CHECKING:
    from tasks.core.releasing.making import Made
    from tasks.core.releasing.records import Installation, Installed
    from tasks.install import Outcome

_EPOCH = "SOURCE_DATE_EPOCH"


@app.command()
def release(
    job: JobArgument,
    output: Annotated[
        str, typer.Option("--output", "-o", help="The file: JOB-NAME.tar.gz names the release too.")
    ] = "",
    version: Annotated[
        str, typer.Option(help="The release's name, such as 2013.07, where the file's does not say it.")
    ] = "",
    sample_as_of: Annotated[str, typer.Option(help="The published window whose rows are the sample.")] = "",
    sample_rows: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many rows.")] = 1000,
    created_at: Annotated[
        str, typer.Option(help=f"When it was made; else {_EPOCH}, else not said: the same inputs give the same file.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Make one file of a job: its code, lock, suites, production model, and a sample by which another machine tries it."""
    from tasks.core.releasing.making import file_name, name_from  # noqa: PLC0415
    from tasks.core.storage import Folder, Lake  # noqa: PLC0415
    from tasks.release import make_release  # noqa: PLC0415

    name = version or name_from(job, output.rpartition("/")[2])
    if not name:
        raise DefinitionError(
            "the release has no name",
            state="nothing was written",
            next_step=f"give -o {job}-NAME.tar.gz, or --version NAME",
        )
    made = make_release(
        the_lake(),
        the_project(),
        job,
        name,
        sample_as_of=sample_as_of,
        rows=sample_rows,
        created_at=_made_at(created_at),
    )
    path = Folder(output or file_name(job, name)).root
    Lake(path.parent).write_bytes(path.name, made.content)
    echo_json(_release_facts(made, str(path))) if as_json else _tell_release(made, str(path))


@app.command()
def install(
    file: Annotated[str, typer.Argument(help="A file that `lamplighter release` made.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; an older release, and one by force, need it.")] = "",
    force: Annotated[
        bool,
        typer.Option("--force", help="Although the gate did not let its version pass; the history says so for ever."),
    ] = False,
    other_code: Annotated[
        bool, typer.Option("--other-code", help="With the Lamplighter that runs here, though another made it.")
    ] = False,
    sha256: Annotated[
        str, typer.Option(help="What `lamplighter release` printed: only that very file is installed.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    deploy: Annotated[
        bool, typer.Option("--deploy", help="Register the job's deployments with the Prefect server.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Verify a release, try it here, and let the job, its suites and its model take effect, all or nothing."""
    from tasks.core.provenance import actor  # noqa: PLC0415
    from tasks.core.releasing.installing import Place, Request  # noqa: PLC0415
    from tasks.core.storage import Lake  # noqa: PLC0415
    from tasks.install import install_release  # noqa: PLC0415

    _refuse_undeployable(deploy=deploy, as_json=as_json)
    request = Request(
        dt.datetime.now(dt.UTC), actor(), given_reason(reason) if reason else "", force=force, other_code=other_code
    )
    place = Place(the_lake(), Lake(the_project().folder.root))
    try:
        outcome = install_release(
            place,
            _content(file, sha256),
            file.rpartition("/")[2],
            request,
            agreed=lambda plan: yes or _agreed(plan),
            tell=(lambda _: None) if as_json else paragraph,
        )
    except LamplighterError as error:
        _not_installed(error, as_json=as_json)
        return
    _after(outcome, deploy=deploy, as_json=as_json)


@app.command()
def releases(job: JobArgument, as_json: AsJson = False) -> None:
    """List what was installed of a job here: which release, when, by whom, and with which version of the model."""
    from tasks.core.releasing.records import installed  # noqa: PLC0415

    found = installed(the_lake(), job)
    if as_json:
        echo_json([one.model_dump(mode="json") for one in found])
    elif found:
        columns = ("number", "release", "installed (UTC)", "by", "model", "digest", "why")
        table(columns, [_row(one) for one in reversed(found)], numbers=("number",))
    else:
        paragraph(f"No release of {job} was installed here. Next: lamplighter install FILE")


def _made_at(given: str) -> dt.datetime | None:
    from tasks.core.settings import environment  # noqa: PLC0415

    try:
        if given:
            found = dt.datetime.fromisoformat(given)
            return found if found.tzinfo else found.replace(tzinfo=dt.UTC)
        epoch = environment(_EPOCH)
        return dt.datetime.fromtimestamp(int(epoch), dt.UTC) if epoch else None
    except (ValueError, OverflowError, OSError) as error:
        raise DefinitionError(
            f"'{given or epoch}' is no instant",
            state="nothing was written",
            next_step=f"give --created-at as 2013-08-01T12:00Z, or {_EPOCH} in seconds",
        ) from error


def _release_facts(made: Made, path: str) -> dict[str, Any]:
    from tasks.core.rows.digest import digest_bytes  # noqa: PLC0415

    said = made.manifest.model_dump(mode="json")
    return {
        "file": path,
        "sha256": digest_bytes(made.content),
        "bytes": len(made.content),
        "digest": made.digest,
        **said,
    }


def _tell_release(made: Made, path: str) -> None:
    manifest, sample = made.manifest, made.manifest.sample
    facts = _release_facts(made, path)
    paragraph(f"{path}: {manifest}, {len(manifest.files)} files in {len(made.content):,} bytes.")
    paragraph(f"sha256 {facts['sha256']}")
    paragraph(
        f"It holds {manifest.model} (digest {manifest.model.digest[:16]}), Lamplighter {manifest.code.version} (code "
        f"{manifest.code.digest[:16]}), and {sample.rows:,} rows of {manifest.job} {sample.as_of}, with the scores of "
        f"{'what was published' if sample.scored == 'published' else 'this version, made now'}: it is as confidential as they are."
    )
    for remark in _remarks(made):
        paragraph(f"Note: {remark}")
    paragraph(f"Next, where it is to run: lamplighter install {path.rpartition('/')[2]}")


def _remarks(made: Made) -> list[str]:
    manifest = made.manifest
    said = [f"left out, for scoring does not need it: {one}" for one in manifest.left_out]
    if "requirements.lock" not in manifest.files:
        said.append("the project has no requirements.lock: what it runs with is not pinned")
    if manifest.code.dirty:
        said.append(f"its code was changed after the commit {(manifest.code.commit or '')[:12]}")
    if not manifest.promotion.passed:
        said.append(
            f"{manifest.model} did not become {manifest.model.alias} by the gate's verdict; where a version holds that alias "
            "already, install asks for --force and a reason"
        )
    return said


def _content(file: str, sha256: str) -> bytes:
    from tasks.core.releasing.contents import LARGEST_TOTAL_BYTES  # noqa: PLC0415
    from tasks.core.rows.digest import digest_bytes  # noqa: PLC0415
    from tasks.core.storage import Folder  # noqa: PLC0415

    path = Folder(file).root
    place = Folder(path.parent)
    if not path.is_file():
        raise DefinitionError(
            f"there is no file {path}", state="nothing was changed", next_step="give the release's file"
        )
    if place.size_bytes(path.name) > LARGEST_TOTAL_BYTES:
        raise DefinitionError(f"{path} is larger than any release", state="nothing was changed")
    content = place.read_bytes(path.name)
    if sha256 and digest_bytes(content) != sha256.strip().lower():
        raise DefinitionError(
            f"the SHA-256 of {file} is {digest_bytes(content)}, and not {sha256}",
            state="nothing was changed",
            next_step="fetch the file again, or ask who made it for the right SHA-256",
        )
    return content


def _agreed(plan: Installation) -> bool:
    """Shows what would be changed, and asks; where nobody can answer, --yes is wanted."""
    _tell_plan(plan)
    if not (console.is_terminal and sys.stdin.isatty()):
        raise DefinitionError(
            f"{plan} is verified and would be installed", state="nothing was changed", next_step="give --yes, to do so"
        )
    return typer.confirm("Install it?")


def _tell_plan(plan: Installation) -> None:
    for key, before in plan.before.items():
        paragraph(f"{'changes' if before else 'writes'} {plan.project}/{key}")
    after = f"version {plan.replaced}" if plan.replaced else "none"
    paragraph(f"lets {plan.alias} of {plan.model} be the version {plan.model_digest[:16]}; now it is {after}")


def _not_installed(error: LamplighterError, *, as_json: bool) -> None:
    if as_json:
        echo_json({"installed": None, "error": error_as_dict(error)})
        raise typer.Exit(error.exit_code)
    if not isinstance(error, NothingToDo):
        raise error
    paragraph(str(error))


def _after(outcome: Outcome, *, deploy: bool, as_json: bool) -> None:
    done = outcome.done
    if as_json:
        echo_json({"installed": done.model_dump(mode="json"), "remarks": outcome.remarks, "error": None})
    else:
        _tell_installed(outcome)
    _write_model_page(done.model)
    if deploy:
        from flows.cli.deploy import deploy as tell_server  # noqa: PLC0415

        tell_server(prune=False, replay=False)
    elif not as_json:
        paragraph(
            f"Next: lamplighter deploy, which tells the Prefect server of {done.job}; or lamplighter score {done.job} ..."
        )


def _tell_installed(outcome: Outcome) -> None:
    from tasks.core.layout import release_kept  # noqa: PLC0415

    done = outcome.done
    back = f", a step back ({done.reason})" if done.back else ""
    after = f", after version {done.replaced}" if done.replaced not in (None, done.version) else ""
    paragraph(f"Installed {done}{back}: {done.alias} of {done.model} is version {done.version}{after}.")
    if done.before:
        paragraph(f"Written in {done.project}: {', '.join(done.before)}.")
    if any(done.before.values()):
        paragraph(f"What was there before is kept in the lake: {release_kept(done.job, done.number)}.")
    for remark in outcome.remarks:
        paragraph(f"Note: {remark}")
    paragraph("Windows that are published already stay as they are.")


def _refuse_undeployable(*, deploy: bool, as_json: bool) -> None:
    """Before anything is changed: --deploy with no server to deploy to."""
    if not deploy:
        return
    if as_json:
        raise DefinitionError(
            "--json with --deploy would print two things",
            state="nothing was changed",
            next_step="lamplighter deploy --json, after",
        )
    from tasks.core.settings import prepare_prefect  # noqa: PLC0415

    prepare_prefect(quiet=True)
    from tasks.orchestration.deploying import server_address  # noqa: PLC0415

    server_address()


def _write_model_page(model: str) -> None:
    from prefect.exceptions import MissingContextError  # noqa: PLC0415

    from tasks.report_model import write_model_page  # noqa: PLC0415

    # A page that cannot be drawn is told to a run's log, and here is no run: the alias has moved all the same.
    with contextlib.suppress(MissingContextError):
        write_model_page(model)


def _row(one: Installed) -> tuple[object, ...]:
    return (
        one.number,
        f"{one.release}{' (back)' if one.back else ''}",
        f"{one.at:%Y-%m-%d %H:%M:%S}",
        one.by,
        f"{one.model} version {one.version}{' by force' if one.forced else ''}",
        one.digest[:16],
        one.reason,
    )
