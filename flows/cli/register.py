"""The command `register`: a model that somebody already has becomes a version in the registry."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import app
from flows.cli.compat import interpreter_name
from flows.cli.output import console, echo_json, paragraph, table
from flows.cli.places import the_project, the_registry
from flows.cli.run import AsJson, error_as_dict
from tasks.core.errors import DefinitionError, LamplighterError

if TYPE_CHECKING:
    from tasks.core.definitions.modelling import Prediction
    from tasks.core.models.model_version import InputColumn, ModelVersion
    from tasks.core.models.registering.model_file import ModelFile
    from tasks.core.models.registering.registration import Given, Registered


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
    card: Annotated[list[str] | None, typer.Option(help="KEY=TEXT for the model card; once for each.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register a model that you already have: inputs, outputs and profile are worked out from a sample. Moves no alias."""
    from tasks.core.models.registering import registration  # noqa: PLC0415
    from tasks.core.models.registering.model_file import read_model_file  # noqa: PLC0415
    from tasks.core.models.registering.sample import read_sample  # noqa: PLC0415

    file = read_model_file(model, format_)
    given = registration.Given(
        name=name,
        sample=read_sample(reference),
        target=target,
        job=registration.job_of(the_project(), name, job),
        allowed_types=tuple(allow or ()),
        interpreter=interpreter_name(interpreter) if interpreter else None,
        card=_fields(card or []),
    )
    # Only listed here: nothing in the file has run.
    needed = [
        each
        for each in file.types_to_accept(given.interpreter)
        if each not in (given.job.model.allowed_types if given.job else ())
    ]
    done: list[Registered] = []
    error = None
    try:
        _register(file, given, also, done, needed, quiet=as_json)
    except LamplighterError as kept_from:
        error = kept_from
    if as_json:
        said = {"versions": [_facts(one) for one in done], "allowed_types": needed, "error": error_as_dict(error)}
        echo_json(said)
    if error is not None:
        if not as_json:
            raise error
        raise typer.Exit(error.exit_code)


def _register(
    file: ModelFile, given: Given, also: str, done: list[Registered], needed: list[str], *, quiet: bool
) -> None:
    """Registers, and tells of each version as soon as it stands: what comes after it may fail."""
    from tasks.core import provenance  # noqa: PLC0415
    from tasks.core.models.registering import registration  # noqa: PLC0415
    from tasks.core.models.registering.model_file import allow_lines  # noqa: PLC0415

    if needed and not quiet:
        paragraph(
            f"The job that scores with it needs these lines, of a person who accepts them:\n\n{allow_lines(needed)}\n"
        )
    registry, now, actor = the_registry(), dt.datetime.now(dt.UTC), provenance.actor()
    done.append(registration.register_file(registry, file, given, at=now, actor=actor))
    if not quiet:
        _tell(done[-1])
    if also:
        done.append(registration.register_twin(registry, done[0], also, given, at=now, actor=actor))
        if not quiet:
            _tell(done[-1])
    if not quiet:
        number = done[0].version.version
        paragraph(f'Next: lamplighter promote {given.name} --version {number} --reason "why"')


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
        "remarks": list(registered.remarks),
    }


def _fields(given: list[str]) -> dict[str, str]:
    fields = dict(each.partition("=")[::2] for each in given)
    if wrong := [each for each in given if "=" not in each or each.startswith("=")]:
        raise DefinitionError(f"--card '{wrong[0]}' is not KEY=TEXT", next_step='give it as --card owner="the team"')
    return fields
