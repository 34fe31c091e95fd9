"""One case: a file is changed, a command is typed, and what it said and left is held against what was promised."""

import os
import pathlib
import random
import re
import shutil
import signal
from dataclasses import dataclass

from tests.unit.fuzz.mutations import mutate
from tests.unit.fuzz.world import FIRST, SECOND, THIRD, Typed, typed

_JOB = "readings"
# What changes nothing but pages and caches.
LOOKS: tuple[tuple[str, ...], ...] = (
    ("status",),
    ("check",),
    ("runs", _JOB),
    ("runs", _JOB, "--missing", "--since", FIRST),
    *(("show", _JOB, "--as-of", day) for day in (FIRST, SECOND, THIRD)),
    *(("published", _JOB, "--as-of", day) for day in (FIRST, SECOND, THIRD)),
    ("quarantine", _JOB, "--as-of", FIRST),
    ("compare", _JOB, "--as-of", FIRST, "--against", "lake/predictions/readings"),
    ("history", _JOB),
    ("releases", _JOB),
    ("recall", _JOB, "--version", "2", "--plan"),
    ("backfill", _JOB, "--from", FIRST, "--to", THIRD, "--reason", "to see", "--rescore", "--plan"),
    ("backfill", _JOB, "--queued", "--plan"),
    ("prune", "--as-of", "2026-01-01"),
    ("prune", _JOB),
    ("release", _JOB, "-o", "readings-9.tar.gz", "--created-at", "2024-05-05"),
    ("leak-check", _JOB, "--as-of", FIRST),
    ("schema",),
    ("deployments",),
)
ACTS: tuple[tuple[str, ...], ...] = (
    ("score", _JOB, "--as-of", FIRST),
    ("score", _JOB, "--as-of", SECOND),
    ("score", _JOB, "--as-of", FIRST, "--rescore", "once more"),
    ("score", _JOB, "--as-of", THIRD, "--rescore", "from what was kept", "--from-snapshot"),
    ("score", _JOB, "--as-of", FIRST, "--dry-run"),
    ("monitor", _JOB, "--as-of", "2024-05-07"),
    ("monitor", _JOB, "--as-of", "2024-05-06"),
    ("audit", _JOB, "--seed", "1"),
    ("challenge", _JOB, "--as-of", THIRD),
    ("prune", "--as-of", "2026-01-01", "--apply"),
    ("promote", _JOB, "--version", "1", "--reason", "it was good"),
    ("rollback", _JOB, "--reason", "it was good"),
    ("recall", _JOB, "--version", "2", "--reason", "it was bad"),
    ("train", _JOB),
    ("install", "readings-1.tar.gz", "--yes", "--force", "--reason", "once more"),
    ("suggest", _JOB, "--as-of", FIRST),
)
# What a command may never take away, whatever lies beside it: its bytes are somewhere in the lake afterwards.
_KEPT = re.compile(
    r"lake/(predictions|superseded|withdrawn|models|releases|audits|quarantine)/|deployments/|expectations/"
)
_MANIFEST = re.compile(r"lake/runs/.*/manifest\.json$")


@dataclass(frozen=True)
class Case:
    file: str
    seed: int
    words: tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    case: Case
    what: str
    ended: Typed
    faults: tuple[str, ...]

    def __str__(self) -> str:
        said = (self.ended.unforeseen or self.ended.err or self.ended.out)[-3000:]
        return f"{self.case.file}, {self.what} (seed {self.case.seed}); lamplighter {' '.join(self.case.words)}: {'; '.join(self.faults)}\n{said}"


def files_of(project: pathlib.Path) -> list[str]:
    """The files that a command may read, by their paths in the project; not what is written for eyes alone."""
    found = (str(path.relative_to(project)) for path in project.rglob("*") if path.is_file())
    left_out = ("lake/locks/", "__pycache__")
    return sorted(one for one in found if not any(part in one for part in left_out) and not one.endswith(".html"))


def tried(project: pathlib.Path, case: Case) -> Judged:
    """Changes the file in a copy of the project, types the command there, and throws the copy away."""
    folder = project.parent / f"case-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(project, folder, copy_function=os.link, symlinks=True)
    try:
        what = mutate(folder / case.file, random.Random(case.seed))
        before = _state(folder)
        ended = typed(folder, *case.words)
        return Judged(case, what, ended, tuple(_faults(folder, case, ended, before)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _faults(folder: pathlib.Path, case: Case, ended: Typed, before: dict[str, tuple[int, ...]]) -> list[str]:
    return [*_faults_of_words(ended), *_faults_of_files(case, before, _state(folder))]


def _faults_of_words(ended: Typed) -> list[str]:
    if ended.code == -signal.SIGALRM:
        return ["it hangs"]
    if ended.code not in (0, 1, 2, 3):
        return [f"it ended with {ended.code}"]
    if ended.unforeseen or "not foreseen" in ended.err or "Traceback" in ended.err + ended.out:
        return ["it was not foreseen"]
    return ["it does not say what to do next"] if ended.code and not _is_clear(ended) else []


def _faults_of_files(case: Case, before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]]) -> list[str]:
    if case.words in LOOKS:
        return [
            f"{name} was changed" for name, mark in before.items() if after.get(name) != mark and not _may_change(name)
        ]
    left = set(after.values())
    lost = [
        name for name, mark in before.items() if _KEPT.search(name) and mark not in left and not _is_for(case, name)
    ]
    gone = [name for name in before if _MANIFEST.search(name) and name not in after]
    return [f"{name} was lost" for name in (*lost, *gone)]


def _is_for(case: Case, name: str) -> bool:
    """Whether it is what the command is there to replace or take away."""
    if case.words[0] == "audit":
        return "/audits/" in name
    if case.words[0] == "install":
        return name.startswith(("deployments/", "expectations/"))
    if "--rescore" in case.words or case.words[0] in ("prune", "score"):
        return name == case.file or "/quarantine/" in name or "/superseded/" in name
    return False


def _may_change(name: str) -> bool:
    return name.startswith(("lake/caches/", "lake/locks/", "lake/reports/", "lake/scratch/")) or "readings-9" in name


def _is_clear(ended: Typed) -> bool:
    """One paragraph that says what next; a table of what was found, as those of many windows print, says it too."""
    said = [line for line in (ended.err + ended.out).splitlines() if line.strip()]
    return any("Next" in line or "lamplighter " in line for line in said) and len(ended.err) < 6000


def _state(folder: pathlib.Path) -> dict[str, tuple[int, ...]]:
    """Each file by its number and the time of its last change: a file that was written anew has others."""
    marks = {}
    for path in folder.rglob("*"):
        stat = path.lstat()
        if path.is_symlink() or not path.is_dir():
            marks[str(path.relative_to(folder))] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    return marks
