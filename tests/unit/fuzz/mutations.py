"""What disks, hands and half-finished copies make of a file: each mutation is drawn by a seed, and can be drawn again."""

import copy
import json
import os
import pathlib
import random
import struct
from collections.abc import Callable, Iterator

Mutation = Callable[[pathlib.Path, random.Random], str]

_DEEP = 100_000
_HUGE_INT = "9" * 10_000
_OTHER_JSON = ("[]", "null", '"text"', "7", "true", "{}", "[[]]", "NaN", "[null]", '{"a": NaN}', "-Infinity", _HUGE_INT)
_OTHER_VALUES: tuple[object, ...] = (
    None,
    [],
    {},
    "",
    "text",
    "../..",
    "/etc/passwd",
    "a\x00b",
    "\ud800",
    "x" * 100_000,
    -1,
    0,
    1,
    2**31,
    2**63,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    True,
    [None],
    {"": {}},
    "9999-12-31T23:59:59.999999Z",
    "0001-01-01T00:00:00Z",
    "2024-13-45",
)


def mutate(path: pathlib.Path, chance: random.Random) -> str:
    """Changes one file in place, by a new file of its name: what was done, in words."""
    kinds: list[Mutation] = [*_OF_BYTES, *_OF_NODES]
    if path.suffix in (".json", ".died"):
        kinds += (
            [_json_value] * 12 + [_json_field_gone] * 3 + [_json_field_more, _other_json, _other_json, _deep, _twice]
        )
    if path.suffix == ".parquet" and path.read_bytes()[-4:] == b"PAR1":
        kinds += [_footer_length, _magic, _footer_bits, _footer_bits, _footer_bits, _footer_text, _other_parquet]
    if path.suffix == ".yaml":
        kinds += [_yaml_value] * 8 + [_other_json, _deep]
    chosen = chance.choice(kinds)
    told = chosen(path, chance)
    return f"{chosen.__name__.strip('_')}: {told}"[:200]


def _write(path: pathlib.Path, data: bytes) -> None:
    """Another file of this name: the file itself may be linked from elsewhere."""
    path.unlink()
    path.write_bytes(data)


# -- of any bytes -----------------------------------------------------------------------------------------------------


def _cut(path: pathlib.Path, chance: random.Random) -> str:
    data = path.read_bytes()
    at = chance.choice((0, 1, len(data) // 2, max(len(data) - 1, 0), chance.randrange(len(data) + 1)))
    _write(path, data[:at])
    return f"to {at} of {len(data)} bytes"


def _flip(path: pathlib.Path, chance: random.Random) -> str:
    data = bytearray(path.read_bytes() or b"\x00")
    places = [chance.randrange(len(data)) for _ in range(chance.choice((1, 1, 3, 20)))]
    for place in places:
        data[place] ^= 1 << chance.randrange(8)
    _write(path, bytes(data))
    return f"bits at {places[:3]}"


def _zeros(path: pathlib.Path, _: random.Random) -> str:
    _write(path, bytes(path.stat().st_size))
    return "all"


def _noise(path: pathlib.Path, chance: random.Random) -> str:
    _write(path, chance.randbytes(chance.choice((1, 64, 4096))))
    return "random bytes"


def _not_utf8(path: pathlib.Path, chance: random.Random) -> str:
    data = path.read_bytes()
    at = chance.randrange(len(data) + 1)
    _write(path, data[:at] + b"\xff\xfe\xc3" + data[at:])
    return f"at {at}"


def _mark(path: pathlib.Path, _: random.Random) -> str:
    _write(path, b"\xef\xbb\xbf" + path.read_bytes())
    return "a byte-order mark"


def _longer(path: pathlib.Path, chance: random.Random) -> str:
    data = path.read_bytes()
    _write(path, data + chance.choice((b"\x00", b"}", data, b"\n\n#")))
    return "more at the end"


# -- of what lies there -----------------------------------------------------------------------------------------------


def _folder(path: pathlib.Path, _: random.Random) -> str:
    path.unlink()
    path.mkdir()
    return "in its place"


def _loop(path: pathlib.Path, _: random.Random) -> str:
    path.unlink()
    path.symlink_to(path.name)
    return "of links"


def _dangling(path: pathlib.Path, _: random.Random) -> str:
    path.unlink()
    path.symlink_to("nowhere")
    return "a link"


def _pipe(path: pathlib.Path, _: random.Random) -> str:
    path.unlink()
    os.mkfifo(path)
    return "that nobody writes to"


def _gone(path: pathlib.Path, _: random.Random) -> str:
    path.unlink()
    return "the file"


# -- of JSON ----------------------------------------------------------------------------------------------------------


def _places(value: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if at:
        yield at
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _places(one, (*at, key))
    if isinstance(value, list):
        for number, one in enumerate(value[:5]):
            yield from _places(one, (*at, number))


def _into(whole: object, at: tuple[str | int, ...], act: Callable[[object, str | int], None]) -> object:
    whole = copy.deepcopy(whole)
    inner = whole
    for key in at[:-1]:
        inner = inner[key]  # type: ignore[index]
    act(inner, at[-1])
    return whole


def _json_value(path: pathlib.Path, chance: random.Random, *, load=json.loads, dump=json.dumps) -> str:
    found = load(path.read_bytes())
    at = chance.choice(list(_places(found)) or [()])
    value = chance.choice(_OTHER_VALUES)
    changed = _into(found, at, lambda inner, key: inner.__setitem__(key, value)) if at else value
    _write(path, dump(changed).encode("utf-8", "surrogatepass"))
    return f"{'.'.join(map(str, at))} = {str(value)[:30]!r}"


def _json_field_gone(path: pathlib.Path, chance: random.Random) -> str:
    found = json.loads(path.read_bytes())
    places = list(_places(found))
    if not places:
        return _cut(path, chance)
    at = chance.choice(places)
    _write(path, json.dumps(_into(found, at, lambda inner, key: inner.__delitem__(key))).encode())
    return ".".join(map(str, at))


def _json_field_more(path: pathlib.Path, chance: random.Random) -> str:
    found = json.loads(path.read_bytes())
    _write(path, json.dumps({**found, "unheard_of": 1} if isinstance(found, dict) else [found]).encode())
    return "unheard_of"


def _other_json(path: pathlib.Path, chance: random.Random) -> str:
    text = chance.choice(_OTHER_JSON)
    _write(path, text.encode())
    return text[:20]


def _deep(path: pathlib.Path, chance: random.Random) -> str:
    opened = chance.choice(("[", '{"a":'))
    _write(path, opened.encode() * _DEEP)
    return opened


def _twice(path: pathlib.Path, _: random.Random) -> str:
    text = path.read_text().strip()
    first = next(iter(json.loads(text))) if text.startswith("{") and len(text) > 2 else "a"
    _write(path, (text[:-1].rstrip() + f', "{first}": null' + text[-1:]).encode())
    return str(first)


def _yaml_value(path: pathlib.Path, chance: random.Random) -> str:
    import yaml

    return _json_value(path, chance, load=yaml.safe_load, dump=json.dumps)


# -- of Parquet -------------------------------------------------------------------------------------------------------


def _footer(data: bytes) -> tuple[int, int]:
    (length,) = struct.unpack("<I", data[-8:-4])
    return len(data) - 8 - length, length


def _footer_length(path: pathlib.Path, chance: random.Random) -> str:
    data = path.read_bytes()
    length = chance.choice((0, 1, len(data), 2**31 - 1, 2**32 - 1, _footer(data)[1] - 1, _footer(data)[1] + 1))
    _write(path, data[:-8] + struct.pack("<I", length) + data[-4:])
    return str(length)


def _magic(path: pathlib.Path, chance: random.Random) -> str:
    data = path.read_bytes()
    other = chance.choice((b"PARE", b"PAR2", b"\x00\x00\x00\x00"))
    _write(path, data[:-4] + other if chance.random() < 0.7 else other + data[4:])
    return str(other)


def _footer_bits(path: pathlib.Path, chance: random.Random) -> str:
    data = bytearray(path.read_bytes())
    start, length = _footer(bytes(data))
    for _ in range(chance.choice((1, 1, 2, 8))):
        data[start + chance.randrange(max(length, 1))] = chance.randrange(256)
    _write(path, bytes(data))
    return "thrift"


def _footer_text(path: pathlib.Path, chance: random.Random) -> str:
    """In the key-value metadata: what of it is a record of ours."""
    data = path.read_bytes()
    start, _ = _footer(data)
    places = [at for at in range(start, len(data) - 8) if data[at : at + 1] in (b'"', b":", b"{")]
    if not places:
        return _flip(path, chance)
    at = chance.choice(places)
    _write(path, data[:at] + chance.choice((b" ", b"\x00", b"[", b"7", b"\xff")) + data[at + 1 :])
    return f"at {at}"


def _other_parquet(path: pathlib.Path, chance: random.Random) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = (pa.table({}), pa.table({"x": [1, 2]}), pa.table({"sensor": pa.array([], pa.string())}))
    path.unlink()
    pq.write_table(chance.choice(tables), path)
    return "another table"


_OF_BYTES = (_cut, _cut, _flip, _flip, _zeros, _noise, _not_utf8, _mark, _longer)
_OF_NODES = (_folder, _loop, _dangling, _pipe, _gone)
