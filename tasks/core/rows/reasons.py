"""Why a row was not scored: one record a reason, the same for every stage that takes rows out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Kind = Literal[
    "null_key",
    "duplicate_key",
    "no_event_time",
    "outside_window",
    "not_convertible",
    "expectation",
    "predict_raised",
    "model_died",
]

REASON_TYPE = pa.struct([(name, pa.string()) for name in ("kind", "rule", "column", "value", "message")])
# What a stage hands on of the rows that it took out: `row` is the row's position in the snapshot.
REJECTS_SCHEMA = pa.schema([pa.field("row", pa.int64(), nullable=False), pa.field("reason", REASON_TYPE)])

# So much of a value is recorded as an example of what is wrong: the row itself has the whole of it.
LONGEST_VALUE = 200
ELLIPSIS = "..."


@dataclass(frozen=True)
class Reason:
    """One reason: what kind, by which rule, of which column and value, and the sentence a person reads."""

    kind: Kind
    rule: str
    column: str | None
    value: str | None
    message: str

    def __post_init__(self) -> None:
        if self.value is not None:
            object.__setattr__(self, "value", cut_value(self.value))


def cut_value(text: str, longest: int = LONGEST_VALUE) -> str:
    """As much of a value as is recorded, with an ellipsis where more of it was left out."""
    return text if len(text) <= longest else f"{text[:longest]}{ELLIPSIS}"


def rejects_table(rows: list[tuple[int, Reason]]) -> pa.Table:
    """The rejects of a batch, one record a row and reason, in REJECTS_SCHEMA."""
    return pa.table(
        {
            "row": pa.array([row for row, _ in rows], pa.int64()),
            "reason": pa.array([vars(reason) for _, reason in rows], REASON_TYPE),
        },
        schema=REJECTS_SCHEMA,
    )
