"""From the types that a source gives to the types that a job declares: explicitly, and without loss.

A column is converted as a whole; only where that fails is it halved until the values that cannot be converted stand
alone. Each becomes null and a rejection, so that one bad value costs one row. A type that can never become the declared
one blocks the run.

What is converted, beside a type to itself:
    whole numbers    from wider and narrower ones, bool, whole floats and decimals, text; never with loss
    floats           from other floats (no overflow), decimals (the nearest), text, bool, whole numbers up to 2^53 (2^24)
    decimal(P, S)    from whole numbers, decimals, text, and floats by their shortest text; never rounded
    bool             from 0 and 1, and from true, t, 1, false, f, 0 as text
    string           from UTF-8 bytes, UUID, enum, JSON, whole numbers, decimals, dates, bool; not from floats, instants
    date             from ISO text, and from instants without zone at midnight
    timestamp        from instants with a zone, and from ISO text, which without an offset is UTC
    timestamp_naive  from instants without zone, dates, and ISO text without an offset
    list<TYPE>       from lists of what TYPE is converted from
Digits beyond the microsecond are cut off, which never moves an instant out of its window. Instants and dates outside the
years 1 to 9999 (PostgreSQL's infinity among them) are rejected. NaN and infinities of floats stay.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pyarrow as pa

from tasks.core.definitions.column_types import type_name
from tasks.core.errors import SchemaBlocked
from tasks.core.rows.conversions import CannotConvert, Column, converter, nulls, plain
from tasks.core.rows.reasons import Reason

Rejections = list[tuple[int, Reason]]

_LONGEST_SHOWN = 80


def conform(
    batch: pa.RecordBatch,
    schema: pa.Schema,
    first_row: int,
    *,
    naive_zone: str | None = None,
    may_lack: Collection[str] = (),
) -> tuple[pa.RecordBatch, Rejections]:
    """The batch in the declared schema, and for each value that could not be converted its row and the reason.

    Rows are counted from `first_row`. `naive_zone` is the zone of instants that come without one; without it they are
    refused for a declared timestamp. SchemaBlocked names a column that is missing, twice there, or of a hopeless type;
    one that `may_lack` names may be missing, and is null then.
    """
    check_columns(batch.schema.names, schema.names, may_lack=may_lack)
    columns: list[Column] = []
    rejections: Rejections = []
    for field in schema:
        if field.name not in batch.schema.names:
            columns.append(nulls(batch.num_rows, field.type))
            continue
        column, failures = convert(
            batch.column(field.name), field, batch.schema.field(field.name), naive_zone=naive_zone
        )
        columns.append(column)
        rejections += [(first_row + row, reason) for row, reason in failures]
    rejections.sort(key=lambda rejection: rejection[0])
    return pa.RecordBatch.from_arrays(columns, schema=schema), rejections


def convert(
    column: Column, declared: pa.Field[Any], found: pa.Field[Any] | None = None, *, naive_zone: str | None = None
) -> tuple[Column, Rejections]:
    """One column in its declared type, and for each value that could not be converted its position and the reason."""
    try:
        values = plain(column, found)
        whole = converter(values.type, declared.type, naive_zone)
    except CannotConvert as hopeless:
        raise SchemaBlocked(
            f"the source gives column '{declared.name}' as {hopeless.found}, and the job declares it as "
            f"{type_name(declared.type)}, which that can never become",
            state="nothing was published",
            next_step=hopeless.advice.format(column=declared.name),
        ) from None
    try:
        return whole(values), []
    except pa.ArrowInvalid:
        return _convert_what_can_be(values, whole, declared)


def check_columns(
    found: Sequence[str], declared: Sequence[str], *, where: str = "the source", may_lack: Collection[str] = ()
) -> None:
    """SchemaBlocked where a declared column is missing, or stands there twice."""
    if missing := [name for name in declared if name not in found and name not in may_lack]:
        near = [difflib.get_close_matches(name, found, n=1, cutoff=0.5) for name in missing]
        nearest = sorted({match for matches in near for match in matches})
        hint = f"; nearest: {_listed(nearest)}" if nearest else ""
        lacking = SchemaBlocked(
            f"{where} lacks declared columns: {_listed(missing)}; found: {_listed(found) or 'none'}{hint}",
            state="nothing was published",
            next_step="name them so in the source, or mend 'columns' in the job",
        )
        lacking.found = tuple(found)
        raise lacking
    if twice := sorted({name for name in declared if found.count(name) > 1}):
        raise SchemaBlocked(
            f"{where} gives declared columns more than once: {_listed(twice)}; which is meant cannot be told",
            state="nothing was published",
            next_step="give each column of the source a name of its own",
        )


def extra_columns(found: Sequence[str], declared: Sequence[str]) -> tuple[str, ...]:
    """The columns that a source gives and the job does not declare, in the source's order: they are dropped."""
    return tuple(name for name in found if name not in declared)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _convert_what_can_be(
    values: Column, whole: Callable[[Column], Column], declared: pa.Field[Any]
) -> tuple[Column, Rejections]:
    """Each distinct text is tried once: a feed that breaks repeats itself."""
    if not pa.types.is_string(values.type):
        parts, failed = _by_halves(values, whole, declared.type, 0)
        return pa.concat_arrays(parts), [(row, _reason(declared, values.slice(row, 1))) for row in failed]
    coded = values.dictionary_encode()
    parts, failed = _by_halves(coded.dictionary, whole, declared.type, 0)
    reasons = {code: _reason(declared, coded.dictionary.slice(code, 1)) for code in failed}
    codes = coded.indices.to_pylist()
    return (
        pa.concat_arrays(parts).take(coded.indices),
        [(row, reasons[code]) for row, code in enumerate(codes) if code in reasons],
    )


def _by_halves(
    values: Column, whole: Callable[[Column], Column], declared: pa.DataType, first: int
) -> tuple[list[Column], list[int]]:
    """The converted parts in order, and the positions of the values that became null for want of a conversion."""
    try:
        return [whole(values)], []
    except pa.ArrowInvalid:
        if len(values) <= 1:
            return [nulls(len(values), declared)], [first]
    half = len(values) // 2
    left, left_failed = _by_halves(values.slice(0, half), whole, declared, first)
    right, right_failed = _by_halves(values.slice(half), whole, declared, first + half)
    return left + right, left_failed + right_failed


def _reason(declared: pa.Field[Any], value: Column) -> Reason:
    shown = _shown(value)
    cut = shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."
    return Reason(
        kind="not_convertible",
        rule="not_convertible",
        column=declared.name,
        value=shown,
        message=f"column '{declared.name}': {cut} cannot be converted to {type_name(declared.type)} without loss",
    )


def _shown(value: Column) -> str:
    """A value as a person can read it, whatever is wrong with it."""
    if pa.types.is_string(value.type):
        raw = value.view(pa.binary())[0].as_py()
        return f"'{text}'" if (text := _decoded(raw)) is not None else repr(raw)
    try:
        return str(value[0].as_py())
    except (ValueError, OverflowError):
        # Python's calendar ends where the driver's does not.
        return f"{value[0].value} {value.type}"


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
