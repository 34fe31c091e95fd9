"""What a version must prove beside the quality of its scores: who can use it, on which rows, how fast, in what memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tasks.core.definitions.job import Job
from tasks.core.definitions.modelling import Prediction, Promotion
from tasks.core.errors import ModelBlocked
from tasks.core.models.gate.held_out import HeldOut, overlaps
from tasks.core.models.gate.verdict import Check, Outcome
from tasks.core.models.model import check_input_schema
from tasks.core.models.model_version import ModelVersion, TrainingRecord

# With fewer rows a pass takes a few milliseconds, and says more of the machine than of the model.
FEWEST_TIMED_ROWS = 2000
_MEGABYTE = 1e6


@dataclass(frozen=True)
class Cost:
    """What scoring costs: the best of several passes, and the largest that the process ever was."""

    rows: int
    seconds: float
    memory_bytes: int

    @property
    def rows_per_second(self) -> float:
        return self.rows / max(self.seconds, 1e-9)


def load_check(version: ModelVersion, probed: int, warnings: Iterable[str]) -> Check:
    """Of a version that has passed the load gate; one that does not is refused before there is any verdict."""
    remarks = "; ".join(warnings)
    told = f"{version} loads, is what was registered, and scores its {probed} probe rows as it did"
    return Check(check="load", outcome="passed", sentence=f"{told}{f' ({remarks})' if remarks else ''}.")


def schema_check(
    version: ModelVersion, jobs: Iterable[Job], unfit: Mapping[str, str], unread: Mapping[str, str]
) -> Check:
    """Every job that names this model can feed it, and gets its columns from it. `unfit` are those of which it is known
    that it cannot make their columns, `unread` those whose YAML is broken, so that nobody knows what they name.
    """
    jobs = list(jobs)
    problems = [problem for job in jobs for problem in _problems(version, job, unfit)]
    broken = "".join(f" {key} cannot be read, so it was passed over: {why}." for key, why in unread.items())
    if problems:
        return Check(check="schema", outcome="failed", sentence=f"{'; '.join(problems)}.{broken}")
    if not jobs:
        return Check(check="schema", outcome="not judged", sentence=f"No job names the model {version.name}.{broken}")
    names = ", ".join(job.job for job in jobs)
    sentence = f"{names}: all inputs are there in the right types, and all output columns can be made.{broken}"
    return Check(check="schema", outcome="passed", sentence=sentence)


def _problems(version: ModelVersion, job: Job, unfit: Mapping[str, str]) -> Iterable[str]:
    try:
        check_input_schema(version, job.arrow_schema)
    except ModelBlocked as error:
        yield f"{job.job}: {error.failed}"
    for name, asked in job.output.columns.items():
        made = version.outputs.get(name)
        if made is not None and made != asked:
            yield f"{job.job}: its column '{name}' is {_told(asked)}, and {version} was registered with {_told(made)}"
    if job.job in unfit:
        yield f"{job.job}: its columns cannot be made: {unfit[job.job]}"


def _told(output: Prediction) -> str:
    of = "" if output.class_ is None else f" of {output.class_!r}"
    return f"{output.method}{of} as {output.type}"


def rows_check(rows: int, unscored: int, unscored_by_production: int | None, share: float) -> Check:
    """As many rows as a job lets be quarantined may be such that the model raises on them."""
    outcome: Outcome = "failed" if unscored > share * rows else "passed"
    sentence = f"{rows - unscored:,} of {rows:,} rows could be scored; {share:.1%} may be lost."
    theirs = None if unscored_by_production is None else float(rows - unscored_by_production)
    return Check(
        check="rows",
        outcome=outcome,
        sentence=sentence,
        rows=rows,
        production=theirs,
        candidate=float(rows - unscored),
        difference=None if theirs is None else rows - unscored - theirs,
        limit=rows - share * rows,
    )


def held_out_check(held_out: HeldOut, candidate: TrainingRecord | None, production: TrainingRecord | None) -> Check:
    """Whether neither version has seen the rows before: who has, looks better than it is."""
    span = held_out.windows
    ours, theirs = (overlaps(span, record) for record in (candidate, production))
    if ours and candidate:
        sentence = (
            f"The candidate was trained on {candidate.first} to {candidate.last}: on {span} the comparison is not fair."
        )
        return Check(check="held out", outcome="failed", sentence=sentence)
    if ours is None:
        sentence = f"The version does not say on which windows it was trained, so it may have seen some of {span}."
        return Check(check="held out", outcome="not judged", sentence=sentence)
    if theirs and production:
        sentence = (
            f"Production was trained on {production.first} to {production.last} and looks better than it is on {span}: "
            "what the candidate seems to lose, it may not lose."
        )
        return Check(check="held out", outcome="not judged", sentence=sentence)
    sentence = f"The candidate has not seen {span}{_instead(held_out)}."
    return Check(check="held out", outcome="passed", sentence=sentence)


def _instead(held_out: HeldOut) -> str:
    """Why these are not the windows that the job's YAML names."""
    other = held_out.instead_of
    return f", which are used as one of the two was trained on some of {other}" if other else ""


def speed_check(candidate: Cost, production: Cost | None, promotion: Promotion, alone: str) -> Check:
    """Rows a second, each in a process of its own, by turns; the best of several passes counts.

    What else runs on the machine slows both down, and not always the same one: the limit is to be wide.
    """
    ours, theirs = candidate.rows_per_second, production.rows_per_second if production else None
    figures = {"candidate": ours, "production": theirs, "difference": None if theirs is None else ours - theirs}
    if theirs is None:
        return Check(check="speed", outcome="not judged", sentence=f"{ours:,.0f} rows/s; {alone}.", **figures)
    limit = promotion.speed_at_least * theirs
    sentence = f"{ours:,.0f} rows/s against {theirs:,.0f}; at least {limit:,.0f} are asked for."
    if candidate.rows < FEWEST_TIMED_ROWS:
        sentence = f"{ours:,.0f} rows/s against {theirs:,.0f}: {candidate.rows:,} rows are too few to time anything."
        return Check(check="speed", outcome="not judged", sentence=sentence, limit=limit, **figures)
    outcome: Outcome = "failed" if ours < limit else "passed"
    return Check(check="speed", outcome=outcome, sentence=sentence, limit=limit, rows=candidate.rows, **figures)


def memory_check(candidate: Cost, production: Cost | None, promotion: Promotion, alone: str) -> Check:
    """The largest that a fresh process was while it loaded the model and scored the rows, Python and libraries with it."""
    ours = float(candidate.memory_bytes)
    theirs = float(production.memory_bytes) if production else None
    figures = {"candidate": ours, "production": theirs, "difference": None if theirs is None else theirs - ours}
    told = f"{ours / _MEGABYTE:,.0f} MB"
    if theirs is None:
        return Check(check="memory", outcome="not judged", sentence=f"{told}; {alone}.", **figures)
    limit = promotion.memory_at_most * theirs
    outcome: Outcome = "failed" if ours > limit else "passed"
    sentence = f"{told} against {theirs / _MEGABYTE:,.0f} MB; at most {limit / _MEGABYTE:,.0f} MB are allowed."
    return Check(check="memory", outcome=outcome, sentence=sentence, limit=limit, **figures)
