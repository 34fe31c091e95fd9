"""The command line: thin commands over the flows and the lake. Heavy modules are imported by the command that needs them."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType
from typing import Annotated

import typer

from tasks.core.errors import LamplighterError
from tasks.core.harmless import harmless_lines

app = typer.Typer(
    name="lamplighter",
    help="Scores new data with the production model, on a schedule, and accounts for every row.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and every log line.")] = False,
) -> None:
    from tasks.core.logs import show_lines  # noqa: PLC0415

    context.obj = debug
    # Which setting is wrong, `settings` says itself, after its table.
    if context.invoked_subcommand != "settings":
        show_lines(usual_level="debug" if debug else None)


def main() -> None:
    """Runs a command. Exit codes: 0 published or fine, 3 blocked, 2 usage or definition error, 1 failure."""
    from flows.cli import (  # noqa: F401, PLC0415
        audit,
        automations,
        backfill,
        challenge,
        compare,
        compat,
        define,
        deliver,
        demo,
        deploy,
        init,
        leak_check,
        look,
        models,
        monitor,
        pages,
        promote,
        prune,
        quarantine,
        recall,
        register,
        release,
        run,
        settings,
        status,
        suggest,
        up,
    )
    from flows.cli.output import complain  # noqa: PLC0415

    debug = "--debug" in sys.argv
    try:
        app()
    except LamplighterError as error:
        if debug:
            sys.excepthook = _tell_trace
            raise
        complain(f"lamplighter: {error}")
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            sys.excepthook = _tell_trace
            raise
        first = (str(error).splitlines() or [""])[0]
        complain(
            f"lamplighter: {type(error).__name__}: {first}. This was not foreseen; what was published stands. "
            "Next: run it again as lamplighter --debug ..., for the traceback"
        )
        sys.exit(1)


def _tell_trace(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """As Python tells of an error, but a terminal obeys nothing that the error repeats."""
    text = "".join(traceback.format_exception(kind, error, trace))
    typer.echo(harmless_lines(text), err=True, nl=False)
