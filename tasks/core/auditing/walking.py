"""All windows of a job, one after the other, without a lock: one that a run changes meanwhile is looked at again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.core import layout
from tasks.core.auditing import chain, histories, second_opinion, versions
from tasks.core.auditing.aside import notes_of
from tasks.core.auditing.chain import Checked
from tasks.core.auditing.mending import UNREADABLE
from tasks.core.auditing.records import Apart, Finding
from tasks.core.auditing.versions import Version
from tasks.core.delta.log import LOG as DELTA_LOG
from tasks.core.errors import DefinitionError, LamplighterError
from tasks.core.runs.manifest import Manifest
from tasks.core.storage import Folder, Lake

_ATTEMPTS = 3
_AS_OF = "as_of="
_TABLES = ("runs", *layout.TABLES, layout.SHADOW)


class Walked:
    """What came of all windows, and of the versions that scored them. No dataclass: Prefect would take it apart."""

    def __init__(self) -> None:
        self.windows: list[Checked] = []
        self.versions: list[Version] = []
        self.left_out: list[Apart] = []
        self.histories: list[Finding] = []
        self.strays: list[Finding] = []
        self.notes: list[str] = []

    @property
    def published(self) -> list[Manifest]:
        return [one.manifest for one in self.windows if one.manifest]

    @property
    def findings(self) -> list[Finding]:
        of_versions = [each for one in self.versions for each in one.findings]
        of_windows = [each for one in self.windows for each in one.findings]
        return [*of_versions, *self.histories, *of_windows, *self.strays]


def walk(
    lake: Lake,
    job: str,
    keys: Sequence[str],
    scope: Sequence[str] = (),
    *,
    tell: Callable[[int, int], None] = lambda _done, _all: None,
) -> Walked:
    """Follows the chain of every window, or of those in `scope`; DefinitionError where one of these was never run."""
    walked, labels = Walked(), labels_of(lake, job)
    if missing := [one for one in scope if one not in labels]:
        raise DefinitionError(
            f"{job} {missing[0]} has no run and no rows in {lake.address()}, so there is nothing to audit",
            state="nothing was audited",
            next_step=f"lamplighter runs {job}",
        )
    wanted = [one for one in labels if one in scope] if scope else labels
    for place, as_of in enumerate(wanted, start=1):
        found = check_settled(lake, job, as_of, tuple(keys))
        walked.windows += [found] if isinstance(found, Checked) else []
        walked.left_out += [found] if isinstance(found, Apart) else []
        walked.notes += notes_of(lake, job, as_of)
        tell(place, len(wanted))
    walked.versions = versions.check(lake, walked.published)
    walked.histories = histories.check(lake, [one.model.name for one in walked.published])
    if not scope:
        walked.strays = [*_strays(lake, job), *second_opinion.differences(lake, job)]
    if unsealed := sum(one.unsealed for one in walked.windows):
        walked.notes.append(
            f"{unsealed:,} manifests were written before manifests had a digest: an edit of these shows less"
        )
    return walked


def check_settled(lake: Folder, job: str, as_of: str, keys: tuple[str, ...]) -> Checked | Apart:
    """The window as it stood still for one look; Apart where a run changes it all the while."""
    for _ in range(_ATTEMPTS):
        seen = chain.look(lake, job, as_of)
        found = _checked(lake, job, seen, keys)
        # What is whole is whole. What is not may be on its way to another state: then it is looked at again.
        if not (found.findings or found.open_run):
            return found
        is_busy = lake.is_locked(layout.lock(job, as_of))
        if not is_busy and chain.look(lake, job, as_of) == seen:
            return Apart(as_of=as_of, why=chain.describe_open(found)) if found.open_run else found
    return Apart(as_of=as_of, why="a run was at work on it while it was looked at")


def _checked(lake: Folder, job: str, seen: chain.Seen, keys: tuple[str, ...]) -> Checked:
    """The chain of a window; a file that cannot be read, or is gone by now, is a break until somebody has looked again."""
    try:
        return chain.check(lake, job, seen, keys)
    except Exception as error:  # noqa: BLE001 - what somebody wrote there must not keep all else from being audited
        said = error.failed if isinstance(error, LamplighterError) else f"{type(error).__name__}: {error}"
        step = error.next_step if isinstance(error, LamplighterError) else ""
        found = Finding(
            link="partition",
            as_of=seen.as_of,
            file=lake.address(layout.runs(job, seen.as_of)),
            what="what the window's files hold",
            found=f"not to be checked ({' '.join(said.split())})",
            expected="readable",
            next_step=step or UNREADABLE,
        )
        return Checked(seen.as_of, findings=[found])


def labels_of(lake: Folder, job: str) -> list[str]:
    """The windows that have a run, or a partition of any table, in the order of time."""
    names = {name for table in _TABLES for name in lake.names(layout.table(table, job))}
    return sorted(name.removeprefix(_AS_OF) for name in names if name.startswith(_AS_OF))


def _strays(lake: Folder, job: str) -> list[Finding]:
    """What lies in a table and in no partition: a reader's glob may meet it."""
    entries = [
        f"{layout.table(table, job)}/{name}" for table in _TABLES[1:] for name in lake.names(layout.table(table, job))
    ]
    return [
        Finding(
            link="stray",
            file=lake.address(key),
            what="it",
            found="no partition",
            expected="absent",
            next_step=f"see whose it is, and move it out of the table; then: lamplighter audit {job}",
        )
        for key in entries
        if not key.rpartition("/")[2].startswith((_AS_OF, DELTA_LOG))
    ]
