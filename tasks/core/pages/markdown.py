"""The same figures for Prefect's artifacts: a page in Markdown, and the rows of a table."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasks.core.pages import verdicts, wording
from tasks.core.pages.challenger_view import sentence
from tasks.core.pages.inputs import run_seconds
from tasks.core.pages.window_view import feature_drift, outcomes, prediction_notes, rows_per_second
from tasks.core.runs.challenger import Beside
from tasks.core.runs.manifest import Manifest

_MOST = 10
# What has a meaning anywhere in a line; what some make a link of, though nobody wrote one; and what begins a list.
_SPECIAL = re.compile(r"([\\`*_{}\[\]#+!|~$@]|:(?=/)|(?<=\bwww)\.|^[-=](?=[\s=-])|(?<=^\d)[.)](?=\s))", re.IGNORECASE)
_SIGNS = {"good": "✅", "warn": "⚠️", "stop": "⛔", "bad": "❌", "idle": "⏳"}


def summary_rows(manifest: Manifest, challenger: Beside | None = None) -> list[dict[str, str]]:
    """The run in figures, one a row, for a table artifact."""
    return [{"figure": name, "value": wording.printable(value)} for name, value in _figures(manifest, challenger)]


def render_markdown(manifest: Manifest, report_href: str | None = None, challenger: Beside | None = None) -> str:
    """The run as Markdown: verdict first; values of the data are escaped, so that none becomes a link or a tag."""
    headline = verdicts.headline(manifest)
    blocks = [
        f"# {_SIGNS[headline.tone]} {headline.words}: {escape(manifest.job)} {escape(manifest.as_of)}",
        headline.sentence,
        "\n".join(f"- {escape(wording.cut(reason, 600))}" for reason in manifest.reasons[:_MOST]),
        "\n".join(
            f"- **Accepted:** {escape(wording.cut(verdicts.acceptance(one), 900))}" for one in manifest.acceptances
        ),
        f"**Next:** {_sentence(verdicts.next_step(manifest))}",
        _where(report_href) if report_href else "",
        markdown_table(("Figure", "Value"), [(name, escape(value)) for name, value in _figures(manifest, challenger)]),
        "\n".join(f"- {escape(note)}" for note in prediction_notes(manifest)),
        _expectations(manifest),
        _quarantine(manifest),
        _drift(manifest),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def escape(text: str) -> str:
    """Text as Markdown that shows it as it is, on one line."""
    flat = " ".join(wording.printable(text).split())
    return _SPECIAL.sub(r"\\\1", flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def _figures(manifest: Manifest, challenger: Beside | None) -> list[tuple[str, str]]:
    rows, model = manifest.rows, manifest.model
    drift = feature_drift(manifest)
    return [
        ("verdict", verdicts.headline(manifest).words),
        ("window", f"{manifest.as_of} ({_bounds(manifest)})"),
        ("rows pulled", wording.count(rows.pulled)),
        ("rows scored", wording.count(rows.scored)),
        ("rows in quarantine", f"{wording.count(rows.quarantined)} ({wording.share(rows.quarantine_share)})"),
        ("exact duplicates", wording.count(rows.duplicates)),
        *([("changes", wording.cut(manifest.changes.sentence, 400))] if manifest.changes else []),
        ("expectations that did not hold", _failed_count(manifest)),
        (
            "largest PSI",
            f"{wording.number(drift[0].psi)} ({wording.cut(drift[0].column, 80)})" if drift else wording.UNKNOWN,
        ),
        ("time", wording.seconds(run_seconds(manifest))),
        ("rows a second", wording.count(rows_per_second(manifest))),
        ("peak memory", wording.size(manifest.peak_memory_bytes)),
        ("model", f"{model.name} version {model.version}"),
        ("readers see", verdicts.readers_see(manifest, None) if manifest.is_published else "what they saw before"),
        *(("accepted", one.told if one.needed else f"{one.gate} was not needed") for one in manifest.acceptances),
        *([("challenger", wording.cut(sentence(challenger), 400))] if challenger and sentence(challenger) else []),
        ("run", manifest.run_id),
    ]


def _bounds(manifest: Manifest) -> str:
    window = manifest.window
    return wording.window_bounds(window.start, window.end, window.timezone)


def _failed_count(manifest: Manifest) -> str:
    if manifest.suite is None:
        return "none was checked"
    failed = sum(not _held(one.consequence, one.success) for one in manifest.suite.expectations)
    return f"{wording.count(failed)} of {wording.count(len(manifest.suite.expectations))}"


def _held(consequence: str, success: bool) -> bool:
    return consequence == "passed" and success


def _sentence(sentence: str) -> str:
    return "".join(code(one.text) if one.is_code else escape_kept(one.text) for one in verdicts.pieces(sentence))


def _where(report: str) -> str:
    """A link where a server shows the report; no browser follows one to a file, so of that the path."""
    if report.startswith(("http://", "https://")):
        return f"[The report of this window](<{address(report)}>)"
    return f"The report of this window: {code(report)}"


def escape_kept(text: str) -> str:
    """As escape, with the blanks at both ends kept as one."""
    return f"{' ' if text[:1].isspace() else ''}{escape(text)}{' ' if text[-1:].isspace() else ''}"


def code(text: str) -> str:
    """Text as Markdown sets code."""
    return f"`{' '.join(wording.printable(text).replace('`', '').split())}`"


def address(href: str) -> str:
    """An address as it may stand within the angle brackets of a link."""
    return re.sub(r"[<>\s]", lambda found: f"%{ord(found[0]):02X}", wording.printable(href))


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are escaped already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _expectations(manifest: Manifest) -> str:
    failed = [one for one in outcomes(manifest) if not _held(one.record.consequence, one.record.success)]
    if not failed:
        return ""
    rows = [
        (
            one.consequence,
            escape(wording.cut(one.record.sentence)),
            escape(one.counted),
            escape(wording.cut(", ".join(one.examples[:3]), 120)),
        )
        for one in failed[:_MOST]
    ]
    return (
        "## Expectations that did not hold\n\n"
        + markdown_table(("What follows", "Expectation", "Rows", "Examples"), rows)
        + _more(len(failed))
    )


def _quarantine(manifest: Manifest) -> str:
    ranked = sorted(manifest.quarantine_reasons.items(), key=lambda item: (-item[1], item[0]))
    if not ranked:
        return ""
    rows = [(escape(wording.cut(reason)), wording.count(amount)) for reason, amount in ranked[:_MOST]]
    return "## Quarantine\n\n" + markdown_table(("Reason", "Rows"), rows) + _more(len(ranked))


def _drift(manifest: Manifest) -> str:
    ranked = feature_drift(manifest)
    if not ranked:
        return ""
    rows = [
        (escape(wording.cut(one.column, 80)), wording.number(one.psi), wording.share(one.missing_share))
        for one in ranked[:_MOST]
    ]
    return (
        "## Farthest from the reference\n\n" + markdown_table(("Feature", "PSI", "Missing"), rows) + _more(len(ranked))
    )


def _more(all_of_them: int) -> str:
    return f"\n\n{_MOST} of {wording.count(all_of_them)} are shown." if all_of_them > _MOST else ""
