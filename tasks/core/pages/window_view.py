"""The page of one window: what its template writes down, worked out from the manifest and the figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.core.pages import challenger_view, environment, reading, verdicts, window_monitoring, wording
from tasks.core.pages.distributions import Figure, draw
from tasks.core.pages.inputs import QuarantineExample, WindowPage, run_seconds
from tasks.core.profiles.figures import Distribution
from tasks.core.runs.manifest import ExpectationRecord, FeatureDriftRecord, Manifest, RowCounts

MOST_FIGURES, MOST_PREDICTIONS, MOST_DRIFT_ROWS, MOST_COLUMNS = 24, 6, 100, 200
MOST_EXPECTATIONS, MOST_REASONS, MOST_EXAMPLES, MOST_CELLS, MOST_FACTS = 50, 30, 5, 10, 60
MOST_MESSAGES = 2
EMPTY = "(empty)"

# Rules of thumb, and shown as such: below the first a feature moved little; a bar that is full moved much.
_LITTLE, _MUCH = 0.1, 0.25

_CONSEQUENCES = {
    "blocks": ("Blocks the run", "stop"),
    "accepted": ("Accepted", "warn"),
    "quarantines": ("Rows quarantined", "warn"),
    "warns": ("Warning", "warn"),
    "note": ("Note", "idle"),
    "passed": ("Held", "good"),
}


@dataclass(frozen=True)
class Fate:
    """What became of some of the rows pulled."""

    name: str
    kind: Literal["scored", "quarantined", "duplicates", "undecided"]
    rows: int
    share: float
    start: float


@dataclass(frozen=True)
class Outcome:
    """An expectation and what followed from it."""

    record: ExpectationRecord
    consequence: str
    tone: str
    counted: str
    examples: tuple[str, ...]


@dataclass(frozen=True)
class ReasonGroup:
    """The rows in quarantine for one reason, with a few of them as a table."""

    reason: str
    rows: int
    messages: tuple[str, ...]
    columns: tuple[str, ...]
    examples: tuple[tuple[tuple[str | None, bool], ...], ...]
    columns_left_out: int


@dataclass(frozen=True)
class DriftRow:
    """A feature's figures, the length of its bar, and where it is drawn."""

    record: FeatureDriftRecord
    bar: float
    anchor: str | None


@dataclass(frozen=True)
class Stage:
    """A stage's time, as it is and as the length of its bar."""

    stage: str
    seconds: float
    rows_per_second: float | None
    bar: float


@dataclass(frozen=True)
class Fact:
    """A line of the provenance; a digest is set as code."""

    name: str
    value: str
    is_code: bool = False


def render_window(page: WindowPage) -> str:
    """One self-contained HTML page for one window; it asks nothing of any network."""
    manifest = page.manifest
    drift = feature_drift(manifest)
    predictions = [one for one in page.figures.distributions if one.role == "prediction"]
    figures = _feature_figures(page, drift)
    failed = [one for one in outcomes(manifest) if one.record.consequence != "passed" or not one.record.success]
    held = [one for one in outcomes(manifest) if one.record.consequence == "passed" and one.record.success]
    return environment.render(
        "window.html.jinja",
        page=page,
        manifest=manifest,
        headline=verdicts.headline(manifest),
        reasons=manifest.reasons,
        acceptances=[verdicts.acceptance(one) for one in manifest.acceptances],
        next_step=verdicts.pieces(verdicts.next_step(manifest)),
        readers_see=verdicts.readers_see(manifest, page.standing),
        window_name=wording.window_name(manifest.as_of, manifest.window.start, manifest.window.timezone),
        window_bounds=_bounds(manifest),
        run_seconds=run_seconds(manifest),
        rows_per_second=rows_per_second(manifest),
        fates=fates(manifest.rows),
        balance=balance(manifest),
        suite=manifest.suite,
        absent=_absent(page, drift, figures, predictions),
        failed=failed[:MOST_EXPECTATIONS],
        failed_count=len(failed),
        held=held[:MOST_EXPECTATIONS],
        held_count=len(held),
        quarantine=quarantine_groups(manifest.quarantine_reasons, page.quarantine_examples)[:MOST_REASONS],
        reasons_count=len(manifest.quarantine_reasons),
        predictions=_prediction_figures(predictions),
        prediction_notes=prediction_notes(manifest),
        predictions_count=len(predictions),
        monitoring=window_monitoring.section(page),
        challenger=challenger_view.section(page),
        drift_sentence=drift_sentence(drift),
        drift_rows=_drift_rows(drift, figures)[:MOST_DRIFT_ROWS],
        drift_count=len(drift),
        has_sizes=any(one.kolmogorov_smirnov is not None or one.cramers_v is not None for one in drift),
        figures=figures,
        features_count=sum(one.role == "feature" for one in page.figures.distributions),
        stages=_stages(manifest),
        facts=_facts(manifest),
        packages=sorted(manifest.environment.items())[:MOST_FACTS],
        packages_count=len(manifest.environment),
        columns=page.columns[:MOST_COLUMNS],
        columns_count=len(page.columns),
        snippets=reading.one_window(page.table, manifest.as_of, is_delta=page.is_delta),
        quarantine_snippets=reading.one_window(page.quarantine_table, manifest.as_of) if page.quarantine_table else (),
        other_snippets=reading.other_tables(page.table, page.others, is_delta=page.is_delta),
    )


def fates(rows: RowCounts) -> tuple[Fate, ...]:
    """The parts that the rows pulled are made of; of a run that ended early, some rows have no fate."""
    undecided = rows.pulled - rows.scored - rows.quarantined - rows.duplicates
    named: list[tuple[str, Literal["scored", "quarantined", "duplicates", "undecided"], int]] = [
        ("scored", "scored", rows.scored),
        ("in quarantine", "quarantined", rows.quarantined),
        ("exact duplicates", "duplicates", rows.duplicates),
    ]
    if undecided > 0:
        named.append(("not scored", "undecided", undecided))
    whole = max(rows.pulled, 1)
    parts, start = [], 0.0
    for name, kind, amount in named:
        parts.append(Fate(name, kind, amount, amount / whole, start))
        start += amount / whole
    return tuple(parts)


def balance(manifest: Manifest) -> str:
    """The account of the rows in one sentence."""
    rows = manifest.rows
    accounted = rows.scored + rows.quarantined + rows.duplicates
    if accounted == rows.pulled:
        return "Every row pulled is accounted for."
    if accounted > rows.pulled:
        return "More rows have a fate than were pulled: do not trust these counts."
    left = wording.plural(rows.pulled - accounted, "row")
    return f"The run ended before {left} had a fate; nothing of it was published."


def outcomes(manifest: Manifest) -> list[Outcome]:
    """Every expectation, those with the gravest consequence first."""
    order = list(_CONSEQUENCES)
    records = manifest.suite.expectations if manifest.suite else ()
    ranked = sorted(records, key=lambda one: (order.index(one.consequence), -(one.unexpected_count or 0)))
    return [Outcome(one, *_CONSEQUENCES[one.consequence], _counted(one), _examples(one)) for one in ranked]


def _examples(record: ExpectationRecord) -> tuple[str, ...]:
    """A few different values; an empty one is named, for it could not be seen."""
    return tuple(value or EMPTY for value in list(dict.fromkeys(record.examples))[:MOST_EXAMPLES])


def _counted(record: ExpectationRecord) -> str:
    """How many rows failed, of how many; or what was observed, where no rows are counted."""
    if record.unexpected_count is None:
        return f"observed: {record.observed}" if record.observed else ""
    if not record.element_count:
        return f"{wording.plural(record.unexpected_count, 'row')} failed"
    part = wording.share(record.unexpected_count / record.element_count)
    amount = f"{wording.count(record.unexpected_count)} of {wording.plural(record.element_count, 'row')}"
    return part if amount in record.sentence else f"{amount} failed ({part})"


def quarantine_groups(counts: dict[str, int], examples: Sequence[QuarantineExample]) -> list[ReasonGroup]:
    """The reasons with their rows, most rows first."""
    seen = Counter(one.reason for one in examples)
    known = counts | {reason: amount for reason, amount in seen.items() if reason not in counts}
    ranked = sorted(known.items(), key=lambda item: (-item[1], item[0]))
    return [_group(reason, rows, [one for one in examples if one.reason == reason]) for reason, rows in ranked]


def _group(reason: str, rows: int, examples: list[QuarantineExample]) -> ReasonGroup:
    kept = examples[:MOST_EXAMPLES]
    columns = list(dict.fromkeys(column for one in kept for column in one.row))
    # The column at fault is shown, however many there are before it.
    at_fault = {column for one in kept for column in _at_fault(one)}
    first = [column for column in columns if column not in at_fault][: max(MOST_CELLS - len(at_fault), 0)]
    shown = [column for column in columns if column in at_fault or column in first][:MOST_CELLS]
    return ReasonGroup(
        reason=reason,
        rows=rows,
        messages=tuple(dict.fromkeys(one.message for one in kept if one.message))[:MOST_MESSAGES],
        columns=tuple(shown),
        examples=tuple(tuple((one.row.get(column), column in _at_fault(one)) for column in shown) for one in kept),
        columns_left_out=len(columns) - len(shown),
    )


def _at_fault(example: QuarantineExample) -> list[str]:
    """The columns that a reason names: one, whatever its name, or several with ", " between."""
    if example.column is None or example.column in example.row:
        return [] if example.column is None else [example.column]
    return [column for column in example.column.split(", ") if column in example.row]


def sorted_drift(drift: Iterable[FeatureDriftRecord]) -> list[FeatureDriftRecord]:
    """The features, the largest PSI first; those without one last."""
    return sorted(drift, key=lambda one: (not _is_known(one.psi), -(one.psi or 0.0) if _is_known(one.psi) else 0.0))


def feature_drift(manifest: Manifest) -> list[FeatureDriftRecord]:
    """The features alone, sorted: a prediction's distance from the reference is shown with the prediction."""
    return sorted_drift(one for one in manifest.drift if one.column not in manifest.predictions)


def drift_sentence(drift: Sequence[FeatureDriftRecord]) -> str:
    """Which feature moved most, and how many hardly did."""
    known = [one for one in drift if _is_known(one.psi)]
    if not known:
        return "No feature could be compared with a reference."
    little = sum((one.psi or 0.0) < _LITTLE for one in known)
    most = known[0]
    name, psi = wording.cut(most.column, 80), wording.number(most.psi)
    return f"{name} lies farthest from the reference (PSI {psi}); {little} of {len(known)} features are below 0.1."


def _is_known(psi: float | None) -> bool:
    return psi is not None and not math.isnan(psi)


def _prediction_figures(predictions: Sequence[Distribution]) -> list[Figure]:
    drawn = (draw(one, f"prediction-{i}") for i, one in enumerate(predictions[:MOST_PREDICTIONS]))
    return [figure for figure in drawn if figure]


def prediction_notes(manifest: Manifest) -> list[str]:
    """Of each prediction of numbers its mean and range, and how far it lies from the reference."""
    psi = {one.column: one.psi for one in manifest.drift}
    notes = []
    for column, made in list(manifest.predictions.items())[:MOST_PREDICTIONS]:
        lowest, highest = wording.figure(made.minimum), wording.figure(made.maximum)
        distance = f"; PSI {wording.fixed(psi[column])}" if _is_known(psi.get(column)) else ""
        notes.append(
            f"{wording.cut(column, 80)}: mean {wording.figure(made.mean)}, from {lowest} to {highest}{distance}."
        )
    return notes


def _feature_figures(page: WindowPage, drift: Sequence[FeatureDriftRecord]) -> list[Figure]:
    """The features that moved most, drawn; those without a drift record in their own order, after the others."""
    rank = {record.column: position for position, record in enumerate(drift)}
    by_column = {record.column: record for record in drift}
    features = [one for one in page.figures.distributions if one.role == "feature"]
    features.sort(key=lambda one: rank.get(one.column, len(rank)))
    drawn = (draw(one, f"feature-{i}", by_column.get(one.column)) for i, one in enumerate(features[:MOST_FIGURES]))
    return [figure for figure in drawn if figure]


def _drift_rows(drift: Sequence[FeatureDriftRecord], figures: Sequence[Figure]) -> list[DriftRow]:
    anchors = {figure.column: figure.anchor for figure in figures}
    longest = max([one.psi for one in drift if one.psi is not None and math.isfinite(one.psi)], default=0.0)
    # A quiet day is to look quiet.
    scale = max(longest, _MUCH)
    return [DriftRow(one, _bar(one.psi, scale), anchors.get(one.column)) for one in drift]


def _bar(value: float | None, whole: float) -> float:
    """The length of a bar in per cent of the longest; infinity fills it."""
    if value is None or math.isnan(value) or value <= 0 or whole <= 0:
        return 0.0
    return min(value / whole, 1.0) * 100


def _absent(
    page: WindowPage, drift: Sequence[object], figures: Sequence[object], predictions: Sequence[object]
) -> list[str]:
    """The parts that a page may have and this one has not, so that nobody looks for them."""
    manifest = page.manifest
    said = {
        "No expectation was checked: the job has no suite, or the run ended before.": manifest.suite is not None,
        "No row is in quarantine.": manifest.rows.quarantined > 0 or bool(manifest.quarantine_reasons),
        "No prediction is drawn: no row was scored.": manifest.rows.scored > 0 or bool(predictions),
        "No prediction is drawn: no distribution was recorded.": manifest.rows.scored == 0 or bool(predictions),
        "No feature is compared: the run ended before, or the model version has no reference.": bool(drift or figures),
    }
    return [sentence for sentence, is_there in said.items() if not is_there]


def _stages(manifest: Manifest) -> list[Stage]:
    longest = max((one.seconds for one in manifest.timings), default=0.0)
    return [
        Stage(one.stage, one.seconds, one.rows_per_second, _bar(one.seconds, longest))
        for one in manifest.timings[:MOST_FACTS]
    ]


def rows_per_second(manifest: Manifest) -> float | None:
    """Rows pulled by the time of the whole run; None for a run that did not take all of them to the end."""
    elapsed = run_seconds(manifest)
    return manifest.rows.pulled / elapsed if elapsed and manifest.rows.pulled and manifest.is_published else None


def _bounds(manifest: Manifest) -> str:
    window = manifest.window
    return wording.window_bounds(window.start, window.end, window.timezone)


def _facts(manifest: Manifest) -> list[Fact]:
    model, code, trigger = manifest.model, manifest.code, manifest.trigger
    dirty = {None: "not known", True: "yes: the code was changed after the commit", False: "no"}[code.dirty]
    facts = [
        Fact("Run", manifest.run_id, is_code=True),
        Fact("Started", wording.instant(manifest.started_at)),
        Fact("Ended", wording.instant(manifest.finished_at)),
        Fact("Asked for by", f"{trigger.kind} {trigger.actor}".strip()),
        *([Fact("Engine", manifest.engine.told)] if manifest.engine.kind != "local" else []),
        Fact("Model", f"{model.name} version {model.version}, by the alias {model.alias} ({model.format})"),
        *([Fact("Mirrored from MLflow's registry", model.origin, is_code=True)] if model.origin else []),
        *([Fact("Model loaded by", model.loaded_by)] if model.loaded_by else []),
        Fact("Model digest", model.digest, is_code=True),
        Fact("Code", f"Lamplighter {code.version}, commit {code.commit or 'not known'}; uncommitted changes: {dirty}"),
        Fact("Code digest", code.digest, is_code=True),
        *(Fact(f"Digest of the project's own {name}", digest, is_code=True) for name, digest in code.modules.items()),
        Fact("Job digest", manifest.job_digest, is_code=True),
        Fact("Plan key", manifest.plan_key, is_code=True),
        Fact("Version of the table's contract", str(manifest.contract_version)),
    ]
    return [*facts, *_facts_that_may_lack(manifest)]


def _facts_that_may_lack(manifest: Manifest) -> list[Fact]:
    facts = []
    if manifest.suite:
        facts.append(Fact(f"Digest of suite {manifest.suite.name}", manifest.suite.digest, is_code=True))
    if snapshot := manifest.snapshot:
        amounts = f"{wording.plural(snapshot.rows, 'row')}, {wording.size(snapshot.bytes)}, complete {wording.instant(snapshot.complete_at)}"
        facts += [Fact("Snapshot", amounts), Fact("Snapshot digest", snapshot.digest, is_code=True)]
    if keys := manifest.key_digests:
        facts += [Fact(f"Digest of keys {name}", value, is_code=True) for name, value in dict(keys).items()]
    for name, file in list(manifest.files.items())[:MOST_FACTS]:
        facts.append(
            Fact(f"File of {name}", f"{file.key} ({wording.size(file.bytes)}), SHA-256 {file.sha256}", is_code=True)
        )
    others = {
        "Flow run": manifest.trigger.flow_run_id,
        "Reason for scoring again": manifest.trigger.rescore_reason,
        "Replaces run": manifest.replaces,
        "Superseded by run": manifest.superseded_by,
        "Snapshot taken from run": manifest.trigger.snapshot_of,
        "Withdrawn": _withdrawn(manifest),
        "Rows not kept any more": "; ".join(one.sentence for one in manifest.pruned),
    }
    return [*facts, *(Fact(name, value) for name, value in others.items() if value)]


def _withdrawn(manifest: Manifest) -> str | None:
    why = manifest.withdrawal
    return " ".join([f"{wording.instant(why.at)}, by {why.by}: {why.reason}", *why.notes]) if why else None
