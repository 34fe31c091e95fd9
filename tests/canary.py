"""A secret that is looked for in everything that was written: as it is, and in whatever form a program might write it."""

import base64
import gzip
import json
import pathlib
import urllib.parse
import zipfile

import pyarrow.parquet as pq

# Two words that nobody else writes, around characters that one program or the other cuts, quotes or encodes.
FIRST, SECOND = "Kanarienvogel7", "Zaunkoenig9"
SECRET = f"{FIRST}/p@:#%41'\"\\ ?&=é{SECOND}"
QUOTED = urllib.parse.quote(SECRET, safe="")


def forms(word: str) -> set[bytes]:
    """A word as bytes: plain, with its ends cut off, in base64 wherever it begins, in hex and in UTF-16."""
    plain = word.encode()
    found = {plain, plain[1:], plain[:-2], plain.hex().encode(), word.encode("utf-16-le"), plain[::-1]}
    for before in range(3):
        # Of what stands at both ends a part belongs to what stands beside it.
        whole = base64.b64encode(b"\0" * before + plain)
        found |= {
            whole[4 if before else 0 : -4],
            base64.urlsafe_b64encode(b"\0" * before + plain)[4 if before else 0 : -4],
        }
    return found


SIGNS = {form for word in (FIRST, SECOND) for form in forms(word)}


def is_in(data: bytes | str) -> bool:
    text = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    lowered = text.lower()
    return any(sign in text or sign.lower() in lowered for sign in SIGNS)


def unpacked(path: pathlib.Path) -> bytes:
    """All that a reader of the file gets to see, beside its bytes."""
    data = path.read_bytes()
    if path.suffix == ".parquet":
        table = pq.read_table(path, partitioning=None)
        return data + json.dumps([table.to_pydict(), str(table.schema.metadata)], default=str).encode()
    if data.startswith(b"\x1f\x8b"):
        return data + gzip.decompress(data)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return data + b"".join(archive.read(name) for name in archive.namelist())
    return data


def files_that_tell(*places: pathlib.Path, but: tuple[str, ...] = (".env",)) -> list[str]:
    """The files below these places that hold a part of the secret, in their names or in what they say."""
    files = [path for place in places for path in sorted(place.rglob("*")) if path.is_file() and path.name not in but]
    return [str(path) for path in files if is_in(str(path)) or is_in(unpacked(path))]
