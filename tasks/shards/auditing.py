"""Scores one batch of a published window again, from its snapshot, and holds it against what readers see. It writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.auditing.comparing import Example, compare, key_of
from tasks.core.auditing.contents import Said
from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import LakeCorrupt
from tasks.core.models.elsewhere.estimator import Interpreter
from tasks.core.models.model import score_with_bisection
from tasks.core.models.model_version import ModelVersion
from tasks.core.rows import snapshot
from tasks.core.rows.digest import hash_rows
from tasks.core.runs.manifest import SnapshotRecord
from tasks.core.runs.pairing import as_binary, unrepeated
from tasks.core.storage import Lake
from tasks.shards.loading import loaded

_BLOCK_ROWS = 100_000
# Rows on which the model raises now and did not then: so many stand alone before it is given up.
_MORE_CULPRITS = 100
_ASKED_OF_THE_MODEL = "predict_raised"


@dataclass(frozen=True)
class Auditing:
    """What scoring a batch again needs to know: where its rows are, what they say of themselves, and which model made them."""

    lake: Lake
    workspace: str
    published: str
    quarantine: str
    keys: tuple[str, ...]
    said: Said
    outputs: Mapping[str, Prediction]
    model: ModelVersion
    allowed_types: tuple[str, ...]
    snapshot: SnapshotRecord
    is_exact: bool
    timeout_seconds: float
    most_examples: int
    interpreter: Interpreter | None = None


@dataclass(frozen=True)
class BatchAudited:
    """What came of one batch. `freed`: rows in quarantine that the model raised on then, and scores now."""

    rows: int
    differing: int
    by_column: dict[str, int]
    examples: tuple[Example, ...]
    freed: int


def audit_batch(task: Auditing, batch: int) -> BatchAudited:
    """The rows that the model was asked for then are asked for again, together: other boundaries change last bits."""
    model = loaded(
        task.lake,
        task.model,
        task.allowed_types,
        probe=True,
        interpreter=task.interpreter,
        timeout_seconds=task.timeout_seconds,
    )
    candidates, positions = unrepeated(task.lake, task.workspace, task.snapshot, batch, task.keys)
    hashes = as_binary(hash_rows(candidates))
    quarantined, raised = _in_quarantine(task)
    is_quarantined = _is_in(hashes, quarantined)
    is_asked = ~is_quarantined | _is_in(hashes, raised)
    first, _ = snapshot.batch_bounds(task.snapshot, batch)
    rows = positions[is_asked]
    table = snapshot.read_batch(task.lake, task.workspace, batch).take(rows - first)
    scores, kept, culprits = score_with_bisection(
        model, table, rows, task.outputs, give_up_after=len(raised) + _MORE_CULPRITS
    )
    is_published = np.isin(kept, positions[~is_quarantined])
    again = table.take(np.flatnonzero(np.isin(rows, kept))).filter(is_published)
    refused = {row: reason.message for row, reason in culprits if row in set(positions[~is_quarantined].tolist())}
    lost = table.filter(np.isin(rows, list(refused)))
    found = _compared(task, again, scores.filter(is_published))
    return _with_refused(task, found, lost, list(refused.values()), freed=int((~is_published).sum()))


def _in_quarantine(task: Auditing) -> tuple[Any, Any]:
    """The hashes of the keys in quarantine; and of those which are there for nothing but that the model raised."""
    every, raised = [pa.array([], pa.binary(16))], [pa.array([], pa.binary(16))]
    with task.lake.parquet(task.quarantine) as file:
        for batch in file.iter_batches(_BLOCK_ROWS, columns=[*task.keys, "reasons"]):
            hashes = as_binary(hash_rows(batch, task.keys))
            reasons: list[Any] = batch.column("reasons").to_pylist()
            asked = [bool(each) and all(one["kind"] == _ASKED_OF_THE_MODEL for one in each) for each in reasons]
            every.append(hashes)
            raised.append(hashes.filter(pa.array(asked, pa.bool_())))
    return pa.concat_arrays(every), pa.concat_arrays(raised)


def _compared(task: Auditing, again: pa.Table, scores: pa.Table) -> BatchAudited:
    """The rows beside those that readers see under the same keys; one that readers do not see is a difference too."""
    places = _places(task, as_binary(hash_rows(again, task.keys)))
    there = places >= 0
    published = _rows_at(task, places[there])
    expected = _expected(task, published.schema, again.filter(there), scores.filter(there))
    near = () if task.is_exact else tuple(task.outputs)
    found = compare(published, expected, task.keys, near=near, most=task.most_examples)
    missing = again.filter(~there)
    examples = [
        Example(key_of(missing, task.keys, row), "the row", "not there", "scored")
        for row in range(min(len(missing), task.most_examples))
    ]
    by_column = found.by_column | ({"the row": len(missing)} if len(missing) else {})
    return BatchAudited(
        rows=len(again),
        differing=found.differing + len(missing),
        by_column=by_column,
        examples=(*examples, *found.examples)[: task.most_examples],
        freed=0,
    )


def _with_refused(task: Auditing, found: BatchAudited, lost: pa.Table, why: list[str], *, freed: int) -> BatchAudited:
    """The same with the rows that were published, and on which the model raises now."""
    examples = [
        Example(key_of(lost, task.keys, row), "the row", "scored", why[row])
        for row in range(min(len(lost), task.most_examples))
    ]
    by_column = dict(found.by_column)
    if len(lost):
        by_column["the row"] = by_column.get("the row", 0) + len(lost)
    return BatchAudited(
        rows=found.rows + len(lost),
        differing=found.differing + len(lost),
        by_column=by_column,
        examples=(*examples, *found.examples)[: task.most_examples],
        freed=freed,
    )


def _places(task: Auditing, wanted: Any) -> Any:
    """Of each wanted key the row of the published file that has it, or -1. Only the keys are read, until all are found."""
    places = np.full(len(wanted), -1, dtype=np.int64)
    start = 0
    with task.lake.parquet(task.published) as file:
        for batch in file.iter_batches(_BLOCK_ROWS, columns=list(task.keys)):
            found: Any = pc.index_in(wanted, value_set=as_binary(hash_rows(batch, task.keys)))
            here = _numbers(found)
            places = np.where((places < 0) & (here >= 0), start + here, places)
            start += len(batch)
            if (places >= 0).all():
                break
    return places


def _rows_at(task: Auditing, places: Any) -> pa.Table:
    """Rows of the published file, in the order of `places`: only the row groups that hold any are read."""
    with task.lake.parquet(task.published) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        starts = np.cumsum([0, *sizes])
        groups = np.unique(np.searchsorted(starts, places, side="right") - 1) if len(places) else np.array([], int)
        table = file.read_row_groups(groups.tolist())
    read_at = np.concatenate([np.arange(starts[g], starts[g + 1]) for g in groups]) if len(groups) else places
    return table.take(np.searchsorted(read_at, places))


def _expected(task: Auditing, schema: pa.Schema, rows: pa.Table, scores: pa.Table) -> pa.Table:
    """The rows as they must stand in the table: from the snapshot, from the model, and from the manifest."""
    constants: dict[str, Any] = task.said.constants(schema)
    columns: dict[str, Any] = {}
    for name in schema.names:
        if name in constants:
            columns[name] = pa.repeat(constants[name], len(rows))
        elif name in task.outputs:
            columns[name] = scores[name]
        elif name in rows.column_names:
            columns[name] = rows[name]
        else:
            raise LakeCorrupt(
                f"{task.lake.address(task.published)} has a column '{name}', which is neither of the snapshot nor of the model"
            )
    return pa.table(columns)


def _is_in(hashes: Any, among: Any) -> Any:
    return pc.is_in(hashes, value_set=among).to_numpy(zero_copy_only=False).astype(bool)


def _numbers(found: Any) -> Any:
    return found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
