"""How many rows a window has, against the median of those published before it."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable

from tasks.core.definitions.output import Volume
from tasks.core.runs.manifest import Manifest, VolumeRecord

_FEWEST_WINDOWS = 3


def accepted(judged: VolumeRecord | None) -> VolumeRecord | None:
    """The same, where somebody has said that it may not block this once."""
    blocks = judged is not None and judged.consequence == "blocks"
    return judged.model_copy(update={"consequence": "accepted"}) if judged and blocks else judged


def judge(rule: Volume, scored: int, earlier: Iterable[Manifest]) -> VolumeRecord | None:
    """Rows scored against the rule; None while too few windows were published. `earlier` has the latest first."""
    counts = [one.rows.scored for one in itertools.islice(earlier, rule.windows)]
    if len(counts) < _FEWEST_WINDOWS:
        return None
    median = float(statistics.median(counts))
    least, most = (share * median for share in rule.of_median)
    held = least <= scored <= most
    consequence = "passed" if held else "blocks" if rule.severity == "critical" else "warns"
    return VolumeRecord.model_validate(
        {
            "scored": scored,
            "median": median,
            "windows": len(counts),
            "least": least,
            "most": most,
            "severity": rule.severity,
            "consequence": consequence,
            "sentence": f"{scored:,} rows were scored, and {least:,.10g} to {most:,.10g} are expected: "
            f"the median of the {len(counts)} windows before is {median:,.10g}",
        }
    )
