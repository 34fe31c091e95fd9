"""The command `monitor`: a job is looked at as its labels arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import app
from flows.cli.many import raise_worst, summary_of
from flows.cli.output import echo_json, paragraph, table
from flows.cli.places import the_lake
from flows.cli.run import AsJson, JobArgument, definition_of, error_as_dict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.core.errors import LamplighterError
    from tasks.core.monitoring.finding import Finding
    from tasks.core.monitoring.records import Alarm, Monitored
    from tasks.core.runs.manifest import Interval

_ALARMS = ("alarm", "since", "until", "statistic", "line", "why")
_RATES = ("alarms of", "a year", "95 % interval", "asked for")
_FIGURES = ("figure", "of the last block", "benchmark", "its 95 % interval")
_NUMBERS = ("statistic", "line", "a year", "asked for", "of the last block", "benchmark")
_MOST_ALARMS, _MOST_NOTES = 10, 8
_LONGEST_WHY = 300
_OF = {"drifted": "the data", "degraded": "the performance"}


@app.command()
def monitor(
    context: typer.Context,
    job: JobArgument,
    as_of: Annotated[
        str, typer.Option("--as-of", help="Look as of the end of this day, as 2013-07-01; else as of now.")
    ] = "now",
    *,
    backtest: Annotated[
        bool,
        typer.Option(
            "--backtest", help="Replay past windows instead: alarms a year, and the delay to detect injected shifts."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look at what was published as labels arrive: performance, drift, and alarms, each of which is told once.

    Exit code 0 also where there is an alarm: the look went well. 1: labels that were due could not be used; all else was
    looked at. 2: there is no such job or day.
    """
    definition_of(job)
    if backtest:
        from flows.cli.backtest import tell_backtest  # noqa: PLC0415

        tell_backtest(job, as_json=as_json)
        return
    done, error = summary_of("flows.monitor", "monitor", job, as_of, debug=bool(context.obj))
    if as_json:
        echo_json(_facts(done, error))
    else:
        _tell(done)
    raise_worst(error, as_json=as_json)


def _facts(done: Finding, error: LamplighterError | None) -> dict[str, object]:
    return {
        "state": done.state_name,
        "monitored": done.found.model_dump(mode="json"),
        "told": [one.model_dump(mode="json") for one in done.told],
        "windows_measured": done.measured,
        "error": error_as_dict(error),
    }


def _tell(done: Finding) -> None:
    from tasks.core import layout  # noqa: PLC0415
    from tasks.core.monitoring.finding import completeness  # noqa: PLC0415

    found = done.found
    paragraph(str(done))
    if found.model:
        paragraph(f"Model {found.model}. {completeness(found)}")
    _tell_alarms(found)
    figures = list(_last_figures(found))
    if figures:
        table(_FIGURES, figures, numbers=_NUMBERS)
    if found.rates:
        table(_RATES, _rates(found), numbers=_NUMBERS)
    for note in found.notes[:_MOST_NOTES]:
        paragraph(f"Note: {note}")
    if len(found.notes) > _MOST_NOTES:
        paragraph(f"And {len(found.notes) - _MOST_NOTES} notes more: --json has all.")
    if done.told:
        paragraph(f"Told just now: {len(done.told)}.")
    paragraph(f"Pages: {the_lake().address(layout.index_page(found.job))}")
    for step in dict.fromkeys(one.next_step for one in found.open_alarms if one.next_step):
        paragraph(f"Next: {step}")


def _tell_alarms(found: Monitored) -> None:
    if not found.alarms:
        return
    newest = sorted(found.alarms, key=lambda one: one.onset)[-_MOST_ALARMS:]
    table(_ALARMS, [_alarm_row(one) for one in newest], numbers=_NUMBERS)
    if len(found.alarms) > _MOST_ALARMS:
        paragraph(f"And {len(found.alarms) - _MOST_ALARMS} before: --json has all.")


def _alarm_row(one: Alarm) -> tuple[str, ...]:
    from tasks.core.pages.wording import cut, number  # noqa: PLC0415

    figures = ("" if value is None else number(value) for value in (one.statistic, one.line))
    return (one.kind.replace("_", " "), one.onset, one.until or "now", *figures, cut(one.reason, _LONGEST_WHY))


def _rates(found: Monitored) -> Iterator[tuple[str, ...]]:
    """What the line really stands for, beside what the job allows."""
    from tasks.core.pages.wording import number  # noqa: PLC0415

    for cause, rate in found.rates.items():
        interval = f"{number(rate.low)} to {number(rate.high)}"
        yield _OF[cause], number(rate.per_year), interval, number(found.false_alarms_per_year / len(_OF))


def _last_figures(found: Monitored) -> Iterator[tuple[str, ...]]:
    """The last block of which labels have come, beside the benchmark of the version that made it."""
    from tasks.core.pages.wording import number  # noqa: PLC0415

    if not found.performance:
        return
    last = found.performance[-1]
    benchmark = found.benchmarks.get(last.model, {})
    for name, value in last.figures.items():
        accepted: Interval | None = benchmark.get(name)
        interval = (
            "" if accepted is None or accepted.low is None else f"{number(accepted.low)} to {number(accepted.high)}"
        )
        yield name, number(value), "" if accepted is None else number(accepted.value), interval
