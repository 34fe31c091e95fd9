"""The command `register`: a model that somebody already has becomes a version in the registry."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import app
from flows.cli.compat import interpreter_name
from flows.cli.define import newest_window
from flows.cli.output import console, echo_json, paragraph, table
from flows.cli.places import the_project, the_registry
from flows.cli.run import AsJson, error_as_dict
from tasks.core.errors import DefinitionError, LamplighterError

if TYPE_CHECKING:
    from tasks.core.definitions.modelling import Prediction
    from tasks.core.models.model_version import InputColumn, ModelVersion
    from tasks.core.models.registering.given import Given
    from tasks.core.models.registering.model_file import ModelFile
    from tasks.core.models.registering.registration import Registered
    from tasks.core.models.registry import Registry


@app.command()
def register(
    name: Annotated[str, typer.Argument(help="What the model is called in the registry.")],
    *,
    model: Annotated[str, typer.Option(help="The model's file: .joblib, .pkl, .skops, .onnx or .nnef.")],
    reference: Annotated[str, typer.Option(help="A Parquet file with a sample of the rows that it is to score.")],
    target: Annotated[str, typer.Option(help="The sample's column with what came true, for a benchmark.")] = "",
    job: Annotated[
        str, typer.Option(help="The job whose columns and outputs it gets; else the one that names it.")
    ] = "",
    format_: Annotated[str, typer.Option("--format", help="Its format, where the file's ending does not say it.")] = "",
    also: Annotated[
        str, typer.Option(help="Another format to convert it to, such as onnx, as a version after it.")
    ] = "",
    allow: Annotated[
        list[str] | None, typer.Option(help="A type that the file may name, as module.Name; once for each.")
    ] = None,
    interpreter: Annotated[
        str, typer.Option(help="NAME of LAMPLIGHTER_PYTHON_<NAME>: the environment that must load it, as sklearn17.")
    ] = "",
    adapter: Annotated[
        str, typer.Option(help="module:function of the project, that makes of a frame what the model takes.")
    ] = "",
    output_adapter: Annotated[
        str, typer.Option(help="module:function of the project, that makes columns of what the model returns.")
    ] = "",
    input_: Annotated[
        list[str] | None,
        typer.Option("--input", help="A column that the model takes, where it names none itself; once for each."),
    ] = None,
    compile_: Annotated[
        bool, typer.Option("--compile", help="Compile its trees, where they score as scikit-learn's do.")
    ] = False,
    no_alias: Annotated[
        bool, typer.Option("--no-alias", help="Let no alias name it, though it is the model's first version.")
    ] = False,
    card: Annotated[list[str] | None, typer.Option(help="KEY=TEXT for the model card; once for each.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register a model that you already have: inputs, outputs and profile are worked out from a sample.

    The first version of a model is production from then on; every other one waits for `promote`.
    """
    from tasks.core.models.registering.given import Given, check_adapters, check_compiled, job_of  # noqa: PLC0415
    from tasks.core.models.registering.model_file import read_model_file  # noqa: PLC0415
    from tasks.core.models.registering.sample import read_sample  # noqa: PLC0415

    file = read_model_file(model, format_)
    given = Given(
        name=name,
        sample=read_sample(reference),
        target=target,
        job=job_of(the_project(), name, job),
        allowed_types=tuple(allow or ()),
        interpreter=interpreter_name(interpreter) if interpreter else None,
        adapter=adapter or None,
        output_adapter=output_adapter or None,
        inputs=tuple(input_ or ()),
        compile_trees=compile_,
        card=_fields(card or []),
    )
    check_adapters(given)
    check_compiled(given)
    # Only listed here: nothing in the file has run.
    needed = [
        each
        for each in file.types_to_accept(given.interpreter)
        if each not in (given.job.model.allowed_types if given.job else ())
    ]
    done = _Done([])
    error = None
    try:
        _register(file, given, also, done, needed, may_be_production=not no_alias, quiet=as_json)
    except LamplighterError as kept_from:
        error = kept_from
    if as_json:
        echo_json(
            {
                "versions": [_facts(one) for one in done.versions],
                "production": done.production,
                "allowed_types": needed,
                "error": error_as_dict(error),
            }
        )
    if error is not None:
        if not as_json:
            raise error
        raise typer.Exit(error.exit_code)


@dataclass
class _Done:
    """What was registered so far, and which of it production names from now on."""

    versions: list[Registered]
    production: int | None = None


def _register(
    file: ModelFile,
    given: Given,
    also: str,
    done: _Done,
    needed: list[str],
    *,
    may_be_production: bool,
    quiet: bool,
) -> None:
    """Registers, and tells of each version as soon as it stands: what comes after it may fail."""
    from tasks.core import provenance  # noqa: PLC0415
    from tasks.core.models.registering import registration  # noqa: PLC0415
    from tasks.core.models.registering.model_file import allow_lines  # noqa: PLC0415

    if needed and not quiet:
        paragraph(
            "The job that scores with it needs these lines, of a person who accepts them:",
            "",
            *allow_lines(needed),
            "",
        )
    registry, now, actor = the_registry(), dt.datetime.now(dt.UTC), provenance.actor()
    first = registration.register_file(registry, file, given, at=now, actor=actor)
    done.versions.append(first)
    if not quiet:
        _tell(first)
    if may_be_production:
        done.production, said = _as_production(registry, first.version, actor)
        if said and not quiet:
            paragraph(said)
    if also:
        done.versions.append(registration.register_twin(registry, first, also, given, at=now, actor=actor))
        if not quiet:
            _tell(done.versions[-1])
    if not quiet:
        paragraph(f"Next: {_next_step(given, first.version, is_production=done.production is not None)}")


def _as_production(registry: Registry, version: ModelVersion, actor: str) -> tuple[int | None, str]:
    """The version's number where it is production now, and what is to be said."""
    from tasks.core.models.registering import first_production  # noqa: PLC0415

    if first_production.has_had_production(registry, version.name):
        return None, ""
    if why_not := first_production.why_not_production(the_project(), version.name):
        return None, f"No alias was moved: {why_not}."
    if not first_production.make_production(registry, version, at=dt.datetime.now(dt.UTC), actor=actor):
        return None, "No alias was moved: another version has just become production."
    from tasks.report_model import write_model_page  # noqa: PLC0415

    write_model_page(version.name)
    return version.version, (
        f"It is production from now on: it is the first version of {version.name}, and there is nothing to hold it against."
    )


def _next_step(given: Given, version: ModelVersion, *, is_production: bool) -> str:
    from tasks.core.definitions.project import suite_key  # noqa: PLC0415

    if not is_production:
        return f'lamplighter promote {given.name} --version {version.version} --reason "why"'
    if given.job is None:
        return f"write a job that names the model (model: {{ name: {given.name} }}), then: lamplighter check"
    if given.job.suite is None or not the_project().folder.exists(suite_key(given.job.suite)):
        return f"lamplighter suggest {given.job.job} --as-of {newest_window(given.job)}"
    return "lamplighter check"


def _tell(registered: Registered) -> None:
    version = registered.version
    paragraph(f"Registered {version}, in {version.format}: it passed the load gate. Digest {version.digest[:16]}.")
    if off := (registered.candidate.card or {}).get("largest_difference"):
        paragraph(f"It takes and gives what the version does that it was made from; the largest difference is {off}.")
    else:
        _tell_schema(version)
        _tell_benchmark(registered.candidate.benchmark)
    for remark in registered.remarks:
        paragraph(f"Note: {remark}")


def _tell_schema(version: ModelVersion) -> None:
    table(("input", "type", ""), [(one.name, one.type, _in_words(one)) for one in version.inputs.columns])
    console.print()
    outputs = [(name, one.type, _made_by(one)) for name, one in version.outputs.items()]
    table(("output", "type", ""), outputs)
    console.print()
    if version.signature.adapter:
        paragraph(f"Before the model stands {version.signature.adapter}: it is given a frame of these inputs.")
    if version.signature.output_adapter:
        paragraph(
            f"Behind the model stands {version.signature.output_adapter}: the columns are taken from what it returns."
        )
    if never := [one.name for one in version.inputs.columns if not one.nullable]:
        paragraph(
            f"A row in which {' or '.join(never)} is missing will not be scored: the sample has none. If the model takes "
            "such rows, register it with a sample that has some."
        )


def _tell_benchmark(benchmark: dict[str, Any]) -> None:
    if metrics := benchmark.get("metrics"):
        shown = (f"{one['name']} {one['value']:.4g} ({one['low']:.4g} to {one['high']:.4g})" for one in metrics)
        paragraph(f"Benchmark, {benchmark['note']}: {', '.join(shown)}")


def _in_words(column: InputColumn) -> str:
    kind = f"a category of {len(column.categories or ())}" if column.encoding == "category" else ""
    return ", ".join(filter(None, [kind, "" if column.nullable else "never missing"]))


def _made_by(output: Prediction) -> str:
    return output.method if output.class_ is None else f"{output.method} of {output.class_!r}"


def _facts(registered: Registered) -> dict[str, Any]:
    version = registered.version
    return {
        "model": version.name,
        "version": version.version,
        "digest": version.digest,
        "signature": version.signature.model_dump(mode="json", by_alias=True),
        "benchmark": registered.candidate.benchmark,
        "compiled": version.signature.compiled,
        "remarks": list(registered.remarks),
    }


def _fields(given: list[str]) -> dict[str, str]:
    fields = dict(each.partition("=")[::2] for each in given)
    if wrong := [each for each in given if "=" not in each or each.startswith("=")]:
        raise DefinitionError(f"--card '{wrong[0]}' is not KEY=TEXT", next_step='give it as --card owner="the team"')
    return fields
