"""What `monitor --backtest` prints: alarms a year, held against what is allowed, and the delay to find injected shifts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.cli.output import echo_json, paragraph, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.core.monitoring.backtest import Backtested, Counted
    from tasks.core.monitoring.records import Rate

_COUNTED = ("alarms of", "where", "from", "to", "alarms", "a year", "95 % interval", "allowed")
_SUMMARY = ("injected", "found", "median delay", "longest")
_SHIFTS = ("shift", "of", "size", "delay", "by")
_NUMBERS = ("alarms", "a year", "allowed", "median delay", "longest", "delay")
_END = {"past": "the end of its part", "published": "now"}
_WHERE = {"past": "each part of the past, against the others", "published": "published windows, as they were"}


def tell_backtest(job: str, *, as_json: bool) -> None:
    """Replays the past of the job's production model, and says what its alarms are worth."""
    from tasks.backtest import backtest_job  # noqa: PLC0415

    found = backtest_job(job)
    if as_json:
        echo_json(found.model_dump(mode="json"))
        return
    _tell(found)


def _tell(found: Backtested) -> None:
    past = found.calibration
    paragraph(
        f"{found.job}, scored by {found.model}: what is usual is known from {past.units} {past.unit}s, {past.first} to "
        f"{past.last}. Allowed are {found.false_alarms_per_year:g} false alarms a year, half for the data and half for the "
        "performance."
    )
    for of, rate in found.promised.items():
        paragraph(f"The line of the {of} stands for {_a_year(rate)}.")
    if found.counted:
        table(_COUNTED, [_count_row(one) for one in found.counted], numbers=_NUMBERS)
    for one in found.counted:
        for alarm in one.alarms:
            paragraph(f"{alarm.onset} to {alarm.until or _END[one.where]}: {alarm.reason}")
    if found.injected:
        paragraph(
            f"Shifts injected into {found.injected_into}, each by itself; the delay is in {past.unit}s, of {found.horizon} at "
            "the most:"
        )
        table(_SUMMARY, _summary_rows(found), numbers=_NUMBERS)
        table(_SHIFTS, _shift_rows(found), numbers=_NUMBERS)
    for sentence in past.assumptions:
        paragraph(f"Assumed: {sentence}")
    for note in found.notes:
        paragraph(f"Note: {note}")


def _a_year(rate: Rate) -> str:
    return f"{rate.per_year:.1f} a year while nothing changes (95 %: {rate.low:.2f} to {rate.high:.1f})"


def _count_row(one: Counted) -> tuple[str, ...]:
    interval = f"{one.rate.low:.1f} to {one.rate.high:.1f}"
    where = _WHERE[one.where]
    return (
        one.of,
        where,
        one.first,
        one.last,
        str(len(one.alarms)),
        f"{one.rate.per_year:.1f}",
        interval,
        f"{one.allowed:g}",
    )


def _summary_rows(found: Backtested) -> Iterator[tuple[str, ...]]:
    from tasks.core.monitoring.backtest import summary  # noqa: PLC0415

    for kind, (seen, of, median) in summary(found.injected).items():
        longest = max((one.delay for one in found.injected if one.kind == kind and one.delay), default=None)
        yield kind, f"{seen} of {of}", "" if median is None else f"{median:g}", "" if longest is None else str(longest)


def _shift_rows(found: Backtested) -> Iterator[tuple[str, ...]]:
    for one in found.injected:
        yield one.kind, one.column, one.size, "not found" if one.delay is None else str(one.delay), one.by
