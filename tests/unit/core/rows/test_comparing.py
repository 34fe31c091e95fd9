"""Two tables held against each other: what only one has, what differs, and types that are not the same on both sides."""

import contextlib
import datetime as dt
import tracemalloc
from collections import Counter
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import DefinitionError
from tasks.core.rows.comparing import Pair, Rows, compare_rows


def rows(table, batch_rows=1000):
    @contextlib.contextmanager
    def read(names):
        yield iter(table.select(list(names)).to_batches(max_chunksize=batch_rows))

    return Rows(table.schema, read)


def compared(ours, theirs, keys=("k",), columns=("x",), **options):
    """Each column by one name on both sides, or by two: ours=theirs."""
    ours, theirs = (one if isinstance(one, pa.Table) else pa.table(one) for one in (ours, theirs))
    pairs = [[Pair(*(one.split("=") if "=" in one else (one, one))) for one in names] for names in (keys, columns)]
    return compare_rows(rows(ours), rows(theirs), *pairs, **options)


def held(ours, theirs, **options):
    """The one column x of rows that have the keys 0, 1, ... on both sides: its tally."""
    keys = pa.array(range(len(ours)))
    found = compared(pa.table({"k": keys, "x": ours}), pa.table({"k": keys, "x": theirs}), **options)
    assert found.equal + found.different == len(ours)
    return found.columns[0]


def test_rows_are_told_by_their_key_in_any_order():
    found = compared(
        {"k": ["a", "b", "c", "d"], "x": [1.0, 2.0, 3.0, 4.0]}, {"x": [4.0, 2.5, 9.0, 1.0], "k": ["d", "b", "e", "a"]}
    )
    assert (found.ours.rows, found.theirs.rows) == (4, 4)
    assert (found.ours.alone, found.ours.examples) == (1, (("c",),))
    assert (found.theirs.alone, found.theirs.examples) == (1, (("e",),))
    assert (found.equal, found.different) == (2, 1)
    (x,) = found.columns
    assert (x.differing, x.largest, x.largest_share) == (1, 0.5, 0.2)
    (example,) = x.examples
    assert (example.key, example.ours, example.theirs, example.by) == (("b",), 2.0, 2.5, 0.5)
    assert not found.is_same


def test_the_same_rows_are_the_same():
    table = pa.table({"k": [1, 2], "x": [None, float("nan")], "t": ["a", None]})
    found = compared(table, table.take([1, 0]), columns=("x", "t"))
    assert (found.equal, found.different, found.is_same) == (2, 0, True)


def test_a_row_that_differs_in_two_columns_is_one_row():
    ours = {"k": [1, 2], "x": [1, 2], "t": ["a", "b"]}
    found = compared(ours, {"k": [1, 2], "x": [0, 2], "t": ["z", "b"]}, columns=("x", "t"))
    assert (found.equal, found.different) == (1, 1)
    assert [one.differing for one in found.columns] == [1, 1]


def test_a_key_that_is_there_twice_on_either_side_is_left_out_of_both():
    found = compared({"k": [1, 1, 2, 3], "x": [1, 1, 2, 3]}, {"k": [1, 2, 3, 3, 3, 4], "x": [1, 2, 3, 3, 3, 4]})
    assert (found.ours.repeated, found.theirs.repeated) == (3, 4)
    assert (found.equal, found.different, found.ours.alone, found.theirs.alone) == (1, 0, 0, 1)


def test_a_row_without_a_key_is_counted_apart():
    ours = {"k": [1, None, 3], "l": ["a", "b", None], "x": [1, 2, 3]}
    theirs = {"k": [1.0, float("nan")], "l": ["a", "b"], "x": [1, 2]}
    found = compared(ours, theirs, keys=("k", "l"))
    assert (found.ours.without_key, found.theirs.without_key, found.equal) == (2, 1, 1)


@pytest.mark.parametrize("apart", [{"k": [1, 1, 2], "x": [1, 8, 2]}, {"k": [None, 2], "x": [1, 2]}])
def test_rows_that_were_left_out_are_no_agreement(apart):
    found = compared(apart, apart)
    assert (found.equal, found.different, found.is_same) == (1, 0, False)


def test_keys_and_columns_of_other_names():
    found = compared({"k": [1], "x": [0.5]}, {"customer id": [1], "score=": [0.5]}, ["k=customer id"], [])
    assert found.equal == 1
    table = pa.table({"customer id": [1], "score=": [0.5]})
    found = compare_rows(
        rows(pa.table({"k": [1], "x": [0.5]})), rows(table), [Pair("k", "customer id")], [Pair("x", "score=")]
    )
    assert (found.equal, found.columns[0].theirs) == (1, "score=")


def test_empty_tables():
    none = pa.table({"k": pa.array([], pa.string()), "x": pa.array([], pa.float64())})
    some = pa.table({"k": ["a"], "x": [1.0]})
    found = compared(none, none)
    assert (found.ours.rows, found.equal, found.is_same) == (0, 0, True)
    assert compared(none, some).theirs.alone == 1
    assert compared(some, none).ours.alone == 1
    assert compared(some, pa.table({"k": pa.nulls(0), "x": pa.nulls(0)})).ours.alone == 1


# --- Types that are not the same


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (pa.array([1, 2, 3]), pa.array([1, 2, 3], pa.int8())),
        (pa.array([1, 2, 3]), pa.array([1.0, 2.0, 3.0])),
        (pa.array([1, 2, 3]), pa.array(["1", "2.0", " +3 "])),
        (pa.array(["1", "2", "3"]), pa.array([1, 2, 3])),
        (pa.array(["007", "2", "C3"]), pa.array(["007", "2", "C3"]).dictionary_encode()),
        (pa.array([1, 2, 3]), pa.array([Decimal("1.00"), Decimal("2.00"), Decimal("3.00")])),
        (pa.array([1, 2, 2**63], pa.uint64()), pa.array([Decimal(1), Decimal(2), Decimal(2**63)])),
        (pa.array([2**62 + 1]), pa.array([str(2**62 + 1)])),
        (pa.array([True, False]), pa.array(["True", "false"])),
        (pa.array([dt.date(2024, 5, 1)]), pa.array(["2024-05-01"])),
        (pa.array([dt.date(2024, 5, 1)]), pa.array([dt.datetime(2024, 5, 1)], pa.timestamp("ns"))),
        (pa.array([dt.date(2024, 5, 1)]), pa.array([dt.datetime(2024, 5, 1, tzinfo=dt.UTC)])),
        (pa.array([dt.datetime(2024, 5, 1, 8, tzinfo=dt.UTC)]), pa.array([dt.datetime(2024, 5, 1, 8)])),
        (pa.array([dt.datetime(2024, 5, 1, 8, tzinfo=dt.UTC)]), pa.array(["2024-05-01T10:00:00+02:00"])),
        (pa.array(["x", "ü"]), pa.array([b"x", "ü".encode()])),
        (pa.array(["x", "y"]), pa.array(["x", "y"], pa.large_string())),
    ],
)
def test_values_of_other_types_meet_as_keys_and_as_columns(ours, theirs):
    found = compared({"k": ours, "x": ours}, {"k": theirs, "x": theirs})
    assert (found.equal, found.different) == (len(ours), 0)
    assert found.columns[0].compared_as


def test_what_cannot_be_the_other_side_s_type_is_no_key_of_it_and_different_from_it():
    found = compared({"k": [1, 2], "x": [1, 2]}, {"k": ["1", "C2", "C2", "C3"], "x": ["1", "b", "b", "c"]})
    assert (found.equal, found.ours.alone, found.theirs.alone, found.theirs.repeated) == (1, 1, 1, 2)
    assert found.theirs.examples == (("C3",),)
    assert compared({"k": [1, 2]}, {"k": [1.0, 2.5]}, columns=()).theirs.alone == 1
    x = held([1, 2, None], ["1", "two", "three"])
    assert (x.differing, x.missing_ours, x.examples[0].theirs) == (2, 1, "two")


def test_types_that_never_meet_are_told_and_keys_of_them_refused():
    x = held([dt.date(2024, 5, 1)], [True])
    assert (x.compared_as, x.differing, x.type_ours, x.type_theirs) == (None, 0, "date", "bool")
    with pytest.raises(DefinitionError, match="'k': it is date here, and 'k' is bool there"):
        compared({"k": [dt.date(2024, 5, 1)]}, {"k": [True]}, columns=())


def test_lists_and_times():
    assert held([[1.0, None], [2.0]], [[1.0, None], [3.0]]).differing == 1
    assert held([dt.time(8)], ["08:00"]).differing == 0
    assert held([[1]], [["a"]]).compared_as is None


def test_files_of_one_table_may_differ_in_type():
    whole, part = pa.table({"k": [1], "x": [1]}), pa.table({"k": [2.0], "x": [None, 2.5][1:]})

    @contextlib.contextmanager
    def read(names):
        yield iter([*whole.select(list(names)).to_batches(), *part.select(list(names)).to_batches()])

    found = compare_rows(
        rows(pa.table({"k": [1, 2], "x": [1.0, 2.5]})), Rows(whole.schema, read), [Pair("k", "k")], [Pair("x", "x")]
    )
    assert (found.equal, found.different) == (2, 0)


# --- By how much


def test_missing_values_and_no_numbers():
    nan, infinite = float("nan"), float("inf")
    x = held([1.0, None, nan, nan, infinite, infinite], [None, 1.0, nan, None, infinite, -infinite], tolerance=1.0)
    assert (x.differing, x.missing_ours, x.missing_theirs) == (4, 1, 2)
    assert x.largest == infinite


def test_tolerance_is_absolute_for_small_numbers_and_relative_for_large_ones():
    ours, theirs = [0.5, 0.5, 1e6, 1e6], [0.5 + 1e-10, 0.5 + 1e-8, 1e6 + 1e-4, 1e6 + 1e-2]
    assert held(ours, theirs).differing == 4
    assert held(ours, theirs, tolerance=1e-9).differing == 2
    assert held([10**12], [10**12 + 1], tolerance=1e-9).differing == 1


def test_text_meets_whole_numbers_and_decimals_as_floats_where_it_holds_other_digits():
    # As the same numbers do that come from Parquet.
    for theirs in (["12.0000001", "13.5"], [12.0000001, 13.5]):
        x = held([12, 13], theirs, tolerance=0.01)
        assert (x.compared_as, x.differing, x.near) == ("float64", 1, 1)
    money = [Decimal("1.10"), Decimal("7.00")]
    for other in (["1.1000001", "9"], [Decimal("1.1000001"), Decimal(9)], [1.1000001, 9.0]):
        assert held(money, other).differing == 2
        assert held(money, other, tolerance=0.01).differing == 1
    # What is no number at all does not make floats of whole numbers.
    x = held([2**53 + 1, 5], [str(2**53), "?"])
    assert (x.compared_as, x.differing, x.largest) == ("int64", 2, 1)


def test_the_distance_of_numbers_that_are_one_float_is_exact():
    x = held([2**53 + 1, -(2**62)], [2**53, 2**62])
    assert (x.differing, [one.by for one in x.examples]) == (2, [2.0**63, 1.0])
    assert held(pa.array([2**63 + 1], pa.uint64()), pa.array([2**63], pa.uint64())).largest == 1
    assert held([Decimal(2**60) + Decimal("0.25")], [Decimal(2**60) + Decimal("0.75")]).largest == 0.5


@pytest.mark.parametrize("there", [["1772323200", "2026-03-02"], ["20260301", "2026-03-02"]])
@pytest.mark.parametrize(("of_days", "kind"), [(False, "timestamp"), (True, "date")])
def test_keys_there_that_are_no_instants_are_counted(there, of_days, kind):
    days = [dt.datetime(2026, 3, day, tzinfo=dt.UTC) for day in (1, 2)]
    ours = [day.date() for day in days] if of_days else days
    found = compared({"k": ours, "x": [1, 2]}, {"k": there, "x": [1, 2]}, memory_bytes=0)
    assert (found.ours.unlike, found.theirs.unlike) == ((), (("k", kind, 1),))
    assert (found.equal, found.ours.alone, found.theirs.alone) == (1, 1, 1)


def test_text_of_csv_meets_floats_within_the_tolerance():
    assert held([0.1, 1e-7], ["0.1", "1E-7"]).differing == 0
    assert held([1 / 3], ["0.333333"], tolerance=1e-5).differing == 0


def test_the_largest_differences_come_first_and_a_missing_value_has_its_place():
    ours = [float(number) for number in range(10)]
    theirs = [number + number / 10 for number in range(9)] + [None]
    x = held(ours, theirs, examples=3)
    assert [(one.key, one.by) for one in x.examples] == [
        ((8,), pytest.approx(0.8)),
        ((7,), pytest.approx(0.7)),
        ((9,), None),
    ]


def test_instants_differ_by_seconds_and_dates_by_days():
    at = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    x = held([at, at], [at, at + dt.timedelta(minutes=2)])
    assert (x.differing, x.largest, x.unit, x.largest_share) == (1, 120, "s", None)
    x = held([at.date()], [at.date() + dt.timedelta(days=3)])
    assert (x.largest, x.unit) == (3, "days")


def test_one_factor_between_all_rows_is_told():
    assert held([0.25, 0.5, 1.0], [25.0, 50.0, 100.0]).factor == 100
    assert held([0.25, 0.5, 1.0], [25.0, 50.0, 101.0]).factor is None
    assert held([0.25, 0.5, 0.0], [25.0, 50.0, 1.0]).factor is None
    assert held([0.25, 0.5], [0.25, 0.5]).factor is None


def test_values_that_python_cannot_show():
    broken = pa.array([b"\xff\xfe", b"a"]).view(pa.string())
    x = held(broken, ["a", "a"])
    assert (x.differing, x.examples[0].ours) == (1, "string that cannot be shown")
    far = pa.array([2**60], pa.int64()).cast(pa.timestamp("us", "UTC"))
    assert held(far, [dt.datetime(2024, 5, 1, tzinfo=dt.UTC)]).differing == 1


# --- Within a bound of memory


@given(
    ours=st.lists(st.tuples(st.integers(0, 12), st.sampled_from([None, 0.0, 1.0, 2.0])), max_size=60),
    theirs=st.lists(st.tuples(st.integers(0, 12), st.sampled_from([None, 0.0, 1.0, 2.0])), max_size=60),
    memory_bytes=st.sampled_from([0, 2_000, 1 << 30]),
)
@settings(max_examples=50, deadline=None)
def test_as_brute_force_finds_it_however_little_memory_there_is(ours, theirs, memory_bytes):
    tables = [
        pa.table({"k": pa.array([k for k, _ in one], pa.int64()), "x": pa.array([x for _, x in one], pa.float64())})
        for one in (ours, theirs)
    ]
    found = compare_rows(
        *(rows(table, batch_rows=7) for table in tables), [Pair("k", "k")], [Pair("x", "x")], memory_bytes=memory_bytes
    )
    counts, counts_there = Counter(k for k, _ in ours), Counter(k for k, _ in theirs)
    once = [k for k in counts if counts[k] == 1 == counts_there[k]]
    equal = sum(dict(ours)[k] == dict(theirs)[k] for k in once)
    assert (found.equal, found.different) == (equal, len(once) - equal)
    for side, mine, other in ((found.ours, counts, counts_there), (found.theirs, counts_there, counts)):
        assert side.alone == sum(mine[k] == 1 and not other[k] for k in mine)
        assert side.repeated == sum(mine[k] for k in mine if mine[k] > 1 or other[k] > 1)
        assert side.rows == side.alone + side.repeated + side.without_key + found.equal + found.different
        assert len(side.examples) == min(side.alone, 5)


def test_memory_stays_within_its_bound():
    count, bound = 200_000, 8 << 20
    numbers = np.random.default_rng(1).permutation(count)

    def made(first, extra):
        @contextlib.contextmanager
        def read(names):
            yield (
                pa.RecordBatch.from_pydict(
                    {"k": numbers[start : start + 10_000], "x": numbers[start : start + 10_000] * 0.5 + extra}
                ).select(list(names))
                for start in range(first, count, 10_000)
            )

        return Rows(pa.schema([("k", pa.int64()), ("x", pa.float64())]), read)

    usual, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        found = compare_rows(made(0, 0), made(10_000, 0.25), [Pair("k", "k")], [Pair("x", "x")], memory_bytes=bound)
        _, peak_of_python = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(usual)
    # Both tables are 6.4 MB as they come, and several times that while they are aligned.
    assert (found.different, found.ours.alone, found.columns[0].largest) == (190_000, 10_000, 0.25)
    assert peak_of_python + pool.max_memory() < bound


def test_millions_of_rows_of_one_key_end():
    table = pa.table({"k": pa.array(np.zeros(300_000, dtype=np.int64)), "x": pa.array(np.arange(300_000))})
    found = compare_rows(
        rows(table, 10_000), rows(table, 10_000), [Pair("k", "k")], [Pair("x", "x")], memory_bytes=1 << 20
    )
    assert (found.ours.repeated, found.theirs.repeated, found.equal) == (300_000, 300_000, 0)


def test_as_pandas_finds_it():
    random = np.random.default_rng(5)
    ours = pd.DataFrame({"k": random.permutation(5000)[:4000], "x": random.normal(size=4000).round(1)})
    theirs = pd.DataFrame({"k": random.permutation(5000)[:4000].astype(str), "x": random.normal(size=4000).round(1)})
    joined = ours.assign(k=ours["k"].astype(str)).merge(theirs, on="k", how="outer", indicator=True)
    found = compared(*(pa.Table.from_pandas(one, preserve_index=False) for one in (ours, theirs)))
    both = joined[joined["_merge"] == "both"]
    assert found.ours.alone == (joined["_merge"] == "left_only").sum()
    assert found.equal == (both["x_x"] == both["x_y"]).sum()
    assert found.columns[0].largest == (both["x_x"] - both["x_y"]).abs().max()
