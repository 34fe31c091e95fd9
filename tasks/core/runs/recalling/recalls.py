"""Recalling a model version: no alias names it any more, and what it wrote leaves the tables, window by window.

The record of it, models/<name>/recalls/<version>.json, is written before the first window is touched and again at the
end: a recall that was killed, or that met a window which another run holds, is typed again and goes on.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from tasks.core import layout
from tasks.core.errors import DefinitionError, Incomplete, LakeError, LamplighterError, WindowBusy
from tasks.core.models.model_events import aliases_in, recalled_in
from tasks.core.models.model_version import Event
from tasks.core.models.registry import Registry
from tasks.core.records import Record, read_beside
from tasks.core.rows import snapshot
from tasks.core.runs.manifest import Manifest, Withdrawal
from tasks.core.runs.publication import recover
from tasks.core.runs.recalling import queue, withdrawal
from tasks.core.runs.recalling.footprint import Footprint, Left, challengers_of, footprint, is_of, seen_of
from tasks.core.runs.run import manifests
from tasks.core.storage import ABANDONED_SECONDS, Folder, Lake

_MOST_NAMED = 5


class RecalledWindow(Record):
    """What a version wrote into one window, what became of it, and what it takes to score the window again."""

    job: str
    as_of: str
    run_id: str
    rows: Annotated[int, Field(description="Scored by the version, and seen by readers.")]
    rows_quarantined: int
    state: Annotated[
        Literal["seen", "withdrawn", "kept", "replaced"],
        Field(description="seen: not yet withdrawn. kept: readers see it until the window is scored again."),
    ] = "seen"
    restores: str | None = None
    restores_model: str | None = None
    notes: tuple[str, ...] = ()
    rescore_seconds: float = 0.0
    snapshot_rows: int = 0
    snapshot_bytes: int = 0
    must_be_pulled: Annotated[bool, Field(description="No snapshot of the window was kept.")] = False
    shadow: Annotated[bool, Field(description="It stands, or stood, in shadow.")] = False


class Recall(Record):
    """The record of a recall, or its plan."""

    record_version: Literal[1] = 1
    model: str
    version: int
    at: dt.datetime | None = None
    by: str = ""
    reason: str = ""
    keep_until_replaced: bool = False
    repull: bool = False
    aliases: Annotated[tuple[str, ...], Field(description="That named the version until it was recalled.")] = ()
    windows: tuple[RecalledWindow, ...] = ()
    challengers: Annotated[tuple[str, ...], Field(description="Files that it wrote as a challenger.")] = ()
    left: tuple[Left, ...] = ()
    passed_over: tuple[str, ...] = ()

    def __str__(self) -> str:
        states = [one.state for one in self.windows]
        restored = sum(one.restores is not None for one in self.windows if one.state == "withdrawn")
        kept = f", {states.count('kept')} kept until they are scored again" if "kept" in states else ""
        return (
            f"version {self.version} of {self.model} is recalled: {states.count('withdrawn')} windows withdrawn "
            f"({restored} restored){kept}; {states.count('withdrawn') + states.count('kept')} queued for backfill"
        )

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.windows)

    @property
    def touched(self) -> list[tuple[str, str]]:
        """The windows, as (job, as_of)."""
        return sorted({(one.job, one.as_of) for one in self.windows})


class Order(Record):
    """What is asked for: a recall of one version, by whom and why."""

    model: str
    version: int
    reason: str
    by: str
    at: dt.datetime
    keep_until_replaced: bool = False
    repull: bool = False


def plan(lake: Lake, model: str, version: int, *, keep_until_replaced: bool = False) -> Recall:
    """What a recall would do, and what scoring its windows again would cost. Changes nothing."""
    registry = Registry(lake)
    registry.check_known(model, version)
    named = aliases_of(registry.history(model), version)
    found = footprint(lake, model, version, is_named=bool(named))
    seen = [one for window in found.windows if (one := seen_of(lake, *window, model, version))]
    return Recall(
        model=model,
        version=version,
        keep_until_replaced=keep_until_replaced,
        aliases=named,
        windows=tuple(_described(lake, one) if keep_until_replaced else _foreseen(lake, one) for one in seen),
        challengers=_challengers(lake, found, model, version),
        left=found.left,
        passed_over=found.passed_over,
    )


def recall(lake: Lake, order: Order, *, wait_seconds: float) -> Recall:
    """Withdraws a version and all that readers see of it; done already is done. Returns the record of it.

    What could not be withdrawn is `left` in it: a window that a run holds for longer than `wait_seconds` in all, or one
    whose records cannot be read.
    """
    registry = Registry(lake)
    # First of all: from here on no run is planned with it, and none that is under way publishes.
    event = registry.recall(order.model, order.version, at=order.at, actor=order.by, reason=order.reason)
    named = aliases_of(registry.history(order.model), order.version)
    found = footprint(lake, order.model, order.version, is_named=bool(named))
    record = _begun(lake, order, event, named, found)
    left = [*found.left, *_withdraw_each(lake, order, event, found.windows, wait_seconds)]
    ended = _ended(lake, record, found, tuple(left))
    _write(lake, ended)
    _sweep(lake, ended)
    return ended


def _withdraw_each(
    lake: Lake, order: Order, event: Event, windows: Iterable[tuple[str, str]], wait_seconds: float
) -> list[Left]:
    """Every window in turn; those that a run holds once more at the end, for as long as is left of the time."""
    deadline = time.monotonic() + wait_seconds
    busy, left = [], []
    for window in windows:
        try:
            _withdraw_window(lake, order, event, window, 0)
        except WindowBusy:
            busy.append(window)
        except (LakeError, DefinitionError) as error:
            left.append(_left(window, error))
    for window in busy:
        try:
            _withdraw_window(lake, order, event, window, max(deadline - time.monotonic(), 0))
        except (WindowBusy, LakeError, DefinitionError) as error:
            left.append(_left(window, error))
    return left


def _withdraw_window(lake: Lake, order: Order, event: Event, window: tuple[str, str], wait_seconds: float) -> None:
    job, as_of = window
    holder = f"the recall of {order.model} version {order.version}"
    with lake.lock(layout.lock(job, as_of), holder=holder, wait_seconds=wait_seconds):
        recover(lake, job, as_of)
        _take_challengers_out(lake, order, job, as_of)
        seen = seen_of(lake, job, as_of, order.model, order.version)
        if seen is None:
            return
        decided = _decided(lake, order, event, seen)
        if order.keep_until_replaced:
            queue.add(lake, withdrawal.entry_of(seen, decided))
        else:
            withdrawal.withdraw(lake, seen, decided)


def _take_challengers_out(lake: Lake, order: Order, job: str, as_of: str) -> None:
    for key in challengers_of(lake, job, as_of, order.model, order.version):
        folder, _, part = key.rpartition("/")
        aside = layout.withdrawn_challenger(job, as_of, part)
        if lake.names(folder) == [part]:
            lake.rename(folder, aside)
        else:
            lake.rename(key, f"{aside}/{part}")


def _decided(lake: Lake, order: Order, event: Event, seen: Manifest) -> Withdrawal:
    """Why the window is withdrawn, and what comes back; who, when and why are those of the event, however often it is typed."""
    good, notes = (None, ()) if order.keep_until_replaced else withdrawal.last_good(lake, seen)
    return Withdrawal(
        model=order.model,
        version=order.version,
        at=event.at,
        by=event.actor,
        reason=event.reason,
        repull=order.repull,
        restores=good.run_id if good else None,
        restores_model=label_of(good) if good else None,
        notes=notes,
    )


def check_complete(record: Recall) -> Recall:
    """The record; Incomplete, with it, where windows are left that may still show what the version wrote."""
    if not record.left:
        return record
    named = "; ".join(f"{one.job} {one.as_of}: {one.why}" for one in record.left[:_MOST_NAMED])
    more = f"; and {len(record.left) - _MOST_NAMED} more" if len(record.left) > _MOST_NAMED else ""
    error = Incomplete(
        f"version {record.version} of {record.model} is recalled, and {len(record.left)} windows may still show its rows: "
        f"{named}{more}",
        state="no alias names it, no run publishes with it, and what is done stays done",
        next_step="wait for those runs to end, or mend those records, and run the recall again: "
        f'lamplighter recall {record.model} --version {record.version} --reason "why"',
    )
    error.summary = record
    raise error


# -- the record -----------------------------------------------------------------------------------------------------


def read_record(lake: Folder, model: str, version: int) -> Recall | None:
    """The record of a recall, or None where there was none."""
    key = layout.recall_record(model, version)
    return read_beside(
        lake,
        key,
        Recall,
        wrong="is not the record of a recall",
        state="the version stays recalled, and no window was touched",
        next_step="move it away, and run the recall again",
    )


def _begun(lake: Lake, order: Order, event: Event, named: tuple[str, ...], found: Footprint) -> Recall:
    """The record before a window is touched; what an earlier attempt has found stays in it."""
    earlier = read_record(lake, order.model, order.version)
    seen = [one for window in found.windows if (one := seen_of(lake, *window, order.model, order.version))]
    challengers = _challengers(lake, found, order.model, order.version)
    begun = Recall(
        model=order.model,
        version=order.version,
        at=event.at,
        by=event.actor,
        reason=event.reason,
        keep_until_replaced=order.keep_until_replaced,
        repull=order.repull,
        aliases=named,
        windows=_merged(earlier.windows if earlier else (), (_described(lake, one) for one in seen)),
        challengers=tuple(sorted({*challengers, *(earlier.challengers if earlier else ())})),
        passed_over=found.passed_over,
    )
    _write(lake, begun)
    return begun


def _ended(lake: Lake, record: Recall, found: Footprint, left: tuple[Left, ...]) -> Recall:
    """The record as the lake is now; a run that was under way may have added a window to it."""
    of_this = (
        one for window in found.windows for one in _readable(lake, window) if is_of(one, record.model, record.version)
    )
    withdrawn = (_described(lake, one) for one in of_this if one.state == "withdrawn")
    windows = _merged(record.windows, withdrawn)
    return record.model_copy(update={"windows": tuple(_as_now(lake, one) for one in windows), "left": left})


def _readable(lake: Lake, window: tuple[str, str]) -> list[Manifest]:
    try:
        return manifests(lake, *window)
    except LakeError:
        return []


def _write(lake: Lake, record: Recall) -> None:
    key = layout.recall_record(record.model, record.version)
    lake.write_bytes(key, record.model_dump_json(indent=2).encode() + b"\n")


def _sweep(lake: Lake, record: Recall) -> None:
    """Removes what was left half written by recalls that were killed, where others write as well."""
    lake.sweep(layout.recalls(record.model), idle_seconds=ABANDONED_SECONDS)
    for job in sorted({job for job, _ in record.touched}):
        queue.sweep(lake, job)


def _merged(known: Iterable[RecalledWindow], others: Iterable[RecalledWindow]) -> tuple[RecalledWindow, ...]:
    """What is known stays as it was written first."""
    all_of_them = {(one.job, one.as_of, one.run_id): one for one in (*others, *known)}
    return tuple(all_of_them[key] for key in sorted(all_of_them))


def _as_now(lake: Lake, window: RecalledWindow) -> RecalledWindow:
    """The window as its manifest tells of it at this moment; one that cannot be read stays as it was written."""
    found = [one for one in _readable(lake, (window.job, window.as_of)) if one.run_id == window.run_id]
    if not found:
        return window
    if found[0].state == "withdrawn" and (why := found[0].withdrawal):
        changes = {"restores": why.restores, "restores_model": why.restores_model, "notes": why.notes}
        return window.model_copy(update={"state": "withdrawn", **changes})
    if found[0].state == "superseded":
        return window.model_copy(update={"state": "replaced"})
    is_kept = lake.exists(layout.queued(window.job, window.as_of))
    return window.model_copy(update={"state": "kept" if is_kept else "seen"})


def _foreseen(lake: Lake, seen: Manifest) -> RecalledWindow:
    """A window before it is withdrawn, with what would come back."""
    good, notes = withdrawal.last_good(lake, seen)
    changes = {"restores": good.run_id, "restores_model": label_of(good)} if good else {}
    return _described(lake, seen).model_copy(update={**changes, "notes": notes})


def _described(lake: Lake, seen: Manifest) -> RecalledWindow:
    kept = seen.snapshot
    workspace = layout.workspace(seen.job, seen.as_of, seen.run_id)
    return RecalledWindow(
        job=seen.job,
        as_of=seen.as_of,
        run_id=seen.run_id,
        rows=seen.rows.scored,
        rows_quarantined=seen.rows.quarantined,
        rescore_seconds=round(sum(timing.seconds for timing in seen.timings), 3),
        snapshot_rows=kept.rows if kept else 0,
        snapshot_bytes=kept.bytes if kept else 0,
        must_be_pulled=not lake.exists(f"{workspace}/{snapshot.SNAPSHOT}"),
        shadow=seen.shadow,
    )


def _challengers(lake: Lake, found: Footprint, model: str, version: int) -> tuple[str, ...]:
    return tuple(key for window in found.windows for key in challengers_of(lake, *window, model, version))


def aliases_of(events: list[Event], version: int) -> tuple[str, ...]:
    """The aliases that name a version; of a recalled one, those that named it until then."""
    until = recalled_in(events)[version].sequence - 1 if version in recalled_in(events) else len(events)
    return tuple(sorted(alias for alias, named in aliases_in(events[:until]).items() if named == version))


def label_of(manifest: Manifest) -> str:
    return f"{manifest.model.name}/{manifest.model.version:04d}"


def _left(window: tuple[str, str], error: LamplighterError) -> Left:
    return Left(job=window[0], as_of=window[1], why=error.failed)
