"""Digests: of bytes, of JSON, and of rows as typed values, whatever their order, chunks or encoding.

A row's hash is 128 bits in two lanes of 64. A value is a word a lane: the seed of its family (one for every width of
integer, one for UTC instants, ...) plus its bits, or plus its BLAKE2b where it has no fixed width. A lane's state takes
in a column's word by addition, then passes a bijective mixer, so that order counts. Hashes are stored and compared over
years: the tests freeze them against a slow reference. They guard against accidents, not against a forger.
"""

from __future__ import annotations

import decimal
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Column: TypeAlias = "pa.Array[Any]"
Words = npt.NDArray[np.uint64]  # Of shape (2, n): a word a lane, for each of n values.
Hashes = npt.NDArray[np.uint64]  # Of shape (n, 2): the low half, then the high half, of n hashes.

_MODULUS = 1 << 128
_BLOCK_ROWS = 1 << 14  # A lane's block and its scratch stay in a core's cache.
# The finalizers of SplitMix64 (Steele, Lea, Flood 2014) and of MurmurHash3 (Appleby 2011): shift, factor, shift, ...
_MIXERS = (
    (30, 0xBF58476D1CE4E5B9, 27, 0x94D049BB133111EB, 31),
    (33, 0xFF51AFD7ED558CCD, 33, 0xC4CEB9FE1A85EC53, 33),
)
_is = pa.types
_EXACT = decimal.Context(prec=100)  # Beyond the 76 digits of Arrow's widest decimal: nothing is rounded.
_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}


def digest_bytes(data: bytes) -> str:
    """The hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def digest_json(value: Any) -> str:
    """The hex SHA-256 of a value as canonical JSON: keys sorted, ASCII, no blanks. ValueError on NaN and infinities."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return digest_bytes(text.encode())


@dataclass(frozen=True)
class RowDigest:
    """A multiset of rows in two numbers: how many, and the sum of their hashes modulo 2^128.

    A sum, not XOR: under XOR a row that is there twice cancels out, and so a lost pair would go unseen.
    """

    count: int
    total: int

    @classmethod
    def empty(cls) -> Self:
        return cls(0, 0)

    @classmethod
    def of(cls, hashes: Hashes) -> Self:
        """The digest of the rows with these hashes, of shape (n, 2)."""
        low, high = (_exact_sum(hashes[:, lane]) for lane in (0, 1))
        return cls(len(hashes), (low + (high << 64)) % _MODULUS)

    @classmethod
    def from_hex(cls, count: int, text: str) -> Self:
        return cls(count, int(text, 16))

    @property
    def hex(self) -> str:
        """The sum as 32 hex digits."""
        return f"{self.total:032x}"

    def __add__(self, other: RowDigest) -> RowDigest:
        return RowDigest(self.count + other.count, (self.total + other.total) % _MODULUS)

    def __sub__(self, other: RowDigest) -> RowDigest:
        return RowDigest(self.count - other.count, (self.total - other.total) % _MODULUS)


def _exact_sum(values: npt.NDArray[np.uint64]) -> int:
    # Halves of 32 bits: their sums fit 64 bits for up to 2^32 rows.
    low = int(np.sum(values & np.uint64(0xFFFFFFFF), dtype=np.uint64))
    return low + (int(np.sum(values >> np.uint64(32), dtype=np.uint64)) << 32)


def hash_rows(data: pa.RecordBatch | pa.Table, columns: Sequence[str] | None = None) -> Hashes:
    """A 128-bit hash a row, of shape (n, 2), of the values of the given columns (all, by default) in their order.

    The columns' names do not count, nor chunks, offsets, widths of numbers, units of time or dictionary encoding.
    Equal: NaN and NaN, 0.0 and -0.0, nulls of any type, 1.5 and 1.50. Different: 1 and 1.0, text and binary.
    """
    data = data if columns is None else data.select(list(columns))
    batches = data.to_batches() if isinstance(data, pa.Table) else [data]
    parts = [_combine("row", batch.columns, batch.num_rows).T for batch in batches]
    return np.concatenate(parts) if parts else np.empty((0, 2), np.uint64)


def _combine(family: str, columns: Iterable[Column], rows: int) -> Words:
    state = _filled(rows, family)
    scratch = np.empty(min(rows, _BLOCK_ROWS), np.uint64)
    for column in columns:
        words = _words(column)
        for start in range(0, rows, _BLOCK_ROWS):
            for lane in (0, 1):
                block = state[lane, start : start + _BLOCK_ROWS]
                block += words[lane, start : start + _BLOCK_ROWS]
                _mix(block, lane, scratch[: len(block)])
    return state


def _mix(values: npt.NDArray[np.uint64], lane: int, scratch: npt.NDArray[np.uint64]) -> None:
    first, factor, second, other_factor, last = _MIXERS[lane]
    for shift, multiplier in ((first, factor), (second, other_factor), (last, None)):
        np.right_shift(values, np.uint64(shift), out=scratch)
        np.bitwise_xor(values, scratch, out=values)
        if multiplier is not None:
            np.multiply(values, np.uint64(multiplier), out=values)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _seed(family: str) -> Words:
    return np.frombuffer(_digest(family.encode()), "<u8").astype(np.uint64)[:, None]


_FAMILIES = (
    *("row", "null", "bool", "int", "uint64", "float", "decimal", "string", "binary", "date", "timestamp"),
    *("timestamp_ns", "timestamp_naive", "timestamp_naive_ns", "time", "time_ns", "duration", "duration_ns"),
    *("interval", "list", "struct"),
)
_SEEDS = {family: _seed(family) for family in _FAMILIES}


def _filled(rows: int, family: str) -> Words:
    return np.repeat(_SEEDS[family], rows, axis=1)


def _words(array: Column) -> Words:
    """A word a lane for each value of a column; every null has the same, whatever the type."""
    for is_of_kind, words_of in _KINDS:
        if is_of_kind(array.type):
            words = words_of(array)
            break
    else:
        raise TypeError(f"a column of type {array.type} cannot be hashed")
    if array.null_count:
        words[:, array.is_null().to_numpy(zero_copy_only=False)] = _SEEDS["null"]
    return words


def _raw(array: Column, kind: str) -> npt.NDArray[Any]:
    """The fixed-width values of an array as they lie in memory; anything at all where one is null."""
    dtype = np.dtype(f"{kind}{array.type.bit_width // 8}")
    if not len(array):
        return np.empty(0, dtype)
    buffer: Any = array.buffers()[1]
    values: npt.NDArray[Any] = np.frombuffer(buffer, dtype, count=len(array), offset=array.offset * dtype.itemsize)
    return values


def _fixed(values: npt.NDArray[Any], family: str) -> Words:
    # From int64 to uint64 bits are kept, so -1 is the word 2^64 - 1.
    return values.astype(np.uint64) + _SEEDS[family]


def _bools(array: Column) -> Words:
    return _fixed(_raw(array.cast(pa.uint8()), "u"), "bool")


def _ints(array: Column) -> Words:
    values = _raw(array, "i" if _is.is_signed_integer(array.type) else "u").astype(np.int64)
    words = _fixed(values, "int")
    if _is.is_uint64(array.type) and (beyond := values < 0).any():
        # Else 2^64 - 1 would be -1.
        words[:, beyond] = _fixed(values[beyond], "uint64")
    return words


def _floats(array: Column) -> Words:
    with np.errstate(invalid="ignore"):  # A signalling NaN, which may lie under a null.
        values = _raw(array, "f").astype(np.float64) + 0.0  # -0.0 becomes 0.0.
    values[np.isnan(values)] = np.nan
    return _fixed(values.view(np.int64), "float")


def _dates(array: Column) -> Words:
    days = _raw(array, "i").astype(np.int64)
    return _fixed(days // 86_400_000 if _is.is_date64(array.type) else days, "date")


def _ticks(family: str) -> Callable[[Column], Words]:
    def words_of(array: Column) -> Words:
        ticks = _raw(array, "i").astype(np.int64)
        if array.type.unit != "ns":
            return _fixed(ticks * _MICROSECONDS[array.type.unit], family)
        words = _fixed(ticks // 1000, family)
        if (finer := ticks % 1000 != 0).any():
            words[:, finer] = _fixed(ticks[finer], f"{family}_ns")
        return words

    return words_of


def _timestamps(array: Column) -> Words:
    return _ticks("timestamp" if array.type.tz else "timestamp_naive")(array)


def _hashed(family: str, to_bytes: Callable[[Column], Iterable[bytes]]) -> Callable[[Column], Words]:
    """Words of values without a fixed width: each distinct one is hashed once."""

    def words_of(array: Column) -> Words:
        encoded = array.dictionary_encode()
        distinct = _digest_all(to_bytes(encoded.dictionary), family)
        return _taken(distinct, encoded.indices)

    return words_of


def _digest_all(values: Iterable[bytes], family: str) -> Words:
    digests = b"".join([_digest(value) for value in values])
    return np.frombuffer(digests, "<u8").astype(np.uint64).reshape(-1, 2).T + _SEEDS[family]


def _taken(distinct: Words, indices: Column) -> Words:
    if distinct.shape[1] == 0:
        return _filled(len(indices), "null")
    codes = _raw(indices, "i" if _is.is_signed_integer(indices.type) else "u")
    if indices.null_count:
        codes = np.where(indices.is_valid().to_numpy(zero_copy_only=False), codes, 0)
    return np.stack([lane.take(codes) for lane in distinct])


def _to_bytes(distinct: Column) -> list[bytes]:
    values: list[Any] = distinct.cast(pa.large_binary()).to_pylist()
    return values


def _decimal_to_bytes(distinct: Column) -> list[bytes]:
    values: list[Any] = distinct.to_pylist()
    return [str(_EXACT.normalize(value)).encode() for value in values]


def _decimals(array: Any) -> Words:
    if _is.is_decimal32(array.type) or _is.is_decimal64(
        array.type
    ):  # Arrow does not dictionary-encode the narrow ones.
        array = array.cast(pa.decimal128(array.type.precision, array.type.scale))
    return _hashed("decimal", _decimal_to_bytes)(array)


def _interval_to_bytes(distinct: Column) -> list[bytes]:
    values: list[Any] = distinct.to_pylist()
    return [f"{value.months} {value.days} {value.nanoseconds}".encode() for value in values]


def _intervals(array: Column) -> Words:
    # Arrow does not dictionary-encode them; nulls are overwritten by the caller.
    filled = pc.fill_null(array, pa.scalar((0, 0, 0), array.type))
    return _digest_all(_interval_to_bytes(filled), "interval")


def _encoded(array: Any) -> Words:
    return _taken(_words(array.dictionary), array.indices)


def _lists(array: Column) -> Words:
    """The hash of a list is that of its values' words, so the types inside count as they do outside."""
    values = np.ascontiguousarray(_words(pc.list_flatten(array)).T).astype("<u8").tobytes()
    compute: Any = pc
    sizes = compute.fill_null(compute.list_value_length(array), 0)
    lengths = sizes.to_numpy(zero_copy_only=False).astype(np.int64) * 16
    ends = np.cumsum(lengths)
    starts = ends - lengths
    return _digest_all((values[start:end] for start, end in zip(starts, ends, strict=True)), "list")


def _structs(array: Any) -> Words:
    return _combine("struct", array.flatten(), len(array))


def _maps(array: Any) -> Words:
    # A map is a list of (key, value).
    item = pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])
    return _words(array.cast(pa.list_(item)))


_KINDS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Any], Words]], ...] = (
    (_is.is_dictionary, _encoded),
    (_is.is_run_end_encoded, lambda array: _words(pc.run_end_decode(array))),  # type: ignore[attr-defined]
    (lambda kind: isinstance(kind, pa.BaseExtensionType), lambda array: _words(array.storage)),
    (_is.is_null, lambda array: _filled(len(array), "null")),
    (_is.is_boolean, _bools),
    (_is.is_integer, _ints),
    (_is.is_floating, _floats),
    (_is.is_decimal, _decimals),
    (
        lambda kind: _is.is_string(kind) or _is.is_large_string(kind) or _is.is_string_view(kind),
        _hashed("string", _to_bytes),
    ),
    (
        lambda kind: (
            _is.is_binary(kind)
            or _is.is_large_binary(kind)
            or _is.is_binary_view(kind)
            or _is.is_fixed_size_binary(kind)
        ),
        _hashed("binary", _to_bytes),
    ),
    (_is.is_date, _dates),
    (_is.is_timestamp, _timestamps),
    (_is.is_time, _ticks("time")),
    (_is.is_duration, _ticks("duration")),
    (lambda kind: kind == pa.month_day_nano_interval(), _intervals),
    (_is.is_map, _maps),
    (
        lambda kind: (
            _is.is_list(kind)
            or _is.is_large_list(kind)
            or _is.is_fixed_size_list(kind)
            or _is.is_list_view(kind)
            or _is.is_large_list_view(kind)
        ),
        _lists,
    ),
    (_is.is_struct, _structs),
)
