"""Commands for an upgrade: compat, before it; bind, for a model that must stay with the libraries that it has."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import app
from flows.cli.output import echo_json, paragraph, table
from flows.cli.places import the_project, the_registry
from flows.cli.run import AsJson, ModelArgument

if TYPE_CHECKING:
    from tasks.core.models.elsewhere.compatibility import Compatibility

_IN_WORDS = {
    "agrees": "would load and agree",
    "agrees_with_warnings": "would load and agree, with warnings",
    "changes": "would change",
    "does_not_load": "would not load",
    "apart": "is not concerned",
}


@app.command()
def compat(
    python: Annotated[str, typer.Option("--python", help="The Python of the other environment, as ENV/bin/python.")],
    as_json: AsJson = False,
) -> None:
    """Try every model that an alias names in another environment, before an upgrade. Exit code 3 if one would change."""
    from tasks.core.models.elsewhere import compatibility  # noqa: PLC0415

    registry, project = the_registry(), the_project()
    allowed = compatibility.allowed_types_by_model(project)
    libraries = compatibility.libraries_here_and_there(python)
    found = list(compatibility.try_models(registry, python, allowed))
    if as_json:
        versions = {name: {"here": here, "there": there} for name, (here, there) in libraries.items()}
        echo_json({"python": python, "libraries": versions, "models": [_as_dict(one) for one in found]})
    else:
        table(("library", "here", "there"), [(name, *versions) for name, versions in libraries.items()])
        paragraph("")
        _tell(found)
    if any(one.is_change for one in found):
        raise typer.Exit(3)


@app.command()
def bind(
    model: ModelArgument,
    version: Annotated[int, typer.Option("--version", help="The version to copy.")],
    interpreter: Annotated[str, typer.Option("--interpreter", help="NAME of LAMPLIGHTER_PYTHON_<NAME>, as sklearn19.")],
    as_json: AsJson = False,
) -> None:
    """Register a copy of a version that another interpreter loads from now on, whatever is installed here."""
    from tasks.core.models.elsewhere import compatibility  # noqa: PLC0415
    from tasks.core.provenance import actor  # noqa: PLC0415

    registry, project = the_registry(), the_project()
    allowed = compatibility.allowed_types_by_model(project).get(model, set())
    found = registry.version(model, version)
    now = dt.datetime.now(dt.UTC)
    bound = compatibility.bind(
        registry, found, interpreter_name(interpreter), allowed_types=allowed, at=now, actor=actor()
    )
    if as_json:
        echo_json({"model": bound.name, "version": bound.version, "digest": bound.digest, "interpreter": interpreter})
    else:
        paragraph(
            f"Registered {bound}: {found} as the interpreter {interpreter} loads it. "
            f'Next: lamplighter promote {model} --version {bound.version} --reason "why"'
        )


def _tell(found: list[Compatibility]) -> None:
    if not found:
        paragraph("No alias names a version, so there is nothing to try.")
        return
    rows = [(one.model, ", ".join(one.aliases), one.version, _IN_WORDS[one.outcome], _why(one)) for one in found]
    table(("model", "alias", "version", "there it", "why"), rows)
    changed = [one for one in found if one.is_change]
    paragraph("")
    if not changed:
        paragraph("Nothing would change.")
        return
    first = changed[0]
    paragraph(
        f"{len(changed)} of {len(found)} would change. Next: train or register them anew there; or keep this environment "
        f"for them: lamplighter bind {first.model} --version {first.version} --interpreter NAME"
    )


def _why(one: Compatibility) -> str:
    return one.why or "; ".join(one.warnings)


def _as_dict(one: Compatibility) -> dict[str, object]:
    return asdict(one) | {"would_change": one.is_change}


def interpreter_name(interpreter: str) -> str:
    """The name that the registry keeps; DefinitionError for what is none, such as a path."""
    from tasks.core.definitions.terms import check_name  # noqa: PLC0415

    return check_name(
        interpreter,
        "an interpreter",
        state="nothing was registered",
        next_step="use lower-case letters, digits and _; its path belongs into LAMPLIGHTER_PYTHON_<NAME>",
    )
