"""How many rows make a batch: by the memory that is given and by what a row takes, and by nothing of the machine."""

import pyarrow as pa
import pytest

from tasks.core.definitions.job import Limits
from tasks.core.rows.batch_size import bytes_per_row, rows_in_batch


def test_a_row_is_measured_as_it_lies_in_memory():
    # Eight bytes a number; of a text its three letters, and four bytes for where it begins.
    numbers = pa.record_batch({"n": pa.array(range(1000), pa.int64())})
    assert bytes_per_row(numbers) == bytes_per_row(numbers.slice(10, 100)) == 8
    assert bytes_per_row(pa.record_batch({"t": ["abc"] * 1000})) == 7
    assert bytes_per_row(numbers.slice(0, 0)) == 0


@pytest.mark.parametrize(
    ("memory", "row_bytes", "rows"),
    [
        # 512 MB / 8 copies / 156 bytes = 410,256 rows: more than a batch ever has.
        ("512MB", 156, 128_000),
        # 40,000 rows have room: 250 x 2^7 is 32,000, and the double too many.
        ("512MB", 1_600, 32_000),
        ("256MB", 1_600, 16_000),
        # 1,600 rows.
        ("512MB", 40_000, 1_000),
        # Not one; but a batch has some rows.
        ("1MB", 1_000_000, 250),
        ("512MB", 0, 128_000),
    ],
)
def test_a_batch_has_as_many_rows_as_the_memory_has_room_for(memory, row_bytes, rows):
    assert rows_in_batch(Limits(memory=memory), row_bytes) == rows


def test_rows_a_little_longer_make_the_same_batches():
    assert rows_in_batch(Limits(), 1_600) == rows_in_batch(Limits(), 1_660)


def test_the_job_s_own_number_counts():
    assert rows_in_batch(Limits(batch_rows=7, memory="1MB"), 10**9) == 7


@pytest.mark.parametrize("wrong", ["much", "12 bananas", "", -5])
def test_what_is_no_size_is_refused(wrong):
    with pytest.raises(ValueError, match="memory"):
        Limits(memory=wrong)
