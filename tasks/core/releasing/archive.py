"""The release's file: a tar of plain files in gzip, of which every byte is accounted for.

Written here and read here. `tar xzf` unpacks it too. The gzip header's comment holds the SHA-256 of all that comes after
it, so that a changed byte is found before anything is decompressed; every tar header must be, to the byte, the one that
a plain file of that name and size has, so there is nothing in it for a link, a device, an owner or a path to hide in.
"""

from __future__ import annotations

import hashlib
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator

from tasks.core.errors import ReleaseRefused

_BLOCK = 512
_END = bytes(2 * _BLOCK)
# gzip: deflate, with a comment; of no time and no particular system.
_GZIP = b"\x1f\x8b\x08\x10\x00\x00\x00\x00\x00\xff"
_COMMENT = b"sha256 "
_SAID_BYTES = len(_COMMENT) + 64 + 1
_TRAILER_BYTES = 8
_CHUNK = 1 << 16
# No path of a release needs another character, and some file systems take two of these for one.
_PLAIN_NAME = re.compile(r"[\w.\- ]+(/[\w.\- ]+)*")
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.DIRTYPE: "a folder",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


def pack(files: Iterable[tuple[str, bytes]]) -> bytes:
    """The files, in this order, as one .tar.gz: the same files give the same bytes."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts: list[bytes] = []
    checksum = size = 0
    for piece in _tar(files):
        parts.append(deflate.compress(piece))
        checksum, size = zlib.crc32(piece, checksum), size + len(piece)
    parts += [deflate.flush(), struct.pack("<LL", checksum, size & 0xFFFFFFFF)]
    body = b"".join(parts)
    return _GZIP + _COMMENT + hashlib.sha256(body).hexdigest().encode() + b"\0" + body


def unpack(data: bytes, *, where: str, expect: Callable[[str, int], None]) -> Iterator[tuple[str, bytes]]:
    """The files, one after the other; ReleaseRefused names what is not as `pack` wrote it.

    `expect` is given each name and size before a byte of that file is decompressed, and raises what it does not expect:
    what is read, and held at once, is bounded by what it lets pass.
    """
    stream = _Stream(_body(data, where), where)
    while (block := stream.read(_BLOCK)) != _END[:_BLOCK]:
        name, size = _header(block, where)
        expect(name, size)
        content = stream.read(size)
        if any(stream.read(-size % _BLOCK)):
            raise refused(f"'{name}' in {where} is followed by what does not belong to it")
        yield name, content
    if stream.read(_BLOCK) != _END[:_BLOCK]:
        raise refused(f"{where} goes on after its end")
    stream.must_be_at_end()


def refused(failed: str) -> ReleaseRefused:
    return ReleaseRefused(
        failed,
        state="nothing of it was used, and nothing was changed",
        next_step="fetch the file again from where it was made",
    )


def _tar(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    for name, content in files:
        yield _block(name, len(content))
        yield content
        yield bytes(-len(content) % _BLOCK)
    yield _END


def _block(name: str, size: int) -> bytes:
    """The only header that a file of this name and size has: mode 644, of nobody, of 1970."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    try:
        return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
    except (ValueError, UnicodeError) as error:
        raise ReleaseRefused(
            f"'{name[:200]}' cannot stand in a release: {error}",
            state="nothing was written",
            next_step="give the file a shorter name, of plain characters",
        ) from error


def _header(block: bytes, where: str) -> tuple[str, int]:
    """The name and size of a file; ReleaseRefused for whatever is no plain file of a plain name."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeError) as error:
        raise refused(f"{where} holds what is no file of a tar archive ({error})") from error
    if wrong := _why_refused(info):
        raise refused(f"{where} holds {info.name[:200]!r}, which is {wrong}")
    if _block(info.name, info.size) != block:
        raise refused(f"the header of '{info.name}' in {where} is not as a release writes it")
    return info.name, info.size


def _why_refused(info: tarfile.TarInfo) -> str:
    if not info.isreg() or info.type != tarfile.REGTYPE:
        return _KINDS.get(info.type, "no plain file")
    if info.name.startswith("/") or not _PLAIN_NAME.fullmatch(info.name):
        return "no path that a release may have"
    if any(part.strip(". ") == "" or part != part.strip() for part in info.name.split("/")):
        return "a path that leads out of the release"
    try:
        # What Python itself refuses to unpack is not unpacked here.
        tarfile.data_filter(info, "/release")
    except tarfile.FilterError as error:
        return f"refused: {error}"
    return ""


def _body(data: bytes, where: str) -> memoryview:
    """What follows the gzip header, if it is what the header says."""
    start = len(_GZIP) + _SAID_BYTES
    if not data.startswith(_GZIP + _COMMENT) or len(data) < start + _TRAILER_BYTES:
        raise refused(f"{where} is no release of Lamplighter, or was compressed anew on its way")
    body = memoryview(data)[start:]
    if data[len(_GZIP) : start] != _COMMENT + hashlib.sha256(body).hexdigest().encode() + b"\0":
        raise refused(f"{where} was changed, or cut short: its SHA-256 is not the one that it was written with")
    return body


class _Stream:
    """Decompresses so much as is asked for, and no more."""

    def __init__(self, body: memoryview, where: str) -> None:
        self._body, self._where = body, where
        self._at = 0
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._checksum = self._size = 0

    def read(self, size: int) -> bytes:
        parts, missing = [], size
        while missing:
            piece = self._some(missing)
            parts.append(piece)
            missing -= len(piece)
        return b"".join(parts)

    def must_be_at_end(self) -> None:
        # What is left of the stream may be its end mark alone, which is no content.
        while not self._inflate.eof:
            if self._some(1, may_end=True):
                raise refused(f"{self._where} goes on after its end")
        left = bytes(self._inflate.unused_data) + bytes(self._body[self._at :])
        if left != struct.pack("<LL", self._checksum, self._size & 0xFFFFFFFF):
            raise refused(f"{self._where} does not end with its own checksum")

    def _some(self, most: int, *, may_end: bool = False) -> bytes:
        """At least one byte and at most so many; at the end none, where it may end."""
        try:
            while not self._inflate.eof:
                piece = self._inflate.decompress(self._next_input(), most)
                if piece:
                    self._checksum, self._size = zlib.crc32(piece, self._checksum), self._size + len(piece)
                    return piece
        except zlib.error as error:
            raise refused(f"{self._where} cannot be decompressed: {error}") from error
        if may_end:
            return b""
        raise refused(f"{self._where} ends too early")

    def _next_input(self) -> bytes:
        if self._inflate.unconsumed_tail:
            return self._inflate.unconsumed_tail
        if self._at >= len(self._body):
            raise refused(f"{self._where} ends too early")
        chunk = bytes(self._body[self._at : self._at + _CHUNK])
        self._at += len(chunk)
        return chunk
