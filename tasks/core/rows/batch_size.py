"""How many rows make a batch: as many as `limits.memory` has room for, by what the first rows take.

It depends on the job and its rows alone, never on the machine: the same boundaries give the same bytes everywhere.
"""

from __future__ import annotations

import pyarrow as pa

from tasks.core.definitions.job import Limits

# What a row takes at the most while it is scored, in terms of what it takes in Arrow: its frame, the arrays that a pipeline
# makes of it, the predictions. Boosting and logistic regression with categories were measured at 4 to 6.
COPIES = 8
# In steps, so that rows which are a little longer or shorter than yesterday's do not move every boundary.
_FEWEST_ROWS, _MOST_ROWS = 250, 128_000


def bytes_per_row(sample: pa.RecordBatch) -> int:
    """What a row of the sample takes in Arrow, rounded up."""
    return -(-sample.nbytes // max(sample.num_rows, 1))


def rows_in_batch(limits: Limits, row_bytes: int) -> int:
    """The job's own number, or 250 times that power of two which the memory has room for; 128,000 at the most."""
    if limits.batch_rows is not None:
        return limits.batch_rows
    rows, room = _FEWEST_ROWS, int(limits.memory) // (COPIES * max(row_bytes, 1))
    while rows * 2 <= min(room, _MOST_ROWS):
        rows *= 2
    return rows
