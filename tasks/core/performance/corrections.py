"""Labels of a window on two days: how many are not what they were."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tasks.core.rows.digest import hash_rows
from tasks.core.rows.newest import index_in


def corrected_since(before: pa.Table, now: pa.Table, keys: Sequence[str], target: str) -> int:
    """The keys of before whose label is another one now, or is there no more. Keys that are new were awaited."""
    places = index_in(hash_rows(before, keys), hash_rows(now, keys))
    met = places >= 0
    then, later = (hash_rows(table, [target])[:, 0] for table in (before, now))
    return int((~met).sum()) + int(np.count_nonzero(then[met] != later[places[met]]))
