"""Beside the windows: dry runs, pages, looks of the monitor, labels, audits, what was told, and killed writers' litter."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from collections.abc import Iterator, Sequence
from zoneinfo import ZoneInfo

from tasks.core import layout
from tasks.core.definitions.retention import FOR_EVER
from tasks.core.definitions.schedule import length
from tasks.core.delta import upkeep
from tasks.core.errors import LakeError, LamplighterError, WindowBusy
from tasks.core.events import EPISODES
from tasks.core.monitoring import keeping, ledger
from tasks.core.monitoring.standing import standing
from tasks.core.performance import putting
from tasks.core.pruning import windows
from tasks.core.pruning.records import LITTER_DAYS, Found, Kind, Scope, take
from tasks.core.runs import dry_run, partitions
from tasks.core.runs.publication import recover
from tasks.core.runs.showing import showing
from tasks.core.storage import Lake

KINDS: tuple[Kind, ...] = ("dry_runs", "reports", "looks", "labels", "audits", "alerts", "litter", "delta_files")
_LAST = "the last one"
_STANDS = "what it is of still stands"
_PAGE = re.compile(r"as_of=(?P<as_of>[^.]+)\.html")
_LATE = re.compile(r"late-(\d{4}-\d{2}-\d{2}T\d{6}Z)\.json")
_LOCK = re.compile(r"(?P<as_of>\d{4}-\d{2}-\d{2}(T\d{4}Z)?)( dry run| leak check)?\.lock")
# A window that is late is told of again as long as it is looked at: `runs.late` looks back for a month.
_LOOKED_BACK = dt.timedelta(days=62)


def find(scope: Scope, kind: Kind) -> list[Found]:
    """Everything of a kind, with what decides whether it goes."""
    finders = {
        "dry_runs": _dry_runs,
        "reports": _reports,
        "looks": _looks,
        "labels": _labels,
        "audits": _audits,
        "alerts": _alerts,
        "litter": _locks,
        "delta_files": _delta_files,
    }
    return list(finders[kind](scope))


def remove(scope: Scope, kind: Kind, wanted: Sequence[Found]) -> Iterator[tuple[Found, LamplighterError]]:
    """Removes what of this is still to go, one after the other; each that had to be left, with why."""
    for found in wanted:
        try:
            with _alone(scope, kind, found):
                _remove(scope, found)
        except (WindowBusy, LakeError) as error:
            yield found, error


@contextlib.contextmanager
def _alone(scope: Scope, kind: Kind, found: Found) -> Iterator[None]:
    """Nobody else writes what is removed; WindowBusy where somebody is at it now."""
    keys = {
        "dry_runs": [layout.dry_run_lock(scope.name, found.as_of)],
        "looks": [layout.monitor_lock(scope.name)],
        "labels": [layout.monitor_lock(scope.name)],
        "audits": [layout.audit_lock(scope.name)],
        "alerts": [layout.monitor_lock(scope.name), layout.DEADLINES_LOCK],
        "delta_files": [layout.lock(scope.name, found.as_of)],
    }.get(kind, [])
    with contextlib.ExitStack() as held:
        for key in keys:
            held.enter_context(scope.lake.lock(key, holder=f"the prune of {scope.name}"))
        yield


def _remove(scope: Scope, found: Found) -> None:
    if found.kind == "litter":
        _remove_lock(scope, found)
        return
    if found.kind == "delta_files" and found not in _delta_files(scope, found.as_of):
        # A run has brought it back meanwhile.
        return
    for key in found.keys:
        take(scope.lake, scope.name, key)
        scope.lake.remove_empty(key.rpartition("/")[0])


# --- Dry runs and pages


def _dry_runs(scope: Scope) -> Iterator[Found]:
    """The last dry run of each window, with its pages."""
    for name in scope.lake.names(f"dry_runs/{scope.name}"):
        as_of = name.removeprefix("as_of=")
        pages = [layout.dry_run_page(scope.name, as_of), layout.docs_page(scope.name, as_of, dry_run=True)]
        at = _dry_run_at(scope, as_of)
        keys = (*filter(scope.lake.exists, pages), layout.dry_runs(scope.name, as_of))
        yield Found("dry_runs", as_of, "", at, keys, scope.why_kept("dry_runs", at))


def _dry_run_at(scope: Scope, as_of: str) -> dt.datetime | None:
    try:
        last = dry_run.last(scope.lake, scope.name, as_of)
    except LakeError:
        return None
    return (last.finished_at or last.started_at) if last else None


def _reports(scope: Scope) -> Iterator[Found]:
    """The pages of windows; each is as old as the window's last run. That of the newest window stays: lists point to it."""
    names = scope.lake.names(layout.reports(scope.name))
    found = [match["as_of"] for match in map(_PAGE.fullmatch, names) if match]
    for as_of in found:
        # Nobody reads a manifest for a page that stays in any case.
        at = windows.last_ended(scope, as_of) if scope.policy("reports") != FOR_EVER else None
        docs = layout.docs_page(scope.name, as_of)
        keys = (layout.window_page(scope.name, as_of), *([docs] if docs.rpartition("/")[2] in names else []))
        kept = scope.why_kept("reports", at) or (_LAST if as_of == found[-1] else "")
        yield Found("reports", as_of, "", at, keys, kept)


# --- The monitor's


def _looks(scope: Scope) -> Iterator[Found]:
    days = keeping.days_looked_at(scope.lake, scope.name)
    for day in days:
        at = _end_of(scope, day)
        kept = scope.why_kept("looks", at) or (_LAST if day == days[-1] else "")
        yield Found("looks", day, "", at, (layout.monitoring(scope.name, day),), kept)


def _labels(scope: Scope) -> Iterator[Found]:
    """States of labels, and of performance; of each window the last stays, and that of the rows that readers see."""
    for table in (layout.LABELS, layout.PERFORMANCE):
        for name in scope.lake.names(layout.table(table, scope.name)):
            if name.startswith("as_of="):
                yield from _states(scope, table, name.removeprefix("as_of="))


def _states(scope: Scope, table: str, as_of: str) -> Iterator[Found]:
    place = layout.labels if table == layout.LABELS else layout.performance
    days = putting.days(scope.lake, table, scope.name, as_of, until="9999-12-31")
    last = {*days[:1], *_measured(scope, table, as_of, days)}
    for day in days:
        at = _end_of(scope, day)
        kept = scope.why_kept("labels", at) or (_LAST if day in last else "")
        yield Found("labels", as_of, f"{table} {day}", at, (place(scope.name, as_of, day),), kept)


def _measured(scope: Scope, table: str, as_of: str, days: Sequence[str]) -> list[str]:
    """The newest day on which the rows were measured that readers see now."""
    seen = showing(scope.lake, scope.name, as_of) if table == layout.PERFORMANCE and len(days) > 1 else None
    folders = ((day, layout.performance(scope.name, as_of, day)) for day in days)
    return [day for day, folder in folders if seen and putting.name_in(scope.lake, folder) == seen.run_id][:1]


def _audits(scope: Scope) -> Iterator[Found]:
    names = [name for name in scope.lake.names(layout.audits(scope.name)) if name.startswith("as_of=")]
    for name in names:
        day = name.removeprefix("as_of=").removesuffix(".json")
        at = _end_of(scope, day)
        kept = scope.why_kept("audits", at) or (_LAST if name == names[-1] else "")
        yield Found("audits", day, "", at, (layout.audit_record(scope.name, day),), kept)


def _alerts(scope: Scope) -> Iterator[Found]:
    """That windows were told to be late, and episodes of the monitor: once the trouble is over, and nobody asks again."""
    folder = layout.alarms(scope.name)
    for name in scope.lake.names(folder):
        if name.startswith("as_of="):
            yield from _told_late(scope, name.removeprefix("as_of="))
    now = _standing_kinds(scope)
    for told in ledger.all_told(scope.lake, scope.name):
        at, alarm = _end_of(scope, told.seen_until), told.alarm
        kept = scope.why_kept("alerts", at) or (_STANDS if alarm.kind in now else "") or _asked_again(scope, at)
        yield Found("alerts", "", f"{alarm.kind} {alarm.onset}", at, (ledger.key_of(scope.name, alarm),), kept)


def _told_late(scope: Scope, as_of: str) -> Iterator[Found]:
    folder = f"{layout.alarms(scope.name)}/as_of={as_of}"
    for match in filter(None, map(_LATE.fullmatch, scope.lake.names(folder))):
        at = dt.datetime.strptime(match[1], "%Y-%m-%dT%H%M%S%z")
        kept = scope.why_kept("alerts", at) or _asked_again(scope, at)
        yield Found("alerts", as_of, match[0], at, (f"{folder}/{match[0]}",), kept)


def _asked_again(scope: Scope, at: dt.datetime | None) -> str:
    return _STANDS if at and scope.now - at <= _LOOKED_BACK else ""


def _standing_kinds(scope: Scope) -> set[str]:
    try:
        found = standing(scope.lake, scope.name)
    except LakeError:
        return set(EPISODES)
    return {one.kind for one in found.open_alarms} if found else set()


def _end_of(scope: Scope, day: str) -> dt.datetime | None:
    """The end of a day on the clock of the job's windows; None of what is none."""
    try:
        start = dt.datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(scope.job.window.timezone))
    except ValueError:
        return None
    return (start + dt.timedelta(days=1)).astimezone(dt.UTC)


# --- Delta tables


def _delta_files(scope: Scope, as_of: str | None = None) -> Iterator[Found]:
    """The files, of one window or all, that a Delta table has not shown for so long that nobody reads them any more."""
    for name in partitions.FORMATTED:
        table = layout.table(name, scope.name)
        for key, at in upkeep.unread(scope.lake, table, now=scope.now, label=as_of).items():
            _, _, folder, part = key.split("/")
            yield Found("delta_files", folder.removeprefix("as_of="), part, at, (key,))


# --- Litter


def _locks(scope: Scope) -> Iterator[Found]:
    """The locks of the job's windows that killed runs left: they hold nobody up."""
    for name in scope.lake.names("locks"):
        job, _, rest = name.partition(" ")
        match = _LOCK.fullmatch(rest)
        is_idle = match and scope.lake.is_idle(f"locks/{name}", seconds=length(LITTER_DAYS).total_seconds())
        if job == scope.name and match and is_idle:
            yield Found("litter", match["as_of"], name, None, (f"locks/{name}",))


def _remove_lock(scope: Scope, found: Found) -> None:
    """Takes the lock, and lets go of it. A window's may stand for a publication that was cut short: that is ended first."""
    with scope.lake.lock(found.keys[0], holder=f"the prune of {scope.name}"):
        if found.keys[0] == layout.lock(scope.name, found.as_of):
            recover(scope.lake, scope.name, found.as_of)


def litter(lake: Lake) -> dict[str, int]:
    """What killed writers left half written anywhere in the lake, older than a day, each with its bytes."""
    return lake.litter_bytes("", idle_seconds=length(LITTER_DAYS).total_seconds())


def sweep(lake: Lake) -> None:
    lake.sweep("", idle_seconds=length(LITTER_DAYS).total_seconds())
