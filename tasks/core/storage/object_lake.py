"""The lake in an object store, written: each change is one request, or several that may be repeated.

A file is put by one PUT, or by the end of an upload in parts; what is put only where nothing is, by a conditional PUT.
Before each change the leases that this run holds are looked at: who has lost one changes nothing any more.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from tasks.core.errors import LakeError, WindowBusy
from tasks.core.storage import leases, system
from tasks.core.storage.lake import Lake
from tasks.core.storage.object_files import UploadSink
from tasks.core.storage.object_moves import Moves
from tasks.core.storage.objects import CLAIM, NOTE, ObjectFolder
from tasks.core.storage.tables import TableWriter

__all__ = ["ObjectFolder", "ObjectLake"]


class ObjectLake(ObjectFolder, Lake):
    """The prefix that everything is published into."""

    moves_folders = False

    @contextlib.contextmanager
    def workplace(self, key: str) -> Iterator[Lake]:
        """A folder of this machine, which is gone when the block ends."""
        self._whole(key)
        with tempfile.TemporaryDirectory(prefix="lamplighter-") as folder:
            yield Lake(folder)

    def write_bytes(self, key: str, data: bytes) -> None:
        whole = self._whole(key)
        leases.refuse_lost()
        self._store.put(whole, data)
        system.after_change("write", key)

    def append(self, key: str, data: bytes) -> None:
        """Adds to the end of a scratch file of this machine: an object cannot be added to."""
        if not self._is_appended_to(key):
            raise ValueError(f"{key!r} is no key that is appended to: it would not be found again")
        with system.lake_errors("write", self._scratch):
            target = self._made_scratch(key)
            with target.open("ab") as file:
                file.write(data)
        system.after_change("append", key)

    def create(self, key: str, data: bytes) -> bool:
        whole = self._whole(key)
        leases.refuse_lost()
        if self._store.create(whole, data) is None:
            return False
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
        """A Parquet file on its way up in parts, which is there when the block ends well; else the upload is aborted."""
        whole = self._whole(key)
        leases.refuse_lost()
        with self._store.upload(whole) as upload:
            sink = UploadSink(self._store, whole, upload)
            writer = TableWriter(sink, self.address(key), schema, repeating)
            try:
                yield writer
                writer.close(metadata or {})
                leases.refuse_lost()
            except BaseException:
                sink.give_up()
                raise
            finally:
                writer.abandon()
        system.after_change("write", key)

    def copy(self, source: str, target: str) -> None:
        """Puts the bytes of a file under another key too, over what may stand there; they do not pass this machine."""
        old, new = self._whole(source), self._whole(target)
        found = self._store.head(old)
        if found is None:
            raise LakeError(f"could not copy {self.address(source)}: there is no such file", next_step="run it again")
        self._store.copy(found, new, refuse=leases.refuse_lost)
        system.after_change("write", target)

    def rename(self, source: str, target: str) -> None:
        """Moves a file or folder to where nothing stands. What a kill left of the same move is gone on with."""
        old, new = self._whole(source), self._whole(target)
        leases.refuse_lost()
        self._moves.move(old, new)
        system.after_change("rename", target)

    def try_rename(self, source: str, target: str) -> bool:
        """As rename, but False where something stands already. Until it is whole the target is hidden from `names`."""
        old, new = self._whole(source), self._whole(target)
        leases.refuse_lost()
        folder, _, name = target.rpartition("/")
        claim = f"{folder}/{CLAIM}{name}".lstrip("/")
        try:
            with self.lock(claim, holder=source, wait_seconds=2 * leases.LEASE_SECONDS):
                self._clear_half_moved(claim, target)
                if self.exists(target):
                    return False
                self._moves.refuse_nothing(old)
                self._store.put(f"{self._whole(claim)}{NOTE}", old.encode())
                system.after_change("claim", target)
                self._moves.move(old, new)
                self._store.delete([f"{self._whole(claim)}{NOTE}"], refuse=leases.refuse_lost)
        except WindowBusy as busy:
            raise LakeError(busy.failed, state="nothing was changed", next_step=busy.next_step) from busy
        system.after_change("rename", target)
        return True

    def swap(self, prepared: str, target: str) -> bool:
        """Puts a prepared folder where nothing stands, by one request that makes it visible; in the place of another by
        several: a reader may, for an instant, find none.
        """
        new, old = self._whole(prepared), self._whole(target)
        leases.refuse_lost()
        atomic = self._moves.swap(new, old)
        system.after_change("swap", target)
        return atomic

    def mend_swap(self, prepared: str, target: str) -> None:
        if self._moves.mend(self._whole(prepared), self._whole(target)):
            system.after_change("swap", target)

    def remove(self, key: str) -> None:
        whole = self._whole(key)
        self._moves.remove(whole)
        scratch = self._own_scratch(key)
        if scratch and scratch.is_dir():
            shutil.rmtree(scratch, ignore_errors=True)
        elif scratch:
            scratch.unlink(missing_ok=True)
        system.after_change("remove", key)

    def remove_empty(self, key: str) -> None:
        """A folder without anything in it is none."""

    @contextlib.contextmanager
    def lock(self, key: str, *, holder: str, wait_seconds: float = 0) -> Iterator[None]:
        """Holds the lease of this name; WindowBusy, with the holder, when another does. It ends soon after its owner."""
        name = key.rpartition("/")[2].rpartition(".")[0] or key.rpartition("/")[2]
        with leases.lease(
            self._store, self._quick, self._whole(key), name=name, holder=holder, wait_seconds=wait_seconds
        ):
            yield

    def sweep(self, key: str, *, idle_seconds: float = 0, below: bool = True) -> None:
        """As of a folder of this machine. Uploads that a kill cut short nobody sees: the bucket's lifecycle rule ends them."""
        for litter, objects in self._litter(key, idle_seconds=idle_seconds, below=below).items():
            folder, _, name = litter.rpartition("/")
            if name.startswith(CLAIM):
                self._take_claim_away(litter, f"{folder}/{name.removeprefix(CLAIM).removesuffix(NOTE)}".lstrip("/"))
            else:
                self._store.delete([one.key for one in objects], refuse=leases.refuse_lost)

    # -- below ----------------------------------------------------------------------------------------------------

    @property
    def _moves(self) -> Moves:
        return Moves(self._store)

    def _clear_half_moved(self, claim: str, target: str) -> None:
        """What a killed mover left: all of it stands already, or none of it is to stand. Whoever calls has the claim."""
        note, new = f"{self._whole(claim)}{NOTE}", self._whole(target)
        if self._store.head(note) is None:
            return
        old = self._store.get(note)[0].decode()
        if self._moves.is_whole(old, new):
            self._moves.remove(old)
        else:
            self._moves.remove(new)
        self._store.delete([note], refuse=leases.refuse_lost)

    def _take_claim_away(self, claim: str, target: str) -> None:
        with contextlib.suppress(WindowBusy), self.lock(claim.removesuffix(NOTE), holder="a sweep"):
            self._clear_half_moved(claim.removesuffix(NOTE), target)

    def _made_scratch(self, key: str) -> Path:
        """For this user alone: what lies in a folder that anybody may write to is not trusted."""
        own = self._scratch.parent
        with contextlib.suppress(FileExistsError):
            own.mkdir(mode=0o700)
        path = self._own_scratch(key)
        if path is None:
            raise LakeError(
                f"{own} is not this user's alone, or holds a link",
                state="nothing was written there",
                next_step="remove it, or set TMPDIR",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
