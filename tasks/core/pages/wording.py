"""Numbers, shares, times and sizes as people write them. What is not known, or not a number, is a dash."""

from __future__ import annotations

import datetime as dt
import math
import re
from zoneinfo import ZoneInfo

UNKNOWN, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
_LONGEST = 200
# What XML and HTML cannot hold, or UTF-8 cannot: control characters, halves of surrogate pairs, two non-characters.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_MINUTE, _HOUR = 60, 3600
_HUNDRED, _THOUSAND = 100, 1000
_ABSURD = 1e15  # No count, share, time or size is larger; written out it would fill a line.
_SMALL, _TINY = 0.01, 0.0001


def printable(text: str) -> str:
    """The text with every character that a page cannot hold replaced by U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", text)


def cut(text: str | None, longest: int = _LONGEST) -> str:
    """At most so many characters, with an ellipsis where some are left out; a dash for None."""
    if text is None:
        return UNKNOWN
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def count(value: float | None) -> str:
    """1234567 is 1,234,567."""
    return number(value) if value is None or not abs(value) < _ABSURD else f"{value:,.0f}"


def share(value: float | None) -> str:
    """0.021 is 2.1 %. Nothing is rounded to none or to all."""
    if value is None or not abs(value) < _ABSURD:
        return UNKNOWN
    if value in (0, 1):
        return f"{value * 100:.0f} %"
    to_an_end = min(abs(value), abs(1 - value))
    if to_an_end < _TINY:
        return "< 0.01 %" if value < 1 - value else "> 99.99 %"
    return f"{value * 100:.{2 if to_an_end < _SMALL else 1}f} %"


def points(difference: float) -> str:
    """A difference of two shares: 0.013 is 1.3 points."""
    return f"{abs(difference) * 100:.1f} points"


def number(value: float | None) -> str:
    """A figure to three digits: 0.0344, 12.3, 1,234."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return _infinite(value)
    if value != 0 and not _TINY <= abs(value) < _ABSURD:
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= _THOUSAND else f"{value:.3g}"


def rough(value: float | None) -> str:
    """A figure to two digits, for what is known no better: 0.051, 3.8."""
    return number(value) if value is None or not _TINY <= abs(value) < _HUNDRED else f"{value:.2g}"


def signed(value: float | None) -> str:
    """A difference to three decimals, with its sign."""
    if value is None or math.isnan(value):
        return UNKNOWN
    sign = MINUS if value < 0 else "+" if value > 0 else ""
    return f"{sign}{fixed(abs(value))}"


def figure(value: float | None) -> str:
    """As number, with its zeros at the end, so that a column of them is easy to compare: 0.180, 12.0."""
    if value is None or not _TINY <= abs(value) < _THOUSAND:
        return number(value)
    return f"{value:#.3g}".rstrip(".")


def fixed(value: float | None) -> str:
    """A statistic to three decimals, so that a column of them lines up."""
    if value is None or math.isnan(value):
        return UNKNOWN
    return f"{value:.3f}" if abs(value) < _ABSURD else number(value)


def seconds(value: float | None) -> str:
    """12 ms, 3.4 s, 2 min 5 s, 1 h 7 min."""
    if value is None or not abs(value) < _ABSURD:
        return UNKNOWN
    if value < 1:
        return f"{value * _THOUSAND:.0f} ms" if value >= 1 / _THOUSAND or value <= 0 else "< 1 ms"
    if value < _MINUTE:
        return f"{value:.1f} s"
    if value < _HOUR:
        return f"{int(value) // _MINUTE} min {int(value) % _MINUTE} s"
    return f"{int(value) // _HOUR:,} h {int(value) % _HOUR // _MINUTE} min"


def size(value: float | None) -> str:
    """Bytes in decimal units: 1234567 is 1.2 MB."""
    if value is None or not abs(value) < _ABSURD:
        return UNKNOWN
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if abs(value) < _THOUSAND or unit == "TB":
            break
        value /= _THOUSAND
    return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"


def plural(amount: int, noun: str) -> str:
    """1 row, 2 rows, 1,234 rows."""
    return f"{count(amount)} {noun}" if amount == 1 else f"{count(amount)} {noun}s"


def instant(value: dt.datetime | None) -> str:
    """2013-07-22 04:10:03 UTC; an instant without a zone is taken as UTC."""
    return UNKNOWN if value is None else f"{_utc(value):%Y-%m-%d %H:%M:%S} UTC"


def window_bounds(start: dt.datetime, end: dt.datetime, timezone: str) -> str:
    """The bounds on the window's own clock, then in UTC; one instant for a window that has no length."""
    zone = _zone(timezone)
    here = _span(_utc(start).astimezone(zone), _utc(end).astimezone(zone))
    if timezone == "UTC":
        return f"{here} UTC"
    return f"{here} {timezone} ({_span(_utc(start), _utc(end))} UTC)"


def window_name(as_of: str, start: dt.datetime, timezone: str) -> str:
    """The label, with the weekday where it is a date: Sunday 2013-07-21."""
    day = _utc(start).astimezone(_zone(timezone))
    return f"{day:%A} {as_of}" if as_of == f"{day:%Y-%m-%d}" else as_of


def _span(start: dt.datetime, end: dt.datetime) -> str:
    if start == end:
        return f"{start:%Y-%m-%d %H:%M}"
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"


def _zone(name: str) -> dt.tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return dt.UTC


def _utc(value: dt.datetime) -> dt.datetime:
    return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def _infinite(value: float) -> str:
    return "∞" if value > 0 else "-∞"
