"""Files of an object store as Arrow wants them: read by ranges, written as an upload."""

from __future__ import annotations

import io
import os
from typing import Any

from tasks.core.storage.object_store import Store

# A reader asks for the end first, and of a small file that is all of it.
_TAIL_BYTES = 64 << 10
_FIRST_AHEAD_BYTES, _MOST_AHEAD_BYTES = 256 << 10, 8 << 20


class RangedFile(io.RawIOBase):
    """A file that is read by ranges, each of the same object. Reads that follow one another are read ahead of, ever further.

    A column chunk that is asked for alone is fetched alone: what lies between those that are wanted is not read.
    """

    def __init__(self, store: Store, key: str) -> None:
        super().__init__()
        self._store = store
        self._found, end = store.tail(key, _TAIL_BYTES)
        self._tail = self._found.size - len(end), end
        self._at, self._ahead_bytes = 0, _FIRST_AHEAD_BYTES
        self._held: tuple[int, bytes] = (0, b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._found.size}[whence]
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """As many bytes, or those that are left."""
        left = max(self._found.size - self._at, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        data = self._read(self._at, self._at + wanted) if wanted else b""
        self._at += len(data)
        return data

    def _read(self, start: int, end: int) -> bytes:
        for first, data in (self._tail, self._held):
            if first <= start and end <= first + len(data):
                return data[start - first : end - first]
        held_until = self._held[0] + len(self._held[1])
        follows = self._held[1] and self._held[0] <= start <= held_until
        self._ahead_bytes = min(2 * self._ahead_bytes, _MOST_AHEAD_BYTES) if follows else _FIRST_AHEAD_BYTES
        until = min(max(end, start + self._ahead_bytes) if follows else end, self._found.size)
        self._held = start, self._fetched(start, until)
        return self._held[1][: end - start]

    def _fetched(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        return self._store.get_range(self._found.key, start, end, self._found.e_tag or None)


class UploadSink(io.RawIOBase):
    """What a Parquet writer writes to, part by part, as an upload. Once given up it takes no more, and says nothing."""

    def __init__(self, store: Store, key: str, upload: Any) -> None:
        super().__init__()
        self._store, self._key, self._upload = store, key, upload
        self._is_given_up, self._at = False, 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any, /) -> int:
        size = memoryview(data).nbytes
        if not self._is_given_up:
            with self._store.told("write", self._key):
                self._upload.write(data)
        self._at += size
        return size

    def give_up(self) -> None:
        self._is_given_up = True
