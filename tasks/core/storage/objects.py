"""A lake in an object store, read. A folder is a prefix: it is there as long as something lies in it.

What is appended to is scratch, and lies on this machine.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from tasks.core.errors import DefinitionError, LakeError
from tasks.core.storage import leases
from tasks.core.storage.addresses import parse_address
from tasks.core.storage.folder import HIDDEN, Folder, checked_parts
from tasks.core.storage.object_files import RangedFile
from tasks.core.storage.object_store import Found, Store
from tasks.core.storage.private import _is_ours
from tasks.core.storage.system import lake_errors
from tasks.core.storage.tables import TableReader

# Names that no folder has: nothing below them is looked for.
_FILES_ONLY = (".json", ".html", ".lock")
# Beside a name to which something is being moved, so that of two at once one wins; and what it is, until all is there.
CLAIM, NOTE = f"{HIDDEN}claim-", ".of"


@functools.cache
def _store(container: str, quick: bool, _process: int) -> Store:
    return Store(container, quick=quick)


class ObjectFolder(Folder):
    """A prefix that is read."""

    def __init__(self, address: str) -> None:
        self._place = parse_address(str(address))

    @property
    def root(self) -> Path:  # type: ignore[override]
        raise self._no_path("")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address()!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectFolder) and (type(self), self._place) == (type(other), other._place)

    def __hash__(self) -> int:
        return hash((type(self), self._place))

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.address(),))

    def address(self, key: str = "") -> str:
        return f"{self._place}/{key}" if self._whole(key) and key else str(self._place)

    def path(self, key: str = "") -> Path:
        raise self._no_path(key)

    def below(self, key: str) -> Self:
        return type(self)(self.address(key))

    @contextlib.contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """A copy of a file, or of a folder with all in it, on this machine, for as long as the block runs."""
        with tempfile.TemporaryDirectory(prefix="lamplighter-") as folder:
            found = self._store.below(self._whole(key))
            if not found:
                target = Path(folder, key.rpartition("/")[2])
                target.write_bytes(self.read_bytes(key))
                yield target
                return
            for one in found:
                target = Path(folder, one.key.removeprefix(self._whole(key)).lstrip("/"))
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    file.writelines(self._store.stream(one.key))
            yield Path(folder)

    def exists(self, key: str) -> bool:
        if self._appended(key):
            return True
        whole = self._whole(key)
        if "." not in key.rpartition("/")[2]:
            # More often a folder than a file.
            return self._store.any(whole) or bool(key and self._store.head(whole))
        return self._store.head(whole) is not None or (not key.endswith(_FILES_ONLY) and self._store.any(whole))

    def has_file(self, key: str) -> bool:
        return bool(key) and self._store.head(self._whole(key)) is not None

    def holds_file(self, key: str) -> bool:
        with contextlib.suppress(LakeError):
            return self.has_file(key)
        return False

    def names(self, key: str = "") -> list[str]:
        """What is on its way to a name by `try_rename` is not there yet."""
        folders, objects = self._store.level(self._whole(key))
        found = {whole.rpartition("/")[2] for whole in (*folders, *(one.key for one in objects))}
        moving = {name[len(CLAIM) : -len(NOTE)] for name in found if name.startswith(CLAIM) and name.endswith(NOTE)}
        return sorted({name for name in found if not name.startswith(".")} - moving | self._appended_names(key))

    def folder_marks(self, key: str) -> dict[str, str]:
        """By name, sorted, the marks of all objects in each folder, as one."""
        marks: dict[str, list[str]] = {}
        for one in self._store.below(self._whole(key)):
            name, _, rest = self._below(one, key).partition("/")
            if rest and not name.startswith("."):
                marks.setdefault(name, []).append(f"{rest} {one.mark}")
        return {name: hashlib.sha256("\n".join(some).encode()).hexdigest() for name, some in sorted(marks.items())}

    def files(self, key: str = "") -> list[str]:
        return [self._key(one) for one in self._store.below(self._whole(key))]

    def sizes_bytes(self, key: str) -> dict[str, int]:
        return {self._key(one): one.size for one in self._objects(key)}

    def litter_bytes(self, key: str, *, idle_seconds: float) -> dict[str, int]:
        found: dict[str, int] = {}
        for litter, objects in self._litter(key, idle_seconds=idle_seconds).items():
            found[litter] = sum(one.size for one in objects)
        return found

    def is_idle(self, key: str, *, seconds: float) -> bool:
        found = self._store.head(self._whole(key))
        return found is not None and self._is_idle(found, seconds)

    def size_bytes(self, key: str) -> int:
        if scratch := self._appended(key):
            return scratch.stat().st_size
        return self._required(key).size

    def read_bytes(self, key: str) -> bytes:
        if scratch := self._appended(key):
            return scratch.read_bytes()
        return self._store.get(self._whole(key))[0]

    def read_range(self, key: str, start: int, size: int) -> bytes:
        if scratch := self._appended(key):
            with scratch.open("rb") as file:
                file.seek(start)
                return file.read(size)
        found = self._required(key)
        end = min(start + size, found.size)
        return self._store.get_range(found.key, start, end, found.e_tag) if start < end else b""

    def sha256(self, key: str) -> str:
        digest = hashlib.sha256()
        for part in self._store.stream(self._whole(key)):
            digest.update(part)
        return digest.hexdigest()

    def is_locked(self, key: str) -> bool:
        return leases.is_held(self._store, self._whole(key))

    def parquet(self, key: str) -> TableReader:
        """Its end is read, and then the column chunks that are asked for."""
        with lake_errors("read", self.address(key)):
            return TableReader(self.address(key), RangedFile(self._store, self._whole(key)))

    # -- below ----------------------------------------------------------------------------------------------------

    @property
    def _store(self) -> Store:
        return _store(self._place.container, False, os.getpid())

    @property
    def _quick(self) -> Store:
        return _store(self._place.container, True, os.getpid())

    def _whole(self, key: str) -> str:
        parts = checked_parts(key, self._place)
        if any(ord(sign) < ord(" ") for sign in key):
            raise DefinitionError(
                f"{key[:100]!r} is not a name in an object store", next_step="give a name without control characters"
            )
        return "/".join((*filter(None, [self._place.prefix]), *parts))

    def _key(self, found: Found) -> str:
        return found.key.removeprefix(f"{self._place.prefix}/") if self._place.prefix else found.key

    def _below(self, found: Found, key: str) -> str:
        return self._key(found).removeprefix(f"{key}/") if key else self._key(found)

    def _objects(self, key: str) -> list[Found]:
        """Of a folder all that is in it; of a file itself."""
        if found := self._store.below(self._whole(key)):
            return found
        alone = self._store.head(self._whole(key)) if key else None
        return [alone] if alone else []

    def _required(self, key: str) -> Found:
        found = self._store.head(self._whole(key))
        if found is None:
            raise LakeError(
                f"could not read {self.address(key)}: no such file there",
                state="what was published stands as it was",
                next_step="see what lies there, and run it again",
            )
        return found

    def _litter(self, key: str, *, idle_seconds: float, below: bool = True) -> dict[str, list[Found]]:
        """What lies under hidden names that writers give, and nobody has touched for so long."""
        found: dict[str, list[Found]] = {}
        for one in self._store.below(self._whole(key)) if below else self._right_below(key):
            parts = self._below(one, key).split("/")
            hidden = next((at for at, part in enumerate(parts) if part.startswith(HIDDEN)), None)
            if hidden is not None:
                litter = "/".join((*([key] if key else []), *parts[: hidden + 1]))
                found.setdefault(litter, []).append(one)
        return {name: some for name, some in found.items() if all(self._is_idle(one, idle_seconds) for one in some)}

    def _right_below(self, key: str) -> list[Found]:
        """The objects in a folder, and those in hidden folders there."""
        folders, objects = self._store.level(self._whole(key))
        hidden = [one for one in folders if one.rpartition("/")[2].startswith(HIDDEN)]
        return [*objects, *(one for folder in hidden for one in self._store.below(folder))]

    def _is_idle(self, found: Found, seconds: float) -> bool:
        if not seconds:
            return True
        return (leases.store_now(self._store, found.key) - found.modified_at).total_seconds() > seconds

    def _no_path(self, key: str) -> LakeError:
        return LakeError(
            f"{self.address(key)} is no file of this machine", next_step="run this with a lake that is a folder"
        )

    # -- scratch --------------------------------------------------------------------------------------------------

    @property
    def _scratch(self) -> Path:
        name = hashlib.sha256(str(self._place).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir(), f"lamplighter-{os.getuid()}", name)

    def _own_scratch(self, key: str) -> Path | None:
        """Where the scratch of a key lies; None where others may have put it there, or a link leads out of it."""
        path = self._scratch.joinpath(*checked_parts(key, self._place))
        if not _is_ours(self._scratch.parent, stat.S_ISDIR):
            return None
        below = [one for one in (path, *path.parents) if one.is_relative_to(self._scratch)]
        return None if any(one.is_symlink() for one in below) else path

    def _is_appended_to(self, key: str) -> bool:
        """Whether it is one of those that stages append to: all others are objects, whatever lies on this machine."""
        parts = checked_parts(key, self._place)
        return "scratch" in parts or key.endswith(".asked")

    def _appended(self, key: str) -> Path | None:
        path = self._own_scratch(key) if self._is_appended_to(key) else None
        return path if path and path.is_file() else None

    def _appended_names(self, key: str) -> set[str]:
        folder = self._own_scratch(key) if self._is_appended_to(key) else None
        return {one.name for one in folder.iterdir()} if folder and folder.is_dir() else set()


# Beside a name to which something is being moved, so that of two at once one wins.
