"""Which file is changed, how, and which command is typed then."""

import pathlib
import random
from collections.abc import Iterator

from tests.unit.fuzz.judging import ACTS, LOOKS, Case, files_of

# Who is most likely to meet a file; the other commands are typed at it as well, and less often.
_SCORING = ("score", "challenge", "promote", "rollback", "release", "train", "monitor", "audit")
_READ_BY = {
    "readings-1": ("install",),
    "deployments/": ("check", "score", "status", "show", "release", "deployments", "monitor"),
    "expectations/": ("check", "score", "release"),
    "lake/audits": ("status", "audit"),
    "lake/labels": ("monitor", "status", "promote"),
    "lake/monitoring": ("monitor", "status"),
    "lake/performance": ("monitor", "status", "audit"),
    "lake/alarms": ("monitor", "audit", "status"),
    "lake/models": (*_SCORING, "history", "recall", "status"),
    "lake/releases": ("releases", "install", "release", "score"),
    "lake/queue": ("status", "backfill", "show", "score", "prune"),
    "lake/recalls": ("recall", "status"),
    "lake/predictions": (
        "score",
        "audit",
        "monitor",
        "compare",
        "recall",
        "published",
        "status",
        "leak-check",
        "challenge",
    ),
    "lake/latest": ("score", "recall"),
    "lake/caches": ("score", "status", "recall"),
    "lake/": (
        "status",
        "runs",
        "show",
        "published",
        "prune",
        "backfill",
        "recall",
        "audit",
        "score",
        "monitor",
        "quarantine",
    ),
}
_NEAR = 0.8


def drawn(
    project: pathlib.Path, count: int, chance: random.Random, only: str = "", command: str = ""
) -> Iterator[Case]:
    """Cases by a seed: each kind of file comes as often, however many there are of it."""
    groups: dict[str, list[str]] = {}
    for name in files_of(project):
        if only in name:
            groups.setdefault(_kind(name), []).append(name)
    kinds = sorted(groups)
    words = [one for one in (*LOOKS, *ACTS) if " ".join(one).startswith(command)]
    for _ in range(count):
        file = chance.choice(groups[chance.choice(kinds)])
        near = [one for one in words if one[0] in _readers(file)]
        yield Case(file, chance.getrandbits(32), chance.choice(near if near and chance.random() < _NEAR else words))


def _readers(file: str) -> tuple[str, ...]:
    return next((readers for prefix, readers in _READ_BY.items() if file.startswith(prefix)), ())


def _kind(name: str) -> str:
    """A file's table and what it is there: `lake/runs manifest.json`."""
    parts = name.split("/")
    last = parts[-1]
    kind = last if not last.startswith(("part-", "as_of", "0")) else last.rpartition(".")[2]
    return f"{'/'.join(parts[:2])} {'batches ' if 'batches' in parts else ''}{kind}"
