"""Rows that were taken out: which are quarantined, for what reasons, and which remain, held against plain sets."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import LakeCorrupt
from tasks.core.rows import rejects
from tasks.core.rows.reasons import REASON_TYPE, REJECTS_SCHEMA, Reason, rejects_table
from tasks.core.rows.rejects import (
    TakenOut,
    read_between,
    read_taken_out,
    read_taken_out_by_pull,
    total_count_by_reason,
    write_rejects,
)

W = "runs/late/as_of=2013-07-01/run"


def null_key(column: str = "id") -> Reason:
    return Reason("null_key", "null_key", column, None, f"{column} is missing")


def out_of_range(value: str, column: str = "x") -> Reason:
    return Reason("expectation", "expect_column_values_to_be_between", column, value, f"{column} is {value}")


def as_dict(reason: Reason) -> dict:
    return dict(vars(reason))


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def taken(first: int, end: int, records: list[tuple[int, Reason]], repeated: tuple[int, ...] = ()) -> TakenOut:
    return TakenOut(first, end, rows(*repeated), rejects_table(records))


def write_duplicates(lake, *numbers: int) -> None:
    with lake.parquet_writer(f"{W}/{rejects.DUPLICATES}", rejects.DUPLICATES_SCHEMA) as writer:
        writer.write_table(pa.table({"row": pa.array(numbers, pa.int64())}, schema=rejects.DUPLICATES_SCHEMA))


def test_a_row_is_quarantined_once_with_all_its_reasons_in_the_order_of_the_stages():
    one = taken(
        100, 110, [(107, null_key()), (103, null_key()), (107, out_of_range("9")), (107, out_of_range("8", "y"))]
    )
    assert one.quarantined.tolist() == [103, 107]
    assert one.remaining.tolist() == [100, 101, 102, 104, 105, 106, 108, 109]
    assert one.reasons_by_row().type == pa.list_(REASON_TYPE)
    assert one.reasons_by_row().to_pylist() == [
        [as_dict(null_key())],
        [as_dict(null_key()), as_dict(out_of_range("9")), as_dict(out_of_range("8", "y"))],
    ]


def test_a_row_that_repeats_another_is_neither_scored_nor_quarantined():
    one = taken(0, 5, [(1, null_key()), (3, null_key())], repeated=(3, 4))
    assert one.quarantined.tolist() == [1]
    assert one.remaining.tolist() == [0, 2]
    assert one.reasons_by_row().to_pylist() == [[as_dict(null_key())]]
    assert one.count_by_reason() == {"null_key(id)": 1}


def test_a_batch_of_which_nothing_was_taken_out():
    one = taken(10, 13, [])
    assert (one.quarantined.tolist(), one.remaining.tolist(), len(one.reasons_by_row())) == ([], [10, 11, 12], 0)
    assert one.reasons_by_row().type == pa.list_(REASON_TYPE)
    assert one.count_by_reason() == {}


def test_a_batch_of_which_all_was_taken_out():
    one = taken(10, 12, [(11, null_key()), (10, null_key())])
    assert (one.quarantined.tolist(), one.remaining.tolist()) == ([10, 11], [])


def test_a_window_without_rows():
    one = taken(0, 0, [])
    assert (one.quarantined.tolist(), one.remaining.tolist(), len(one.reasons_by_row())) == ([], [], 0)


def test_rows_are_counted_by_reason_once_each():
    first = taken(
        0, 10, [(1, out_of_range("7")), (1, out_of_range("8")), (2, out_of_range("7")), (2, out_of_range("7", "y"))]
    )
    second = taken(10, 20, [(11, Reason("predict_raised", "predict_raised", None, None, "boom"))])
    assert first.count_by_reason() == {
        "expect_column_values_to_be_between(x)": 2,
        "expect_column_values_to_be_between(y)": 1,
    }
    total = total_count_by_reason([second, first])
    assert list(total.items()) == [
        ("expect_column_values_to_be_between(x)", 2),
        ("predict_raised", 1),
        ("expect_column_values_to_be_between(y)", 1),
    ]
    assert total_count_by_reason([]) == {}


def test_a_long_value_is_cut_and_a_missing_one_stays_missing():
    reason = out_of_range("x" * 500)
    assert reason.value == "x" * 200 + "..."
    assert out_of_range("x" * 200).value == "x" * 200
    assert null_key().value is None


def test_all_stages_records_are_read_for_their_batch_alone(lake):
    write_rejects(lake, f"{W}/{rejects.PULLED}", rejects_table([(1, null_key()), (12, null_key())]))
    write_duplicates(lake, 2, 13)
    write_rejects(
        lake, f"{W}/{rejects.VALIDATED_WHOLE}", rejects_table([(3, out_of_range("whole")), (14, out_of_range("whole"))])
    )
    write_rejects(lake, f"{W}/{rejects.validated(1)}", rejects_table([(15, out_of_range("batch"))]))
    write_rejects(
        lake,
        f"{W}/{rejects.scored(1)}",
        rejects_table([(16, Reason("predict_raised", "predict_raised", None, None, "boom"))]),
    )

    first, second = read_taken_out(lake, W, 0, (0, 10)), read_taken_out(lake, W, 1, (10, 20))
    assert (first.quarantined.tolist(), first.repeated.tolist()) == ([1, 3], [2])
    assert (second.quarantined.tolist(), second.repeated.tolist()) == ([12, 14, 15, 16], [13])
    assert second.remaining.tolist() == [10, 11, 17, 18, 19]
    # Validation looks at what the pull left over, whatever validation said before.
    assert read_taken_out_by_pull(lake, W, (10, 20)).quarantined.tolist() == [12]


def test_a_workspace_without_any_records(lake):
    assert read_taken_out(lake, W, 0, (0, 3)).remaining.tolist() == [0, 1, 2]


def test_records_are_found_whatever_row_group_they_lie_in(lake):
    # As the pull writes them: a row group a batch, and those of a conflict found at the end out of order.
    with lake.parquet_writer(f"{W}/{rejects.PULLED}", REJECTS_SCHEMA) as writer:
        for group in ([(5, null_key())], [(25, null_key()), (21, null_key())], [(3, null_key()), (29, null_key())]):
            writer.write_table(rejects_table(group))
    read = lambda first, end: read_between(lake, f"{W}/{rejects.PULLED}", first, end, REJECTS_SCHEMA)["row"].to_pylist()  # noqa: E731
    assert read(0, 10) == [5, 3]
    assert read(20, 30) == [25, 21, 29]
    assert read(10, 20) == []
    assert read(5, 6) == [5]
    assert read(6, 21) == []
    assert read(0, 0) == []


def test_only_the_row_groups_that_may_hold_a_row_are_read(lake, monkeypatch):
    with lake.parquet_writer("t", REJECTS_SCHEMA) as writer:
        for number in range(10):
            writer.write_table(rejects_table([(number * 10, null_key()), (number * 10 + 9, null_key())]))
    asked = []
    original = pq.ParquetFile.read_row_groups
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_groups", lambda file, groups: asked.append(groups) or original(file, groups)
    )
    assert read_between(lake, "t", 35, 50, REJECTS_SCHEMA)["row"].to_pylist() == [39, 40, 49]
    assert asked == [[3, 4]]


def test_a_damaged_record_is_never_taken_for_none(lake):
    write_rejects(lake, f"{W}/{rejects.PULLED}", rejects_table([(1, null_key())]))
    lake.write_bytes(f"{W}/{rejects.PULLED}", lake.read_bytes(f"{W}/{rejects.PULLED}")[:-10])
    with pytest.raises(LakeCorrupt, match=r"rejects\.parquet"):
        read_taken_out(lake, W, 0, (0, 3))


records = st.lists(
    st.tuples(st.integers(40, 59), st.builds(out_of_range, st.sampled_from("123"), st.sampled_from("xy"))), max_size=30
)


@settings(deadline=None, derandomize=True)
@given(records, st.sets(st.integers(40, 59)))
def test_every_row_has_one_fate(found, repeated):
    one = taken(40, 60, found, tuple(sorted(repeated)))
    quarantined = {row for row, _ in found} - repeated
    assert one.quarantined.tolist() == sorted(quarantined)
    assert one.remaining.tolist() == sorted(set(range(40, 60)) - quarantined - repeated)
    expected = [[as_dict(reason) for at, reason in found if at == row] for row in sorted(quarantined)]
    assert one.reasons_by_row().to_pylist() == expected
    labels = {(row, f"{reason.rule}({reason.column})") for row, reason in found if row in quarantined}
    assert one.count_by_reason() == Counter(label for _, label in labels)
