"""How far scores are off: nothing that is no number, or is one in one place only, passes for the same."""

import math

import pyarrow as pa
import pytest

from tasks.shards.dry_run import worst_difference


def scores(*values, kind=None) -> pa.Table:
    return pa.table({"score": pa.array(values, kind)})


@pytest.mark.parametrize(
    ("then", "now", "off"),
    [
        (scores(0.5, math.nan), scores(0.5, math.nan), 0.0),
        (scores(0.5), scores(0.25), 0.25),
        (scores(200.0), scores(100.0), 0.5),
        (scores(0.5), scores(math.nan), math.inf),
        (scores(math.nan), scores(0.5), math.inf),
        (scores(math.inf), scores(math.inf), 0.0),
        (scores(math.inf), scores(1.0), math.inf),
        (scores(1.0, math.inf), scores(1.0, -math.inf), math.inf),
        (scores(0.5), scores(0.5, 0.5), math.inf),
        (scores(0.5), scores(0.5, kind=pa.float32()), math.inf),
        (scores("a", None), scores("a", None), 0.0),
        (scores("a"), scores("b"), math.inf),
        (scores(1), scores(2), math.inf),
        (scores(None, kind=pa.float64()), scores(0.0), math.inf),
        (scores(0.5), pa.table({"other": [0.5]}), math.inf),
        (scores(kind=pa.float64()), scores(kind=pa.float64()), 0.0),
    ],
)
def test_how_far_it_is_off(then, now, off):
    assert worst_difference(then, now) == off
