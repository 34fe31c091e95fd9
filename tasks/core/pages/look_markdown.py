"""What a look at a job has found, for Prefect's artifacts: in words, in Markdown, and as the rows of a table."""

from __future__ import annotations

from tasks.core.monitoring.records import Alarm, Monitored, WindowPerformance
from tasks.core.pages import drift_view, verdicts, wording
from tasks.core.pages.estimate_view import record_lines, record_sentence
from tasks.core.pages.heat_map import farthest, in_words
from tasks.core.pages.markdown import address, code, escape, escape_kept, markdown_table
from tasks.core.pages.monitoring_view import KINDS, open_alarms, rate_lines, rate_sentence, tiles_of
from tasks.core.pages.performance_view import benchmark_of, interval_words, metric_name, metrics_of

_MOST = 10
_SIGNS = {"good": "✅", "warn": "⚠️", "stop": "⛔", "bad": "❌", "idle": "⏳"}


def look_in_words(found: Monitored) -> str:
    """The state of a job in one line."""
    alarms = open_alarms(found)
    if not alarms:
        return "no alarm is open"
    return "; ".join(f"{KINDS[one.kind][0].lower()} since {wording.cut(one.onset, 40)}" for one in alarms)


def look_rows(found: Monitored) -> list[dict[str, str]]:
    """The look in figures, one a row."""
    return [{"figure": name, "value": wording.printable(value)} for name, value in _figures(found)]


def look_markdown(found: Monitored, report_href: str | None = None) -> str:
    """The look as Markdown: what is wrong first; what comes from data is escaped."""
    alarms = open_alarms(found)
    sign = _SIGNS[KINDS[alarms[0].kind][2] if alarms else "good"]
    blocks = [
        f"# {sign} {escape(found.job)} as of {escape(found.as_of)}: {escape(look_in_words(found))}",
        *(_alarm(one) for one in alarms[:_MOST]),
        _where(report_href) if report_href else "",
        markdown_table(("Figure", "Value"), [(name, escape(value)) for name, value in _figures(found)]),
        _newest_windows(found),
        _moved(found),
        "\n".join(f"- {escape(wording.cut(one, 600))}" for one in found.notes[:_MOST]),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _figures(found: Monitored) -> list[tuple[str, str]]:
    return [
        ("open alarms", wording.count(len(found.open_alarms))),
        *((tile.name.lower(), f"{tile.words}: {tile.detail}") for tile in tiles_of(found)),
        *(
            (f"estimates of {line.metric} by {line.version}", f"{line.words}: {record_sentence(line.record)}")
            for line in record_lines(found)
        ),
        *(
            ("false alarms expected of the " + line.name, rate_sentence(line.name, line.rate))
            for line in rate_lines(found)
        ),
        ("alarms before", wording.count(len(found.alarms) - len(found.open_alarms))),
    ]


def _alarm(alarm: Alarm) -> str:
    lines = [
        f"**{KINDS[alarm.kind][0]} since {escape(wording.cut(alarm.onset, 40))}.** {escape(wording.cut(alarm.reason, 900))}"
    ]
    if alarm.next_step:
        pieces = verdicts.pieces(verdicts.capitalised(alarm.next_step))
        lines.append(f"**Next:** {''.join(code(one.text) if one.is_code else escape_kept(one.text) for one in pieces)}")
    return "\n\n".join(lines)


def _where(report: str) -> str:
    if report.startswith(("http://", "https://")):
        return f"[The report of this job](<{address(report)}>)"
    return f"The report of this job: {code(report)}"


def _newest_windows(found: Monitored) -> str:
    metric = next(iter(metrics_of(found)), "")
    newest = sorted(found.windows, key=lambda one: (one.unit, one.as_of), reverse=True)[:_MOST]
    if not metric or not newest:
        return ""
    head = ("Window", metric_name(metric), "Benchmark", "Truth less prediction", "Labels", "As of")
    return "## The newest windows with labels\n\n" + markdown_table(
        [escape(one) for one in head], [_row(found, one, metric) for one in newest]
    )


def _row(found: Monitored, one: WindowPerformance, metric: str) -> tuple[str, ...]:
    figure = one.metrics.get(metric)
    cells = (
        one.as_of,
        interval_words(figure) if figure else wording.UNKNOWN,
        interval_words(benchmark_of(found, one.model, metric)),
        wording.signed(one.bias.value),
        wording.share(one.label_share),
        one.labels_as_of,
    )
    return tuple(escape(wording.cut(cell, 80)) for cell in cells)


def _moved(found: Monitored) -> str:
    now = drift_view.standing(found.drift)
    columns = farthest(now.point.columns, _MOST) if now else []
    if not columns:
        return ""
    rows = [
        (escape(wording.cut(one.column, 80)), escape(in_words(one)), f"{one.z:.1f}", "yes" if one.explains else "")
        for one in columns
    ]
    return "## Farthest from what is usual\n\n" + markdown_table(
        ("Column", "What moved", "Spreads", "Stands out"), rows
    )
