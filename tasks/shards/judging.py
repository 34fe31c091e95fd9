"""The gate of a promotion: both versions are examined, each in a process of its own, and every check is made."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
import uuid
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from tasks.core import layout, progress
from tasks.core.definitions.job import Job, Limits
from tasks.core.definitions.modelling import WindowRange
from tasks.core.definitions.project import Definition
from tasks.core.errors import Blocked, LamplighterError, ModelBlocked, WorkerError
from tasks.core.models.elsewhere import requirements
from tasks.core.models.elsewhere.requirements import FEWEST_TIMED_ROWS, Cost
from tasks.core.models.gate import comparison
from tasks.core.models.gate.candidacy import Candidacy
from tasks.core.models.gate.comparison import Compared
from tasks.core.models.gate.evaluation import blocks_of, target_of
from tasks.core.models.gate.held_out import HeldOut
from tasks.core.models.gate.metrics import Rows
from tasks.core.models.gate.verdict import Check, Verdict
from tasks.core.models.model import check_input_schema
from tasks.core.models.model_version import ModelVersion
from tasks.core.models.registering.training_data import Labelled
from tasks.shards.examination import Examination, Examined, Process, Terms

ReadRows = Callable[[Definition, WindowRange], Labelled]
Say = Callable[[str], object]

# Passes over the same rows, by turns, and the time after which no further one begins.
_ROUNDS, _RACE_SECONDS = 5, 30.0
# What a killed judgement left is nobody's after a day.
_ABANDONED_SECONDS = 86_400.0


class _Side:
    """One of the two versions in its process, and what came of its examination."""

    def __init__(self, version: ModelVersion, process: Process, examined: Examined) -> None:
        self.version = version
        self.process = process
        self.examined = examined
        self.rows, self.seconds = 0, float("inf")

    def run_a_lap(self) -> None:
        lap = self.process.clock()
        self.rows, self.seconds = lap.rows, min(self.seconds, lap.seconds)

    @property
    def cost(self) -> Cost:
        return Cost(self.rows, self.seconds, self.examined.peak_memory_bytes)

    @property
    def scored(self) -> npt.NDArray[np.int64]:
        return np.empty(0, np.int64) if self.examined.scored is None else self.examined.scored


class _Court:
    """What all steps of one judgement need: the case, where the rows lie, and the processes to be ended."""

    def __init__(self, candidacy: Candidacy, rows: Labelled | None, stack: contextlib.ExitStack, say: Say) -> None:
        self.candidacy = candidacy
        self.rows = rows
        self.stack = stack
        self.say = say
        self.key = stack.enter_context(_in_lake(candidacy, rows)) if rows else None

    def examined(self, version: ModelVersion, role: str) -> _Side:
        """The version in a process that lasts until the judgement is over."""
        self.say(f"examining {version}, the {role}")
        limits = self.rows.job.limits if self.rows else Limits()
        count = len(self.rows.table) if self.rows else 0
        task = Examination(
            lake=self.candidacy.lake,
            version=version,
            terms=_terms(self.candidacy, version),
            rows=self.key,
            give_up_after=int(limits.quarantine_share * count) + 1,
        )
        process = Process(task, limits, -(-count // (self.rows.job.rows_at_once if self.rows else 1)))
        self.stack.callback(process.dismiss)
        progress.advance(self.candidacy.name, role, 0, count)
        side = _Side(version, process, process.examine())
        progress.advance(self.candidacy.name, role, count, count)
        progress.end(self.candidacy.name, role)
        return side


def judge(candidacy: Candidacy, read_rows: ReadRows, say: Say) -> Verdict:
    """The verdict. Blocked where the candidate does not even pass the load gate; nothing is changed in any case."""
    rows = None
    if candidacy.labelled and candidacy.windows:
        say(f"reading the labelled rows of {candidacy.windows}")
        rows = read_rows(candidacy.labelled, candidacy.windows)
    try:
        with contextlib.ExitStack() as stack:
            return _verdict(_Court(candidacy, rows, stack, say))
    finally:
        progress.forget(candidacy.name)


def _verdict(court: _Court) -> Verdict:
    candidacy = court.candidacy
    ours = _candidate(court)
    jobs = [one.job for one in candidacy.jobs.values()]
    load = requirements.load_check(ours.version, ours.examined.probed, ours.examined.warnings)
    schema = requirements.schema_check(ours.version, jobs, ours.examined.unfit, candidacy.unread)
    if court.rows is None or ours.examined.scores is None:
        return _assembled(court, [load, schema, *_not_judged(court)])
    theirs, alone, is_broken = _production(court)
    _race([one for one in (ours, theirs) if one])
    court.say("comparing the two")
    checks = list(_checks(candidacy, court.rows, ours, theirs, alone))
    if is_broken:
        # Else whoever damages a version could have any other promoted.
        checks = [_incomparable(one, alone) if one.check == "metric" else one for one in checks]
    return _assembled(court, [load, schema, *checks])


def _candidate(court: _Court) -> _Side:
    """Refused where it does not load; where a job cannot feed it, it scores no row."""
    candidacy = court.candidacy
    if candidacy.labelled and not _feeds(candidacy.labelled.job, candidacy.candidate):
        court.key = None
    try:
        return court.examined(candidacy.candidate, "candidate")
    except (Blocked, WorkerError) as error:
        state = "; ".join(filter(None, [error.state, "no alias was moved"]))
        raise ModelBlocked(error.failed, state=state, next_step=error.next_step) from error


def _feeds(job: Job, version: ModelVersion) -> bool:
    try:
        check_input_schema(version, job.arrow_schema)
    except ModelBlocked:
        return False
    return True


def _production(court: _Court) -> tuple[_Side | None, str, bool]:
    """Production, or why there is nothing to compare with, and whether that is because it is broken."""
    candidacy = court.candidacy
    if candidacy.holder is None:
        return None, f"nothing is {candidacy.alias} yet, so there is nothing to compare with", False
    try:
        side = court.examined(candidacy.registry.version(candidacy.candidate.name, candidacy.holder), "production")
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is the one to be replaced
        why = error.failed if isinstance(error, LamplighterError) else f"{type(error).__name__}: {error}"
        is_broken = True
    else:
        if side.examined.scores is not None:
            return side, "", False
        why, is_broken = "; ".join(side.examined.unfit.values()), False
    return None, f"version {candidacy.holder} is {candidacy.alias}, and cannot be scored any more: {why}", is_broken


def _incomparable(check: Check, alone: str) -> Check:
    sentence = f"{alone[:1].upper()}{alone[1:]}. Nothing says that this one is as good."
    return check.model_copy(update={"outcome": "failed", "sentence": sentence})


def _race(sides: list[_Side]) -> None:
    """By turns, so that what else runs on the machine slows all of them down."""
    began = time.monotonic()
    for _ in range(_ROUNDS):
        for side in sides:
            side.run_a_lap()
        if sides[0].rows < FEWEST_TIMED_ROWS or time.monotonic() - began > _RACE_SECONDS:
            return


def _assembled(court: _Court, checks: list[Check]) -> Verdict:
    candidacy, rows = court.candidacy, court.rows
    verdict = Verdict(
        model=candidacy.candidate.name,
        version=candidacy.candidate.version,
        alias=candidacy.alias,
        production=candidacy.holder,
        judged_at=dt.datetime.now(dt.UTC),
        checks=tuple(checks),
    )
    if rows is None or court.key is None:
        return verdict
    return verdict.model_copy(
        update={
            "job": rows.job.job,
            "first": rows.span.first,
            "last": rows.span.last,
            "windows": len(np.unique(rows.windows)),
            "rows": len(rows.table),
            "rows_without_label": rows.without_label,
            "rows_digest": rows.digest,
        }
    )


def _not_judged(court: _Court) -> list[Check]:
    """What needs labelled rows, where there are none, or the candidate cannot be given any."""
    labelled, name = court.candidacy.labelled, court.candidacy.candidate.name
    why = "the candidate cannot score the job's rows" if labelled else f"no job with labels names the model {name}"
    sentence = f"Not judged: {why}."
    return [
        Check(check="held out", outcome="not judged", sentence=sentence),
        Check(check="metric", outcome="not judged", sentence=sentence),
        Check(check="speed", outcome="not judged", sentence=sentence),
        Check(check="memory", outcome="not judged", sentence=sentence),
    ]


def _checks(candidacy: Candidacy, rows: Labelled, ours: _Side, theirs: _Side | None, alone: str) -> Iterator[Check]:
    promotion, total = candidacy.promotion, len(rows.table)
    yield requirements.rows_check(
        total,
        total - len(ours.scored),
        total - len(theirs.scored) if theirs else None,
        rows.job.limits.quarantine_share,
    )
    trained = theirs.version.manifest.training if theirs else None
    held_out = candidacy.held_out or HeldOut(rows.span)
    yield requirements.held_out_check(held_out, ours.version.manifest.training, trained)
    common = np.intersect1d(ours.scored, theirs.scored) if theirs else ours.scored
    compared = _compared(candidacy, rows, ours, theirs, alone)
    if compared is None:
        sentence = "No metric is known of such an output, or no row was scored by both."
        yield Check(check="metric", outcome="not judged", sentence=sentence)
    else:
        yield comparison.metric_check(compared, promotion)
        yield from filter(None, [comparison.calibration_check(compared, promotion)])
    theirs_cost = theirs.cost if theirs else None
    yield requirements.speed_check(ours.cost, theirs_cost, promotion, alone)
    yield requirements.memory_check(ours.cost, theirs_cost, promotion, alone)
    if compared is not None:
        for column, budget in promotion.slices.items():
            yield from comparison.slice_checks(compared, column, rows.table[column].take(common), budget)


def _compared(candidacy: Candidacy, rows: Labelled, ours: _Side, theirs: _Side | None, alone: str) -> Compared | None:
    """The rows that both have scored, with both scores; None where no metric is known, or no such row."""
    output = next(iter(rows.job.output.columns.values()))
    target = target_of(output, rows.truth, is_classifier=ours.examined.is_classifier)
    common = np.intersect1d(ours.scored, theirs.scored) if theirs else ours.scored
    if not target.metrics or not len(common):
        return None
    metric = comparison.metric_of(target, candidacy.promotion.metric)
    blocks = blocks_of(rows.windows[common])

    def scores(side: _Side) -> Rows:
        made = np.asarray(side.examined.scores)[np.searchsorted(side.scored, common)]
        return Rows(target.truth[common], made, blocks.of, blocks.count)

    return Compared(target, blocks, metric, scores(ours), scores(theirs) if theirs else None, alone)


def _terms(candidacy: Candidacy, version: ModelVersion) -> tuple[Terms, ...]:
    """Those of every job that names the model, of the one with the labels first; of no job, what it was registered with."""
    first = candidacy.labelled.job.job if candidacy.labelled else ""
    jobs = sorted((one.job for one in candidacy.jobs.values()), key=lambda job: job.job != first)
    found = tuple(Terms(job.job, job.model.allowed_types, job.output.columns) for job in jobs)
    return found or (Terms("", (), version.outputs),)


@contextlib.contextmanager
def _in_lake(candidacy: Candidacy, rows: Labelled) -> Iterator[str]:
    """The rows as a file for the processes, without the labels, for as long as the block runs."""
    lake, columns = candidacy.lake, [name for name in rows.job.columns if name in rows.table.column_names]
    lake.sweep(layout.model(candidacy.candidate.name), idle_seconds=_ABANDONED_SECONDS)
    folder = f"{layout.model(candidacy.candidate.name)}/.tmp-{uuid.uuid4().hex}"
    try:
        table = rows.table.select(columns)
        with lake.parquet_writer(f"{folder}/rows.parquet", table.schema) as writer:
            writer.write_table(table, rows.job.rows_at_once)
        yield f"{folder}/rows.parquet"
    finally:
        lake.remove(folder)
