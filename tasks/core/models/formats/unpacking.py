"""Compressed files are unpacked so far as a model may be, and no further: a few bytes can stand for all the memory there is."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable

_ALWAYS_BYTES = 256 << 20
# Trees that are saved with compression come to a fifth or a tenth; deflate knows no more than a thousandth.
_TIMES = 100


def most_bytes(packed: int) -> int:
    """What a file of so many bytes may unpack to."""
    return max(_ALWAYS_BYTES, _TIMES * packed)


def unpacked(data: bytes) -> bytes:
    """The bytes themselves, or what they are packed of; ValueError where that is too much, OSError and others where it is broken."""
    for prefix, read in _READERS.items():
        if data.startswith(prefix):
            most = most_bytes(len(data))
            plain = read(data, most + 1)
            if len(plain) > most:
                raise ValueError(f"it unpacks to more than {most:,} bytes, from {len(data):,}")
            return plain
    return data


def check_zip(file: zipfile.ZipFile, packed: int) -> None:
    """ValueError where the members of a zip say that they come to too much: no more than it says is read of each."""
    most = most_bytes(packed)
    if sum(member.file_size for member in file.infolist()) > most:
        raise ValueError(f"it unpacks to more than {most:,} bytes, from {packed:,}")


def _zlib(data: bytes, most: int) -> bytes:
    stream = zlib.decompressobj()
    plain = stream.decompress(data, most)
    if len(plain) < most and not stream.eof:
        raise EOFError("it ends too early")
    return plain


def _gzip(data: bytes, most: int) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        return file.read(most)


def _bz2(data: bytes, most: int) -> bytes:
    with bz2.BZ2File(io.BytesIO(data)) as file:
        return file.read(most)


def _lzma(data: bytes, most: int) -> bytes:
    with lzma.LZMAFile(io.BytesIO(data)) as file:
        return file.read(most)


_READERS: dict[bytes, Callable[[bytes, int], bytes]] = {
    b"\x78": _zlib,
    b"\x1f\x8b": _gzip,
    b"BZ": _bz2,
    b"\x5d\x00": _lzma,
    b"\xfd7zXZ": _lzma,
}
