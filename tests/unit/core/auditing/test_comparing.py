"""Values side by side, to the last bit of a float."""

import math
import struct

import numpy as np
import pyarrow as pa
import pytest

from tasks.core.auditing.comparing import compare, differing

NAN_OF_OTHER_BITS = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000123))[0]
NEXT = math.nextafter(0.5, 1)


@pytest.mark.parametrize(
    ("ours", "theirs", "tolerance", "differs"),
    [
        (0.5, 0.5, 0.0, False),
        (0.5, NEXT, 0.0, True),
        (0.5, NEXT, 1e-12, False),
        (0.5, 0.5 + 1e-11, 1e-12, True),
        # Relative above 1: a double has sixteen digits.
        (1e9, math.nextafter(1e9, 2e9), 1e-12, False),
        (1e9, 1e9 + 1, 1e-12, True),
        (0.0, -0.0, 0.0, True),
        (math.nan, math.nan, 0.0, False),
        (math.nan, NAN_OF_OTHER_BITS, 0.0, False),
        (math.nan, 0.5, 1e-12, True),
        (math.inf, math.inf, 1e-12, False),
        (math.inf, -math.inf, 1e-12, True),
        (math.inf, 1e308, 1e-12, True),
        (None, None, 0.0, False),
        (None, 0.0, 1e-12, True),
        (0.0, None, 0.0, True),
    ],
)
def test_a_float_differs_by_its_bits_or_by_more_than_the_tolerance(ours, theirs, tolerance, differs):
    one, other = (pa.array([value], pa.float64()) for value in (ours, theirs))
    assert differing(one, other, tolerance=tolerance).tolist() == [differs]


@pytest.mark.parametrize("kind", [pa.float32(), pa.float16()])
def test_narrow_floats_too(kind):
    one, other = (
        pa.array(np.array([0.5, 1.0], kind.to_pandas_dtype())),
        pa.array(np.array([0.5, 2.0], kind.to_pandas_dtype())),
    )
    assert differing(one, other).tolist() == [False, True]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (pa.array(["a", None, "c"]), pa.array(["a", "b", "d"])),
        (pa.array([1, None, 3]), pa.array([1, 2, 4])),
        (pa.array([True, None, True]), pa.array([True, False, False])),
        (pa.array([[1.0], None, [3.0]]), pa.array([[1.0], [], [3.5]])),
        (pa.array(["a", None, "c"]).dictionary_encode(), pa.array(["a", "b", "d"]).dictionary_encode()),
    ],
    ids=["text", "ints", "bools", "lists", "categories"],
)
def test_all_else_is_exact(ours, theirs):
    assert differing(ours, theirs).tolist() == [False, True, True]


def test_another_type_is_different_in_every_row():
    assert differing(pa.array([1, 2]), pa.array([1.0, 2.0])).all()


def test_rows_are_counted_once_and_the_first_differences_named():
    published = pa.table({"id": ["a", "b", "c"], "p": [0.1, 0.2, 0.3], "x": [1, 2, 3]})
    again = pa.table({"id": ["a", "b", "c"], "p": [0.1, NEXT, 0.4], "x": [1, 5, 3]})
    found = compare(published, again, ["id"], most=2)
    assert (found.rows, found.differing, found.by_column) == (3, 2, {"p": 2, "x": 1})
    assert [(one.key, one.column, one.published, one.again) for one in found.examples] == [
        ({"id": "b"}, "p", "0.2", repr(NEXT)),
        ({"id": "c"}, "p", "0.3", "0.4"),
    ]
    near = compare(published, again.set_column(1, "p", [[0.1 + 1e-14, 0.2, 0.3]]), ["id"], near=["p"], most=9)
    assert near.by_column == {"x": 1}
