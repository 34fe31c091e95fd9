"""The figures of a run as rows of the metrics table: one a line, so that any tool can draw any of them over time."""

from __future__ import annotations

from tasks.core.runs.manifest import Manifest, SuiteRecord

Row = tuple[str, str, float]


def of_run(manifest: Manifest) -> list[Row]:
    """Metric, what it is of (empty for the run as a whole), and the value; a figure that there is not has no row."""
    return [
        *_of_rows(manifest),
        *_of_volume(manifest),
        *_of_suite(manifest.suite, "expectation"),
        *_of_suite(manifest.output_suite, "output_expectation"),
        *_of_drift(manifest),
        *_of_estimates(manifest),
        *_of_acceptances(manifest),
        *_of_stages(manifest),
    ]


def _of_rows(manifest: Manifest) -> list[Row]:
    counts = manifest.rows
    by_fate = {name: float(getattr(counts, name)) for name in ("pulled", "scored", "quarantined", "duplicates")}
    return [
        *((f"rows_{fate}", "", count) for fate, count in by_fate.items()),
        ("quarantine_share", "", counts.quarantine_share),
        *(("rows_quarantined_by_reason", reason, float(n)) for reason, n in manifest.quarantine_reasons.items()),
    ]


def _of_volume(manifest: Manifest) -> list[Row]:
    volume = manifest.volume
    return [("rows_scored_of_median", "", volume.scored / volume.median)] if volume and volume.median else []


def _of_suite(suite: SuiteRecord | None, name: str) -> list[Row]:
    rows: list[Row] = []
    for one in suite.expectations if suite else ():
        subject = f"{one.type}({', '.join(one.columns)})"
        rows.append((f"{name}_success", subject, float(one.success)))
        if one.unexpected_count is not None:
            rows.append((f"{name}_unexpected_rows", subject, float(one.unexpected_count)))
    return rows


def _of_drift(manifest: Manifest) -> list[Row]:
    distances = ("psi", "jensen_shannon", "kolmogorov_smirnov", "wasserstein", "chi_squared", "cramers_v")
    return [
        (name, feature.column, float(value))
        for feature in manifest.drift
        for name in (*distances, "missing_share", "new_category_share")
        if (value := getattr(feature, name)) is not None
    ]


def _of_estimates(manifest: Manifest) -> list[Row]:
    """estimated_roc_auc, and the ends of its interval as estimated_roc_auc_low and _high; of each metric so."""
    figures = {
        f"estimated_{metric}{end}": value
        for metric, one in manifest.estimates.items()
        for end, value in (("", one.value), ("_low", one.low), ("_high", one.high))
    }
    return [(name, "", value) for name, value in figures.items() if value is not None]


def _of_acceptances(manifest: Manifest) -> list[Row]:
    """1 for a gate that failed and was accepted, 0 for one whose acceptance was not needed."""
    return [("accepted", one.gate, float(one.needed)) for one in manifest.acceptances]


def _of_stages(manifest: Manifest) -> list[Row]:
    return [("stage_seconds", timing.stage, timing.seconds) for timing in manifest.timings]
