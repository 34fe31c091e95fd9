"""The lake: the folder that everything is published into."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from tasks.core.errors import LakeError
from tasks.core.storage import locks, system
from tasks.core.storage.folder import HIDDEN, Folder, is_idle
from tasks.core.storage.system import lake_errors
from tasks.core.storage.tables import TableWriter

# What nobody has touched for so long under a hidden name was left by a writer that is dead: no file takes an hour to write.
ABANDONED_SECONDS = 3600.0


class Lake(Folder):
    """The folder that everything is published into."""

    in_store = "ObjectLake"
    # Whether a folder is moved in one step, whatever it holds: in an object store it is copied.
    moves_folders = True

    @contextlib.contextmanager
    def workplace(self, key: str) -> Iterator[Lake]:
        """A folder on this machine for others to put files into while the block runs; in a lake here it is the key's own."""
        yield self.below(key)

    def write_bytes(self, key: str, data: bytes) -> None:
        """Puts a file in place as a whole, over what may stand there."""
        target = self.path(key)
        with self._hidden_beside(target) as hidden, lake_errors("write", target):
            system.write_flushed(hidden, data)
            hidden.replace(target)
            system.flush_folder(target.parent)
        system.after_change("write", key)

    def append(self, key: str, data: bytes) -> None:
        """Adds to the end of a scratch file. Not flushed, and not one step: for what the next run throws away."""
        target = self.path(key)
        with lake_errors("write", target):
            system.make_folder(target.parent, self.root)
            system.make_file(target)
            with target.open("ab") as file:
                file.write(data)
        system.after_change("append", key)

    def create(self, key: str, data: bytes) -> bool:
        """Puts a file in place only where none stands; False if one did. Of two at once, one wins."""
        target = self.path(key)
        with self._hidden_beside(target) as hidden, lake_errors("write", target):
            system.write_flushed(hidden, data)
            try:
                target.hardlink_to(hidden)
            except FileExistsError:
                return False
            system.flush_folder(target.parent)
        system.after_change("create", key)
        return True

    @contextlib.contextmanager
    def parquet_writer(
        self,
        key: str,
        schema: pa.Schema,
        *,
        metadata: Mapping[str, str] | None = None,
        repeating: Sequence[str] | None = None,
    ) -> Iterator[TableWriter]:
        """A Parquet file that appears whole when the block ends well, and not at all when it does not.

        `repeating` are the columns whose values are worth a dictionary; not given, all are tried.
        """
        target = self.path(key)
        with self._hidden_beside(target) as hidden:
            writer = TableWriter(hidden, target, schema, repeating)
            try:
                yield writer
                writer.close(metadata or {})
            finally:
                writer.abandon()
            with lake_errors("write", target):
                system.flush_file(hidden)
                hidden.replace(target)
                system.flush_folder(target.parent)
        system.after_change("write", key)

    def copy(self, source: str, target: str) -> None:
        """Puts the bytes of a file under another key too, over what may stand there: as a second name of it, where it can.

        Nothing changes the bytes of a file that is in place, so the two stay what they are.
        """
        old, new = self.path(source), self.path(target)
        with self._hidden_beside(new) as hidden, lake_errors("copy", old):
            system.link_or_copy(old, hidden)
            hidden.replace(new)
            system.flush_folder(new.parent)
        system.after_change("write", target)

    def rename(self, source: str, target: str) -> None:
        """Moves a file or folder to where nothing stands; LakeError if something does. Done already is done."""
        old, new = self.path(source), self.path(target)
        if new.exists() and not old.exists():
            return
        with lake_errors("move", new):
            system.make_folder(new.parent, self.root)
            system.rename_no_replace(old, new)
            system.flush_folder(new.parent)
            system.flush_folder(old.parent)
        system.after_change("rename", target)

    def try_rename(self, source: str, target: str) -> bool:
        """As rename, but False where something stands already: of two at once, one wins."""
        try:
            self.rename(source, target)
        except LakeError:
            if self.exists(target):
                return False
            raise
        return True

    def swap(self, prepared: str, target: str) -> bool:
        """Puts a prepared folder in place of another in one step; the other is then where the prepared one was.

        Where nothing stands the folder is moved there. Returns whether the step was atomic: on a file system that
        cannot exchange two folders a reader may, for an instant, find none.
        """
        new, old = self.path(prepared), self.path(target)
        with lake_errors("publish", old):
            system.make_folder(old.parent, self.root)
            atomic = True
            if not old.exists():
                new.rename(old)
            elif not system.exchange(new, old):
                atomic = False
                system.exchange_in_three_steps(new, old)
            system.flush_folder(old.parent)
            system.flush_folder(new.parent)
        system.after_change("swap", target)
        return atomic

    def mend_swap(self, prepared: str, target: str) -> None:
        """Ends what a kill left of a swap that was not atomic: undone if the target was not yet in place, else done."""
        new, old = self.path(prepared), self.path(target)
        with lake_errors("publish", old):
            if not system.aside(new).exists():
                return
            system.aside(new).rename(new if old.exists() else old)
            system.flush_folder(old.parent)
            system.flush_folder(new.parent)
        system.after_change("swap", target)

    def remove(self, key: str) -> None:
        """Removes a file or a folder with all in it; nothing there is fine."""
        path = self.path(key)
        with lake_errors("remove", path):
            if path.is_dir() and not path.is_symlink():
                # Out of sight in one step first: nobody is to see a folder half removed.
                hidden = path.with_name(f"{HIDDEN}{uuid.uuid4().hex}")
                path.rename(hidden)
                shutil.rmtree(hidden)
            else:
                path.unlink(missing_ok=True)
        system.after_change("remove", key)

    def remove_empty(self, key: str) -> None:
        """Removes a folder in which nothing is. Whoever calls keeps others from writing into it."""
        with contextlib.suppress(OSError):
            self.path(key).rmdir()

    @contextlib.contextmanager
    def lock(self, key: str, *, holder: str, wait_seconds: float = 0) -> Iterator[None]:
        """Holds the lock of this name; WindowBusy, with the holder, when another process does. Frees itself on death."""
        path = self.path(key)
        with lake_errors("lock", path):
            system.make_folder(path.parent, self.root)
            descriptor = locks.acquire(path, wait_seconds=wait_seconds)
        try:
            with lake_errors("lock", path):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, holder.encode())
            yield
        finally:
            # Removed while held: whoever waits on the old file sees that it is gone, and tries again. A file that
            # cannot be removed locks nobody out.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            os.close(descriptor)

    def sweep(self, key: str, *, idle_seconds: float = 0, below: bool = True) -> None:
        """Removes what killed writers left under hidden names in a folder that this run has locked, and `below` it.

        Of a folder that others write to as well: what nobody has touched for so long.
        """
        for folder, folders, names in os.walk(self.path(key)):
            with lake_errors("remove what a killed run left in", Path(folder)):
                for name in [n for n in names if n.startswith(HIDDEN)]:
                    if is_idle(Path(folder, name), idle_seconds):
                        Path(folder, name).unlink(missing_ok=True)
            for name in [n for n in folders if n.startswith(HIDDEN)]:
                if is_idle(Path(folder, name), idle_seconds):
                    shutil.rmtree(Path(folder, name), ignore_errors=True)
            if not below:
                return

    @contextlib.contextmanager
    def _hidden_beside(self, target: Path) -> Iterator[Path]:
        hidden = target.with_name(f"{HIDDEN}{uuid.uuid4().hex}")
        with lake_errors("write", target):
            system.make_folder(target.parent, self.root)
        try:
            yield hidden
        finally:
            with lake_errors("write", target):
                hidden.unlink(missing_ok=True)
