"""Source tables of every kind, for Hypothesis: each value stands beside what it means in the type that the job declares."""

import datetime as dt
import math
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

UTC = dt.UTC
START, END = dt.datetime(2024, 5, 1, tzinfo=UTC), dt.datetime(2024, 5, 2, tzinfo=UTC)
FIRST_INSTANT, LAST_INSTANT = dt.datetime(1, 1, 1, tzinfo=UTC), dt.datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)


class Lost:
    """What a value means that cannot be of the declared type: its row is to be quarantined."""

    def __repr__(self) -> str:
        return "LOST"


LOST = Lost()
NAN, INF = math.nan, math.inf


@dataclass(frozen=True)
class Kind:
    """A column's type in the job and in the file, and its values: what the file holds, and what that means.

    `declared` is empty for a column that the job does not know.
    """

    declared: str
    found: pa.DataType
    values: tuple[tuple[Any, Any], ...] = field(repr=False)

    def array(self, held: Sequence[Any]) -> pa.Array:
        """Text that is no UTF-8 is given as bytes; Arrow would refuse to make text of it."""
        if any(isinstance(value, bytes) for value in held) and pa.types.is_string(self.found):
            raw = [value.encode() if isinstance(value, str) else value for value in held]
            return pa.array(raw, pa.binary()).view(pa.string())
        if pa.types.is_dictionary(self.found):
            return pa.array(held, self.found.value_type).dictionary_encode().cast(self.found)
        return pa.array(held, self.found)


def same(*values: Any) -> tuple[tuple[Any, Any], ...]:
    return tuple((value, value) for value in values)


def lost(*values: Any) -> tuple[tuple[Any, Any], ...]:
    return tuple((value, LOST) for value in values)


def _ticks(*values: dt.datetime, a_second: int) -> tuple[tuple[int, dt.datetime], ...]:
    """Instants as whole ticks of a second."""
    return tuple(((value - _EPOCH) // _MICROSECOND * a_second // 1_000_000, value) for value in values)


_TEXTS = same(
    "", " ", "a", "A", "é", "e\u0301", "nan", "null", "NA", "0", "00", "a\x00b", "a\nb", 'a"b,c', "🕯️", "x" * 5000
)
_NOT_UTF8 = lost(b"\xff", b"a\xc3", b"\xed\xa0\x80")
_INTS = (0, 1, -1, 7, 2**53, 2**53 + 1, 2**63 - 1, -(2**63))
_DAYS = same(dt.date(1, 1, 1), dt.date(1969, 12, 31), dt.date(2024, 2, 29), dt.date(9999, 12, 31))
_INSTANTS = (FIRST_INSTANT, _EPOCH - _MICROSECOND, _EPOCH, START, LAST_INSTANT)
_WHOLE_SECONDS = (_EPOCH, START, END, dt.datetime(2024, 10, 27, 1, tzinfo=UTC))
_TIMES = same(dt.time(0), dt.time(12, 30), dt.time(23, 59, 59, 999999))

# -- the columns that may be keys, or stand beside --------------------------------------------------------------------

OF_TEXT = {
    "ints from text": Kind(
        "int64",
        pa.string(),
        (
            ("1", 1),
            ("+1", 1),
            (" 7 ", 7),
            ("1.0", 1),
            ("-9223372036854775808", -(2**63)),
            *lost("", "0x1F", "1e3", "9223372036854775808", "1.5", "a"),
        ),
    ),
    "floats from text": Kind(
        "float64",
        pa.string(),
        (("1.5", 1.5), ("1.50", 1.5), ("-0.0", -0.0), ("0", 0.0), ("inf", INF), ("nan", NAN), *lost("1e400", "a", "")),
    ),
    "decimals from text": Kind(
        "decimal(38, 2)",
        pa.string(),
        (
            ("1.50", Decimal("1.5")),
            ("1.5", Decimal("1.5")),
            ("-0", Decimal(0)),
            ("0", Decimal(0)),
            *lost("1.555", "a", "", "1" * 37),
        ),
    ),
    "bools from text": Kind(
        "bool", pa.string(), (("true", True), ("T", True), ("1", True), ("f", False), *lost("", "2", "yes"))
    ),
    "dates from text": Kind(
        "date",
        pa.string(),
        (
            ("2024-05-01", dt.date(2024, 5, 1)),
            ("2024-05-01 00:00", dt.date(2024, 5, 1)),
            ("0001-01-01", dt.date(1, 1, 1)),
            *lost("2024-13-01", "0000-01-01", "2024-05-01 01:00", ""),
        ),
    ),
    "instants from text": Kind(
        "timestamp",
        pa.string(),
        (
            ("2024-05-01", START),
            ("2024-05-01T02:00:00+02:00", START),
            ("2024-05-01 00:00:00.0000009Z", START),
            *lost("2024-05-01T25:00:00Z", "soon", ""),
        ),
    ),
    "times from text": Kind(
        "time", pa.string(), (("12:30", dt.time(12, 30)), ("12:30:00.0", dt.time(12, 30)), *lost("25:00", "", "noon"))
    ),
    "text": Kind("string", pa.string(), _TEXTS + _NOT_UTF8),
}

OF_ANY = OF_TEXT | {
    "text in large": Kind("string", pa.large_string(), _TEXTS),
    "text in views": Kind("string", pa.string_view(), _TEXTS),
    "coded text": Kind("string", pa.dictionary(pa.int8(), pa.string()), _TEXTS),
    "text from bytes": Kind("string", pa.binary(), ((b"", ""), (b"a", "a"), (b"\xc3\xa9", "é"), *_NOT_UTF8)),
    "text from ints": Kind("string", pa.int64(), tuple((value, str(value)) for value in _INTS)),
    "bytes": Kind("binary", pa.binary(), same(b"", b"\x00", b"\xff", b"a")),
    "bytes of one length": Kind("binary", pa.binary(2), same(b"\x00\x00", b"\xff\xff", b"ab")),
    "bytes in views": Kind("binary", pa.binary_view(), same(b"", b"\xff" * 20)),
    "ints": Kind("int64", pa.int64(), same(*_INTS)),
    "ints from unsigned": Kind("int64", pa.uint64(), same(0, 2**63 - 1) + lost(2**63, 2**64 - 1)),
    "small ints": Kind("int8", pa.int64(), same(0, 127, -128) + lost(128, -129, 2**63 - 1)),
    "ints from floats": Kind(
        "int64", pa.float64(), ((1.0, 1), (-0.0, 0), (0.0, 0), (2.0**53, 2**53), *lost(1.5, NAN, INF, -INF, 1e300))
    ),
    "ints from decimals": Kind(
        "int64",
        pa.decimal128(22, 1),
        ((Decimal("1.0"), 1), (Decimal(2**63 - 1), 2**63 - 1), *lost(Decimal("1.5"), Decimal(2**63))),
    ),
    "floats": Kind("float64", pa.float64(), same(0.0, -0.0, 1.5, NAN, INF, -INF, 5e-324, 1.7e308)),
    "halves": Kind("float64", pa.float16(), same(0.0, 1.5, NAN, INF)),
    "singles": Kind("float32", pa.float64(), same(0.0, -0.0, 1.5, NAN, -INF) + lost(1e300)),
    "floats from ints": Kind("float64", pa.int64(), ((1, 1.0), (2**53, 2.0**53), *lost(2**53 + 1, 2**63 - 1))),
    "decimals": Kind(
        "decimal(38, 2)", pa.decimal128(38, 2), same(Decimal(0), Decimal("1.50"), Decimal("-9" * 1), Decimal(10**35))
    ),
    "wide decimals": Kind(
        "decimal(38, 2)",
        pa.decimal256(60, 4),
        same(Decimal("1.5000"), Decimal(0)) + lost(Decimal("1.2345"), Decimal(10**40)),
    ),
    "bools": Kind("bool", pa.bool_(), same(True, False)),
    "bools from ints": Kind("bool", pa.int32(), ((0, False), (1, True), *lost(2, -1))),
    "dates": Kind("date", pa.date32(), _DAYS),
    "dates in milliseconds": Kind("date", pa.date64(), _DAYS),
    "instants": Kind("timestamp", pa.timestamp("us", "UTC"), _ticks(*_INSTANTS, a_second=10**6)),
    "instants in New York": Kind(
        "timestamp",
        pa.timestamp("ns", "America/New_York"),
        (*_ticks(*_WHOLE_SECONDS, a_second=10**9), (1, _EPOCH), (-1, _EPOCH - _MICROSECOND)),
    ),
    "instants out of the calendar": Kind(
        "timestamp", pa.timestamp("us", "+05:30"), lost(2**63 - 1, -(2**63) + 1) + _ticks(START, a_second=10**6)
    ),
    "clocks": Kind("timestamp_naive", pa.timestamp("ms"), same(*(one.replace(tzinfo=None) for one in _WHOLE_SECONDS))),
    "times": Kind("time", pa.time64("us"), _TIMES),
    "lists": Kind("list<int64>", pa.list_(pa.int64()), same([], [None], [1, None], [None, 1], [2**63 - 1])),
    "lists of small": Kind("list<int8>", pa.large_list(pa.int64()), same([], [127]) + lost([128], [1, -129])),
    "pairs": Kind("list<float64>", pa.list_(pa.float32(), 2), same([0.0, -0.0], [NAN, INF], [None, 1.5])),
    "lists of lists": Kind(
        "list<list<string>>", pa.list_(pa.list_(pa.string())), same([], [[]], [None], [["a", None]])
    ),
    "lists of coded": Kind("list<string>", pa.list_(pa.dictionary(pa.int8(), pa.string())), same([], ["a", None, ""])),
    "nothing": Kind("int64", pa.null(), ()),
}

# What the job does not know: these columns are dropped, whatever they are.
UNKNOWN = (
    Kind(
        "",
        pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]),
        same({"a": 1, "b": ["x"]}, {"a": None, "b": []}),
    ),
    Kind("", pa.map_(pa.string(), pa.int64()), same([("a", 1)], [])),
    Kind("", pa.list_(pa.struct([("a", pa.float64())])), same([{"a": NAN}], [])),
    Kind("", pa.duration("s"), same(dt.timedelta(1))),
    Kind("", pa.decimal256(76, 0), same(Decimal(10**75))),
)
UNKNOWN_NAMES = (
    "run_id",
    "window_start",
    "as_of",
    "reasons",
    "",
    "__index_level_0__",
    "a.b",
    "a\nb",
    "X",
    "probability",
)

# -- the columns of every job ----------------------------------------------------------------------------------------

_NOON = START + dt.timedelta(hours=12)
_OF_THE_DAY = (START, _NOON, _NOON + _MICROSECOND, END - _MICROSECOND)
_OUTSIDE = (START - _MICROSECOND, END)
AT_TEXT = Kind(
    "timestamp",
    pa.string(),
    (
        ("2024-05-01", START),
        ("2024-05-01T12:00:00Z", _NOON),
        ("2024-05-01 14:00:00+02:00", _NOON),
        ("2024-05-01T23:59:59.9999999Z", END - _MICROSECOND),
        ("2024-05-02T00:00:00Z", END),
        ("2024-05-01T25:00:00Z", LOST),
    ),
)
AT = (
    Kind("timestamp", pa.timestamp("us", "UTC"), _ticks(*_OF_THE_DAY, *_OUTSIDE, a_second=10**6)),
    Kind("timestamp", pa.timestamp("ns", "Asia/Kathmandu"), _ticks(*_OF_THE_DAY, *_OUTSIDE, a_second=10**9)),
    Kind("timestamp", pa.timestamp("ms", "+05:30"), _ticks(START, _NOON, END, a_second=10**3)),
    AT_TEXT,
)
KIND = (Kind("string", pa.string(), same("hot", "cold", "lukewarm", "", "Hot") + _NOT_UTF8),)
KIND_ANY = (*KIND, Kind("string", pa.dictionary(pa.int32(), pa.string()), same("hot", "cold", "lukewarm")))
NUMBER_TEXT = Kind(
    "float64",
    pa.string(),
    (("1.5", 1.5), ("-2", -2.0), ("1e9", 1000000000.0), ("-inf", -INF), ("nan", NAN), *lost("1,5", "")),
)
NUMBER = (
    NUMBER_TEXT,
    Kind("float64", pa.float64(), same(0.0, -0.0, 0.25, -3.0, 1e9, 1e200, NAN, INF, 5e-324)),
    Kind("float64", pa.float32(), same(0.5, NAN, -INF)),
    Kind("float64", pa.int64(), ((0, 0.0), (-5, -5.0), (2**53, 2.0**53), *lost(2**53 + 1))),
    Kind("float64", pa.decimal128(20, 2), ((Decimal("0.25"), 0.25), (Decimal("-7.00"), -7.0))),
)

Row = tuple[int | None, ...]  # Of each column the place of its value among the kind's, or None.


@dataclass(frozen=True)
class Table:
    """A table, how it is laid out in files, and what is asked of the run."""

    kinds: dict[str, Kind]
    rows: tuple[Row, ...]
    keys: tuple[str, ...]
    pass_through: tuple[str, ...] = ("kind",)
    format: str = "parquet"
    files: int = 1
    group_rows: int = 1000
    batch_rows: int = 1000
    quarantine_share: float = 1.0
    expectations: tuple[str, ...] = ()

    @property
    def columns(self) -> dict[str, str]:
        """The columns of the job, with their types."""
        return {name: kind.declared for name, kind in self.kinds.items() if kind.declared}

    def held(self, name: str, row: Row) -> Any:
        place = row[list(self.kinds).index(name)]
        return None if place is None else self.kinds[name].values[place][0]

    def meant(self, name: str, row: Row) -> Any:
        place = row[list(self.kinds).index(name)]
        return None if place is None else self.kinds[name].values[place][1]

    def reordered(self, order: Sequence[int]) -> "Table":
        return replace(self, rows=tuple(self.rows[place] for place in order))

    def write(self, folder: pathlib.Path) -> None:
        """Puts the rows into files of about equal length."""
        each = max(1, -(-len(self.rows) // self.files))
        for number in range(self.files):
            rows = self.rows[number * each : (number + 1) * each]
            if self.format == "csv":
                (folder / f"{number}.csv").write_bytes(self._csv(rows))
            else:
                pq.write_table(self._arrow(rows), folder / f"{number}.parquet", row_group_size=self.group_rows)

    def _arrow(self, rows: Sequence[Row]) -> pa.Table:
        arrays = [kind.array([self.held(name, row) for row in rows]) for name, kind in self.kinds.items()]
        return pa.Table.from_arrays(arrays, names=list(self.kinds))

    def _csv(self, rows: Sequence[Row]) -> bytes:
        """What is missing has no quotes."""
        lines = [b",".join(_quoted(name) for name in self.kinds)]
        lines += [b",".join(_quoted(self.held(name, row)) for name in self.kinds) for row in rows]
        return b"\n".join(lines) + b"\n"


def _quoted(value: str | bytes | None) -> bytes:
    if value is None:
        return b""
    raw = value.encode() if isinstance(value, str) else value
    return b'"' + raw.replace(b'"', b'""') + b'"'


# One of each fate, in the order of the values above: by hand, 4 rows are scored, 6 quarantined and 1 repeats another.
EVERY_FATE = Table(
    kinds={"key0": OF_ANY["ints"], "at": AT[0], "kind": KIND[0], "x": NUMBER[1], "y": NUMBER[1]},
    rows=(
        (0, 0, 0, 2, 3),
        (1, 1, 1, 3, 2),
        (2, 2, 0, 0, 3),
        (3, 3, 1, 3, 3),
        (3, 3, 1, 3, 3),  # The one before, once more.
        (4, 0, 0, 2, 2),  # One key with two values of x.
        (4, 0, 0, 3, 2),
        (None, 0, 0, 2, 2),
        (5, None, 0, 2, 2),
        (5, 4, 0, 2, 2),  # Of the day before: it is not pulled.
        (6, 0, 5, 2, 2),  # A kind that is no UTF-8.
        (7, 0, 0, 7, 2),  # Infinity.
    ),
    keys=("key0",),
    batch_rows=5,
    expectations=("kind in set",),
)

# -- drawing ---------------------------------------------------------------------------------------------------------

EXPECTATIONS = ("kind in set", "x between", "x not null")


@st.composite
def tables(draw: st.DrawFn, most_rows: int = 12) -> Table:
    """A table of a few rows, of which some come again, as they are or with another value."""
    in_csv = draw(st.integers(0, 4)) == 0
    kinds = _drawn_kinds(draw, in_csv)
    keys = tuple(name for name in kinds if name.startswith("key"))
    rows = _drawn_rows(draw, list(kinds.values()), most_rows)
    others = [name for name in kinds if name.startswith("more")]
    if draw(st.booleans()):
        keys += ("at",)
    return Table(
        kinds=kinds,
        rows=rows,
        keys=keys,
        pass_through=("kind", *others),
        format="csv" if in_csv else "parquet",
        files=draw(st.integers(1, 3)),
        group_rows=draw(st.sampled_from([1000, 1, 3])),
        batch_rows=draw(st.sampled_from([1000, 1, 2, 3, 5])),
        quarantine_share=draw(st.sampled_from([1.0, 1.0, 1.0, 1.0, 0.5])),
        expectations=draw(st.sampled_from([(), EXPECTATIONS, EXPECTATIONS[:1], EXPECTATIONS[1:]])),
    )


def _drawn_kinds(draw: st.DrawFn, in_csv: bool) -> dict[str, Kind]:
    known = OF_TEXT if in_csv else OF_ANY
    some = st.sampled_from(sorted(known)).map(lambda name: known[name])
    kinds = {f"key{number}": draw(some) for number in range(draw(st.integers(1, 2)))}
    kinds["at"] = AT_TEXT if in_csv else draw(st.sampled_from(AT))
    kinds["kind"] = draw(st.sampled_from(KIND if in_csv else KIND_ANY))
    for name in ("x", "y"):
        kinds[name] = NUMBER_TEXT if in_csv else draw(st.sampled_from(NUMBER))
    kinds |= {f"more{number}": draw(some) for number in range(draw(st.integers(0, 2)))}
    if not in_csv:
        names = draw(st.lists(st.sampled_from(UNKNOWN_NAMES), max_size=2, unique=True))
        kinds |= {name: draw(st.sampled_from(UNKNOWN)) for name in names}
    return kinds


def _places(kind: Kind) -> list[int | None]:
    """Of each value its place, or None for one that is missing: most rows are to be good ones."""
    good = [place for place, (_, meant) in enumerate(kind.values) if meant is not LOST]
    bad = [place for place, (_, meant) in enumerate(kind.values) if meant is LOST]
    return [*good * (1 + 40 // max(len(good), 1)), *bad, None]


def _drawn_rows(draw: st.DrawFn, kinds: Sequence[Kind], most_rows: int) -> tuple[Row, ...]:
    places = [st.sampled_from(_places(kind)) for kind in kinds]
    rows = draw(st.lists(st.tuples(*places), min_size=draw(st.sampled_from([0, 2, 5, 8, 8])), max_size=most_rows))
    if rows:
        again = st.tuples(st.sampled_from(rows), st.none() | st.integers(0, len(kinds) - 1), st.tuples(*places))
        for row, changed, other in draw(st.lists(again, max_size=4)):
            rows.append(row if changed is None else (*row[:changed], other[changed], *row[changed + 1 :]))
        rows = draw(st.permutations(rows))
    return tuple(rows)
