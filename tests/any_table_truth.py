"""What must become of every row of a table, reckoned from its values alone; and what a run has left, read from outside."""

import datetime as dt
import decimal
import functools
import json
import math
import pathlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.any_table import END, LOST, START, Row, Table

_WITHIN = 1e-12
_OF_TIME = ("timings", "started_at", "finished_at", "peak_memory_bytes", "digest")


def plainly(value: Any) -> Any:
    """A value that can be counted, and equals all that count as equal: NaN and NaN, 0.0 and -0.0, two zones' instants."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value + 0.0
    if isinstance(value, list):
        return tuple(plainly(one) for one in value)
    if isinstance(value, dt.datetime) and value.tzinfo:
        return value.astimezone(dt.UTC)
    if isinstance(value, decimal.Decimal):
        return value.normalize(decimal.Context(prec=100))
    return value


@dataclass(frozen=True)
class Truth:
    """Of a table's rows: how many come out how. A scored row is its keys and what passes through, with its probability."""

    pulled: int
    duplicates: int
    scored: dict[tuple[Any, ...], float]
    quarantined: Counter[tuple[Any, ...]]  # Each row's values, and the set of its reasons.
    is_blocked: bool


def truth_of(table: Table, model: Any) -> Truth:
    pulled = [row for row in table.rows if _is_pulled(table, row)]
    kept, duplicates, reasons = _told_apart(table, pulled)
    for at, row in enumerate(kept):
        # What one stage took out the next does not look at.
        if not reasons[at]:
            reasons[at] |= _failed(table, row)
        if not reasons[at] and _is_too_much(table, row):
            reasons[at].add(("predict_raised", None))
    taken = [(row, why) for row, why in zip(kept, reasons, strict=True) if why]
    left = [row for row, why in zip(kept, reasons, strict=True) if not why]
    return Truth(
        pulled=len(pulled),
        duplicates=duplicates,
        scored={published(table, row): one for row, one in zip(left, probabilities(table, left, model), strict=True)},
        quarantined=Counter((values_of(table, row), frozenset(why)) for row, why in taken),
        is_blocked=not pulled or len(taken) > table.quarantine_share * (len(pulled) - duplicates),
    )


def _is_pulled(table: Table, row: Row) -> bool:
    """A row whose event time is not known is pulled, and then rejected."""
    at = table.meant("at", row)
    return at is None or at is LOST or START <= at < END


def _told_apart(table: Table, rows: list[Row]) -> tuple[list[Row], int, list[set[tuple[str, str | None]]]]:
    """Without the rows that repeat another; how many these are; and why some of the others cannot be scored."""
    by_key: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        by_key[_key(table, row)].append(row)
    kept: list[Row] = []
    reasons: list[set[tuple[str, str | None]]] = []
    duplicates = 0
    for key, group in by_key.items():
        is_one = key is not None and len({_whole(table, row) for row in group}) == 1
        for row in group[:1] if is_one else group:
            kept.append(row)
            reasons.append(_unfit(table, row, in_conflict=key is not None and not is_one))
        duplicates += len(group) - 1 if is_one else 0
    return kept, duplicates, reasons


def _key(table: Table, row: Row) -> tuple[Any, ...] | None:
    key = [table.meant(name, row) for name in table.keys]
    return None if any(value is None or value is LOST for value in key) else tuple(map(plainly, key))


def _whole(table: Table, row: Row) -> tuple[Any, ...]:
    """All that the job knows of a row; of what is lost that which the file held."""
    meant = {name: table.meant(name, row) for name in table.columns}
    return tuple(
        ("lost", repr(table.held(name, row))) if value is LOST else plainly(value) for name, value in meant.items()
    )


def _unfit(table: Table, row: Row, *, in_conflict: bool) -> set[tuple[str, str | None]]:
    meant = {name: table.meant(name, row) for name in table.columns}
    why: set[tuple[str, str | None]] = {("not_convertible", name) for name, value in meant.items() if value is LOST}
    keys = ", ".join(table.keys)
    if _key(table, row) is None:
        why.add(("null_key", keys))
    if in_conflict:
        why.add(("duplicate_key", keys))
    if meant["at"] is None or meant["at"] is LOST:
        why.add(("no_event_time", "at"))
    return why


def _failed(table: Table, row: Row) -> set[tuple[str, str | None]]:
    """The expectations of `suite_of` that a row fails. To them NaN is missing, and what is missing fails `not null` alone."""
    kind, x = table.meant("kind", row), table.meant("x", row)
    has_x = x is not None and not math.isnan(x)
    fails = {
        "kind in set": kind is not None and kind not in ("hot", "cold", ""),
        "x between": has_x and not -1e6 <= x <= 1e6,
        "x not null": not has_x,
    }
    return {("expectation", "kind" if name == "kind in set" else "x") for name in table.expectations if fails[name]}


def suite_of(table: Table) -> list[dict[str, Any]]:
    """The expectations of a table, as Great Expectations writes them; those that are not asked for never fail."""
    known = {
        "kind in set": ("expect_column_values_to_be_in_set", {"column": "kind", "value_set": ["hot", "cold", ""]}),
        "x between": ("expect_column_values_to_be_between", {"column": "x", "min_value": -1e6, "max_value": 1e6}),
        "x not null": ("expect_column_values_to_not_be_null", {"column": "x"}),
    }
    rest = {"severity": "critical", "meta": {"on_failure": "quarantine"}}
    return [{"type": known[name][0], "kwargs": known[name][1], **rest} for name in table.expectations]


def _is_too_much(table: Table, row: Row) -> bool:
    """scikit-learn refuses an infinity."""
    values = [table.meant(name, row) for name in ("x", "y")]
    return any(value is not None and math.isinf(value) for value in values)


def probabilities(table: Table, rows: list[Row], model: Any) -> list[float]:
    """What the model itself makes of the rows, one at a time."""
    made = []
    for row in rows:
        x, y = (np.nan if value is None else value for value in (table.meant("x", row), table.meant("y", row)))
        frame = pd.DataFrame({"kind": pd.Series([table.meant("kind", row)], dtype="str"), "x": [x], "y": [y]})
        made.append(float(model.predict_proba(frame)[0, 1]))
    return made


def published(table: Table, row: Row) -> tuple[Any, ...]:
    names = dict.fromkeys([*table.keys, "at", *table.pass_through])
    return tuple(plainly(table.meant(name, row)) for name in names)


def values_of(table: Table, row: Row) -> tuple[Any, ...]:
    meant = [table.meant(name, row) for name in table.columns]
    return tuple(None if value is LOST else plainly(value) for value in meant)


@functools.cache
def model_in(lake: pathlib.Path) -> Any:
    (file,) = (lake / "models/readings/versions/0001").glob("*.joblib")
    return joblib.load(file)


# -- what a run has left ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Left:
    """What lies in a lake after a run: the files that readers find, as bytes, and its manifest."""

    files: dict[str, dict[str, bytes]]
    manifest: dict[str, Any]

    def rows(self, table: str) -> list[dict[str, Any]]:
        (data,) = self.files[table].values()
        return _rows_of(data)


def left_in(lake: pathlib.Path) -> Left:
    manifests = [json.loads(path.read_bytes()) for path in lake.glob("runs/readings/*/*/manifest.json")]
    return Left(
        files={
            name: {path.name: path.read_bytes() for path in (lake / name).rglob("*") if path.is_file()}
            for name in ("predictions", "quarantine", "metrics")
        },
        manifest=manifests[0] if len(manifests) == 1 else {},
    )


def _rows_of(data: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(data)).to_pylist()
    return rows


def check_nothing(left: Left) -> None:
    """Nothing is visible, and no manifest says that something is."""
    assert not any(left.files.values()), {name: sorted(files) for name, files in left.files.items() if files}
    assert left.manifest.get("state") not in ("published", "publishing"), left.manifest


def check_published(table: Table, truth: Truth, left: Left) -> None:
    """Every row is where it must be, once; and the manifest says so."""
    rows, keys = left.manifest["rows"], left.manifest["key_digests"]
    scored, quarantined = left.rows("predictions"), left.rows("quarantine")
    assert rows == {
        "pulled": truth.pulled,
        "scored": len(scored),
        "quarantined": len(quarantined),
        "duplicates": truth.duplicates,
    }
    assert truth.pulled == len(scored) + len(quarantined) + truth.duplicates
    assert int(keys["pulled"], 16) == sum(int(keys[n], 16) for n in ("scored", "quarantined", "duplicates")) % 2**128
    names = list(dict.fromkeys([*table.keys, "at", *table.pass_through]))
    found = [(tuple(plainly(row[name]) for name in names), row["probability"]) for row in scored]
    assert Counter(name for name, _ in found) == Counter(truth.scored.keys())
    for name, probability in found:
        assert abs(probability - truth.scored[name]) <= _WITHIN, name
    assert quarantine_of(table, left) == truth.quarantined
    assert set(map(tuple, (left.files["predictions"], left.files["quarantine"]))) == {
        (f"part-{left.manifest['run_id']}.parquet",)
    }


def quarantine_of(table: Table, left: Left) -> Counter[tuple[Any, ...]]:
    return Counter(
        (
            tuple(plainly(row[name]) for name in table.columns),
            frozenset((reason["kind"], reason["column"]) for reason in row["reasons"]),
        )
        for row in left.rows("quarantine")
    )


def but_for_times(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest without what the clock decides."""
    said = {key: value for key, value in manifest.items() if key not in _OF_TIME}
    return said | {"files": {name: one for name, one in said["files"].items() if name != "metrics"}}


def check_same_bytes(one: Left, other: Left) -> None:
    assert but_for_times(one.manifest) == but_for_times(other.manifest)
    for table in ("predictions", "quarantine"):
        assert one.files[table] == other.files[table]


def check_same_rows(table: Table, one: Left, other: Left) -> None:
    """The same rows with the same reasons, and the same digests; the scores within the tolerance."""
    assert quarantine_of(table, one) == quarantine_of(table, other)
    for key in ("rows", "key_digests"):
        assert one.manifest[key] == other.manifest[key]
    assert one.manifest["snapshot"]["digest"] == other.manifest["snapshot"]["digest"]
    names = list(dict.fromkeys([*table.keys, "at", *table.pass_through]))
    first, second = (
        {tuple(plainly(row[name]) for name in names): row["probability"] for row in left.rows("predictions")}
        for left in (one, other)
    )
    assert first.keys() == second.keys()
    assert all(abs(first[name] - second[name]) <= _WITHIN for name in first)
