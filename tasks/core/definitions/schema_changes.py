"""How a source's columns differ from those of the last published window, and what the job says of it.

Types are the source's own, as found, not the declared ones: what a column became on the way in would hide the change.
Storage variants of one type (large strings, dictionaries, the zone that an instant is shown in) count as the same. SQLite
types values, not columns: there, whole and broken numbers are one type. A column of nulls only, one that is not read,
and one whose type differs within the window have no type to compare; the values of the last are judged one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa

from tasks.core.definitions.column_types import type_name
from tasks.core.definitions.job import SchemaChanges
from tasks.core.errors import SchemaBlocked
from tasks.core.runs.manifest import SchemaChangeRecord

UNKNOWN = "unknown"
_NUMBER = "number"
_MIXED = " or "
_CONSEQUENCES = {"accept": "accepted", "warn": "warns", "block": "blocks", "fill_null": "warns"}
_EXACT_BITS = {"float32": 24, "float64": 53}  # Whole numbers of so many bits keep their value in such a float.
_WHOLE = re.compile(r"(u?)int(\d+)")
_DECIMAL = re.compile(r"decimal\((\d+), ?(-?\d+)\)")
_UNITS = ("s", "ms", "us", "ns")


class SourceColumns:
    """The names and types of a source's columns, gathered while its batches pass by."""

    def __init__(self, *, types_values: bool = False) -> None:
        self._types: dict[str, list[str]] = {}
        self._types_values = types_values
        self._given: list[set[str]] = []

    def begin(self, names: Iterable[str]) -> None:
        """Starts with these names, in the source's order; what was gathered of an earlier attempt is forgotten."""
        self._types = {name: [] for name in names}
        self._given = []

    def know(self, names: Iterable[str]) -> None:
        """Adds names that turned up on the way."""
        for name in names:
            self._types.setdefault(name, [])

    def recall(self, types: Mapping[str, str]) -> None:
        """Takes over what was found when rows that are kept were pulled: they are of the declared types by now."""
        self._types = {name: [] if kind == UNKNOWN else [kind] for name, kind in types.items()}

    def watch(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The same batches; each is looked at before it is handed on."""
        for batch in batches:
            if not batch.num_rows:
                # A file without rows of this window says nothing about it.
                continue
            if set(batch.schema.names) not in self._given:
                self._given.append(set(batch.schema.names))
            for field in batch.schema:
                kind, known = self._name(field.type), self._types.setdefault(field.name, [])
                if kind != UNKNOWN and kind not in known:
                    known.append(kind)
            yield batch

    @property
    def types(self) -> dict[str, str]:
        """Each column's type; where batches differ, all of them. A column that only some batches have is left out."""
        lacking = {name for one in self._given for name in one if not all(name in other for other in self._given)}
        return {
            name: _MIXED.join(sorted(found)) or UNKNOWN for name, found in self._types.items() if name not in lacking
        }

    def _name(self, kind: pa.DataType) -> str:
        if self._types_values and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            return _NUMBER
        return _plain_name(kind)


def compare(
    before: Mapping[str, str], now: Mapping[str, str], policy: SchemaChanges, declared: Sequence[str]
) -> tuple[SchemaChangeRecord, ...]:
    """Every difference between two records of a source's columns, with what the job's policy makes of it."""
    if not now:
        return ()
    changes = []
    if before:
        changes += [_added(name, now[name], policy) for name in now if name not in before]
        changes += [_vanished(name, before[name]) for name in before if name not in now and name not in declared]
        changes += filter(None, (_retyped(name, before[name], now[name], policy) for name in now if name in before))
    return (*changes, *(_missing(name, before.get(name), policy) for name in declared if name not in now))


def refuse(changes: Sequence[SchemaChangeRecord], window: str, last: str | None) -> None:
    """SchemaBlocked where the policy blocks a change; it shows every difference."""
    blocking = [one for one in changes if one.consequence == "blocks"]
    if not blocking:
        return
    keys = sorted({f"schema_changes.{one.change}" for one in blocking})
    raise SchemaBlocked(
        f"the source's columns changed: {difference(changes, last)}",
        state="nothing was published, and what readers saw before stands",
        next_step=f"mend the feed; or, if the change is right, set {' and '.join(keys)} to warn in the job, and score "
        f"{window} again",
    )


def difference(changes: Sequence[SchemaChangeRecord], last: str | None) -> str:
    """What differs from the last published window, in words; the rest of a sentence."""
    told = "; ".join(_in_short(one) for one in changes)
    return f"against window {last}, the last published before, {told}" if last else told


def _in_short(change: SchemaChangeRecord) -> str:
    if change.change == "added":
        return f"'{change.column}' is new{_typed(change.now)}"
    if change.change == "missing":
        return f"'{change.column}' is missing{_typed(change.before)}"
    return f"'{change.column}' was {change.before} and is {change.now}"


def _typed(kind: str | None) -> str:
    return f" ({kind})" if kind and kind != UNKNOWN else ""


def _added(name: str, now: str, policy: SchemaChanges) -> SchemaChangeRecord:
    return _record("added", name, None, now, policy.added, f"the source has a new column '{name}'{_typed(now)}")


def _vanished(name: str, before: str) -> SchemaChangeRecord:
    """A column that the job does not declare: nothing is lost with it."""
    sentence = f"the source has no column '{name}' any more; the job does not read it"
    return _record("missing", name, before, None, "accept", sentence)


def _missing(name: str, before: str | None, policy: SchemaChanges) -> SchemaChangeRecord:
    sentence = f"the source lacks column '{name}', and all its values were taken as missing"
    return _record("missing", name, before, None, policy.missing, sentence)


def _retyped(name: str, before: str, now: str, policy: SchemaChanges) -> SchemaChangeRecord | None:
    if before == now or UNKNOWN in (before, now) or _MIXED in before or _MIXED in now:
        return None
    sentence = f"the source gives column '{name}' as {now}, and gave it as {before} before"
    if widens(before, now):
        return _record("widened", name, before, now, policy.widened, sentence)
    return _record("retyped", name, before, now, policy.retyped, sentence)


def _record(
    change: str, column: str, before: str | None, now: str | None, word: str, sentence: str
) -> SchemaChangeRecord:
    return SchemaChangeRecord.model_validate(
        {
            "change": change,
            "column": column,
            "before": before,
            "now": now,
            "consequence": _CONSEQUENCES[word],
            "sentence": sentence,
        }
    )


def widens(before: str, now: str) -> bool:
    """Whether the later type holds every value of the earlier one, as a number or an instant of the same worth."""
    if (before, now) in {("float32", "float64"), ("date", "timestamp_naive")}:
        return True
    return _wider_whole(before, now) or _wider_decimal(before, now) or _wider_instant(before, now)


def _wider_whole(before: str, now: str) -> bool:
    old, new = _WHOLE.fullmatch(before), _WHOLE.fullmatch(now)
    if old is None:
        return False
    unsigned, bits = bool(old[1]), int(old[2])
    digits = bits if unsigned else bits - 1
    if new is not None:
        same_sign = bool(new[1]) == unsigned
        return int(new[2]) > bits if same_sign else unsigned and int(new[2]) > bits
    if now in _EXACT_BITS:
        return digits <= _EXACT_BITS[now]
    decimal = _DECIMAL.fullmatch(now)
    return decimal is not None and 10 ** (int(decimal[1]) - int(decimal[2])) > 2**digits


def _wider_decimal(before: str, now: str) -> bool:
    old, new = _DECIMAL.fullmatch(before), _DECIMAL.fullmatch(now)
    if old is None or new is None:
        return False
    whole_digits = [int(one[1]) - int(one[2]) for one in (old, new)]
    return whole_digits[1] >= whole_digits[0] and int(new[2]) >= int(old[2])


def _wider_instant(before: str, now: str) -> bool:
    old, new = _unit(before), _unit(now)
    return old is not None and new is not None and old[0] == new[0] and new[1] > old[1]


def _unit(name: str) -> tuple[bool, int] | None:
    """Of an instant: whether it has a zone, and how fine its unit is."""
    if name in ("timestamp", "timestamp_naive"):
        return name == "timestamp", _UNITS.index("us")
    found = re.fullmatch(r"timestamp\[(\w+)(, tz=UTC)?\]", name)
    return (found[2] is not None, _UNITS.index(found[1])) if found else None


def _plain_name(kind: pa.DataType) -> str:
    """The name of a type without what is storage alone."""
    if pa.types.is_null(kind):
        return UNKNOWN
    if isinstance(kind, pa.DictionaryType):
        return _plain_name(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return "binary"
    if isinstance(kind, pa.TimestampType) and kind.tz is not None:
        return type_name(pa.timestamp(kind.unit, tz="UTC"))
    return type_name(kind)
