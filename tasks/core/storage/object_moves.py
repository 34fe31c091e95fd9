"""What a file system does to folders in one step, done to prefixes by copies and removals, each of which may be repeated.

What is moved is removed only when all of it lies at its target, by its content. So whoever finds both after a kill goes on
where it stopped. A manifest is copied last and removed first: without it a workspace or a model version is none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from tasks.core.errors import LakeError
from tasks.core.storage import leases, system
from tasks.core.storage.object_store import Found, Store

_LAST = "manifest.json"
_AT_ONCE = 1000
Objects = dict[str, Found]


class Moves:
    """Moves within one lake; `store` has whole keys."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def move(self, source: str, target: str) -> None:
        """A file or a folder to where nothing stands, or a part of the same, or all of it."""
        old, new = self._all(source), self._all(target)
        if not old and not new:
            raise self._nothing(source)
        if not old:
            return
        if new and not (self._is_part(new, old) or self._is_part(old, new)):
            raise LakeError(
                f"could not move {self._store.container}/{target}: File exists, and is another than what was to be moved",
                state="what was published stands as it was",
                next_step="look at what lies there, and run it again",
            )
        self._copy(old, new, target)
        self._remove(old)

    def remove(self, key: str) -> None:
        self._remove(self._all(key))

    def refuse_nothing(self, key: str) -> None:
        """LakeError where there is nothing to move."""
        if not self._all(key):
            raise self._nothing(key)

    def is_whole(self, source: str, target: str) -> bool:
        """Whether all of a source that is left lies at its target too."""
        old, new = self._all(source), self._all(target)
        return bool(new) and self._is_part(old, new)

    def swap(self, prepared: str, target: str) -> bool:
        """Puts `prepared` in the place of `target`, and what was there in its own; whether readers saw one step of it.

        What stands there is removed before the new is put: a reader meanwhile finds nothing, and never both.
        """
        new, old = self._all(prepared), self._all(target)
        if not new:
            raise self._nothing(prepared)
        if not old:
            self._copy(new, {}, target)
            self._remove(new)
            return len(new) == 1
        if self._is_part(new, old) and self._is_part(old, new):
            # Nobody could tell one from the other.
            return True
        aside = f"{prepared}.old"
        self._copy(old, self._all(aside), aside)
        self._remove(old)
        self._put_in(prepared, target, aside)
        return False

    def mend(self, prepared: str, target: str) -> bool:
        """Ends what a kill left of a swap: undone where the new was not yet in place, else done. Whether there was any."""
        aside = f"{prepared}.old"
        kept, new, old = self._all(aside), self._all(prepared), self._all(target)
        if not kept:
            # A first publication: it is in place, and was to be removed where it came from.
            if not new or not old or not (self._is_part(new, old) or self._is_part(old, new)):
                return False
            self._copy(new, old, target)
            self._remove(new)
        elif self._is_part(kept, old):
            # Nothing was removed yet.
            self._remove(kept)
        elif self._is_part(old, kept):
            # The old was on its way out, and the new is not there.
            self._copy(kept, old, target)
            self._remove(kept)
        elif self._is_part(kept, new):
            # All was done but this.
            self._remove(kept)
        else:
            self._put_in(prepared, target, aside)
        return True

    def _put_in(self, prepared: str, target: str, aside: str) -> None:
        """The second half: the new is put, and what was there goes to where the new was prepared."""
        kept, new, there = self._all(aside), self._all(prepared), self._all(target)
        if not there or not self._is_part(new, kept):
            self._copy(new, there, target)
            self._remove(new)
            new = {}
        self._copy(kept, new, prepared)
        self._remove(kept)

    # -- objects by what they are called below their folder -------------------------------------------------------

    def _all(self, key: str) -> Objects:
        """The objects of a folder by their names in it; of a file itself, by none."""
        if found := self._store.below(key):
            return {one.key.removeprefix(f"{key}/"): one for one in found}
        alone = self._store.head(key)
        return {"": alone} if alone else {}

    def _copy(self, source: Objects, there: Objects, target: str) -> None:
        for name in _in_order(source):
            if name in there and self._is_same(source[name], there[name]):
                continue
            key = f"{target}/{name}" if name else target
            self._store.copy(source[name], key, refuse=leases.refuse_lost)
            system.after_change("copy", key)

    def _remove(self, objects: Objects) -> None:
        names = _in_order(objects)[::-1]
        first = [name for name in names if name.rpartition("/")[2] == _LAST]
        rest = [name for name in names if name not in first]
        for some in (first, *(rest[at : at + _AT_ONCE] for at in range(0, len(rest), _AT_ONCE))):
            if some:
                self._store.delete([objects[name].key for name in some], refuse=leases.refuse_lost)
                system.after_change("delete", objects[some[0]].key)

    def _is_part(self, some: Objects, whole: Objects) -> bool:
        """Whether each object is in the other folder as well, by its content."""
        return all(name in whole and self._is_same(one, whole[name]) for name, one in some.items())

    def _is_same(self, one: Found, other: Found) -> bool:
        if one.size != other.size:
            return False
        # A copy of what was uploaded in parts has another mark than that, and some stores give none.
        return (bool(one.e_tag) and one.e_tag == other.e_tag) or self._digest(one) == self._digest(other)

    def _digest(self, found: Found) -> bytes:
        digest = hashlib.sha256()
        for part in self._store.stream(found.key):
            digest.update(part)
        return digest.digest()

    def _nothing(self, key: str) -> LakeError:
        return LakeError(
            f"could not move {self._store.container}/{key}: No such file or folder",
            state="what was published stands as it was",
            next_step="look at what lies there, and run it again",
        )


def _in_order(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (name.rpartition("/")[2] == _LAST, name))
