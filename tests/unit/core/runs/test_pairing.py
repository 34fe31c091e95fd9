"""Which published row is which row of the snapshot: by key, batch by batch, and never by position."""

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import LakeCorrupt
from tasks.core.rows import rejects, snapshot
from tasks.core.runs.manifest import SnapshotRecord
from tasks.core.runs.pairing import published_bounds, read_rows, snapshot_rows
from tasks.core.storage import Lake

KEYS = ("carrier", "flight")
SCHEMA = pa.schema([("carrier", pa.string()), ("flight", pa.int64()), ("x", pa.float64())])
PUBLISHED = "predictions/late/part.parquet"


def rows(flights):
    """A row a flight; x is ten times its number."""
    return pa.table(
        {"carrier": ["AA"] * len(flights), "flight": flights, "x": [10.0 * (f or 0) for f in flights]}, schema=SCHEMA
    )


def put(lake, flights, published, batch_rows=3, repeated=(), group_rows=None):
    """A workspace `w` with a snapshot of these flights, and a published file."""
    with lake.parquet_writer(f"w/{snapshot.SNAPSHOT}", SCHEMA) as writer:
        for first in range(0, len(flights), batch_rows):
            writer.write_table(rows(flights[first : first + batch_rows]))
    with lake.parquet_writer(f"w/{rejects.DUPLICATES}", rejects.DUPLICATES_SCHEMA) as writer:
        writer.write_table(pa.table({"row": pa.array(repeated, pa.int64())}, schema=rejects.DUPLICATES_SCHEMA))
    with lake.parquet_writer(PUBLISHED, SCHEMA) as writer:
        writer.write_table(rows(published), row_group_size=group_rows)
    return SnapshotRecord(
        digest="",
        rows=len(flights),
        batches=-(-len(flights) // batch_rows),
        batch_rows=batch_rows,
        bytes=0,
        sha256="",
        complete_at=dt.datetime(2013, 7, 1, tzinfo=dt.UTC),
        columns={},
    )


def bounds(lake, record):
    return published_bounds(lake, PUBLISHED, "w", record, KEYS)


def paired(lake, record):
    """For every published row, its x and its position as the snapshot has them."""
    found = []
    for batch, one in enumerate(bounds(lake, record)):
        with lake.parquet(PUBLISHED) as file:
            published = read_rows(file, one)
        table, positions = snapshot_rows(lake, "w", record, batch, KEYS, published, ["flight", "x"])
        assert table.column_names == ["flight", "x"]
        assert table["flight"].to_pylist() == published["flight"].to_pylist()
        found += zip(table["x"].to_pylist(), positions.tolist(), strict=True)
    return found


def test_by_hand(lake):
    # Batches 1 2 3 | 4 5 6 | 7 8; of the second nothing was published, of the others not all.
    record = put(lake, [1, 2, 3, 4, 5, 6, 7, 8], [1, 3, 8])

    assert bounds(lake, record) == [(0, 2), (2, 2), (2, 3)]
    assert paired(lake, record) == [(10.0, 0), (30.0, 2), (80.0, 7)]


def test_of_a_row_that_is_repeated_the_first_is_the_published_one(lake):
    # Row 1 stands again in the next batch, and 4 again beside itself.
    record = put(lake, [1, 2, 3, 1, 4, 4], [1, 2, 3, 4], repeated=[3, 5])

    assert paired(lake, record) == [(10.0, 0), (20.0, 1), (30.0, 2), (40.0, 4)]


def test_rows_without_a_key_stand_for_nothing(lake):
    assert paired(lake, put(lake, [None, 1, None, 2, None], [1, 2])) == [(10.0, 1), (20.0, 3)]


@pytest.mark.parametrize("published", [[2, 1], [1, 1], [9], [1, 9, 2], [1, 2, 3, 4, 5, 6, 7]])
def test_a_file_that_does_not_follow_the_snapshot_is_refused(lake, published):
    record = put(lake, [1, 2, 3, 4, 5, 6], published)

    with pytest.raises(LakeCorrupt, match="is not where the snapshot of its run has it"):
        bounds(lake, record)


@pytest.mark.parametrize(("flights", "published"), [([], []), ([1, 2], []), ([1], [1])])
def test_little_is_paired_as_well(lake, flights, published):
    assert paired(lake, put(lake, flights, published)) == [(10.0, 0)] * len(published)


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40),
    st.integers(1, 15),
    st.integers(1, 15),
)
@settings(deadline=None, derandomize=True, max_examples=30)
def test_whatever_the_batches_and_row_groups(tmp_path_factory, fates, batch_rows, group_rows):
    """Each flight is published or not, and may stand a second time at the end."""
    lake = Lake(tmp_path_factory.mktemp("lake"))
    flights = [*range(len(fates)), *(flight for flight, (_, again) in enumerate(fates) if again)]
    published = [flight for flight, (is_published, _) in enumerate(fates) if is_published]
    record = put(lake, flights, published, batch_rows, list(range(len(fates), len(flights))), group_rows)

    assert paired(lake, record) == [(10.0 * flight, flight) for flight in published]


def test_only_the_row_groups_that_hold_the_rows_are_read(lake, monkeypatch):
    put(lake, list(range(20)), list(range(20)), group_rows=4)
    with lake.parquet(PUBLISHED) as file:
        asked = []
        plain = file.read_row_groups
        monkeypatch.setattr(file, "read_row_groups", lambda groups, **how: asked.append(groups) or plain(groups, **how))

        assert read_rows(file, (7, 13), ["flight"])["flight"].to_pylist() == [7, 8, 9, 10, 11, 12]
        assert read_rows(file, (4, 4)).num_rows == 0
        assert asked == [[1, 2, 3], []]
