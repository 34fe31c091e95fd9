"""Duplicates against a dictionary of lists, at every split into batches and down to 16 records in memory."""

import tracemalloc
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.rows import duplicates
from tasks.core.rows.duplicates import DuplicateFinder
from tasks.core.storage import Lake

TINY = 16 * 40 * 4  # Sixteen records, the fewest there are.
TOP = 1 << 63


def naive(keys, rows, nulls):
    """(repeated, conflicting) straight from the definition."""
    ordinals = defaultdict(list)
    for ordinal, (key, is_null) in enumerate(zip(keys, nulls, strict=True)):
        if not is_null:
            ordinals[key].append(ordinal)
    repeated, conflicting = [], []
    for found in ordinals.values():
        if len({rows[ordinal] for ordinal in found}) > 1:
            conflicting += found
        else:
            repeated += found[1:]
    return sorted(repeated), sorted(conflicting)


def hashes(pairs):
    return np.array(pairs, np.uint64).reshape(-1, 2)


def find(lake, keys, rows, nulls=None, *, batch_rows=7, memory_bytes=TINY):
    finder = DuplicateFinder(lake, "runs/w/scratch", memory_bytes=memory_bytes)
    for start in range(0, len(keys), batch_rows):
        part = slice(start, start + batch_rows)
        finder.add(hashes(keys[part]), hashes(rows[part]), None if nulls is None else np.array(nulls[part], bool))
    found = finder.finish()
    assert found.repeated.dtype == found.conflicting.dtype == np.int64
    assert lake.files() == []
    return found.repeated.tolist(), found.conflicting.tolist()


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    return Lake(tmp_path_factory.mktemp("lake"))


# Halves that are often equal, so that keys which share one half only are not taken for one key.
HALF = st.sampled_from([0, 1, 2, TOP, TOP + 1, (1 << 64) - 1])
ROWS = st.tuples(st.tuples(HALF, HALF), st.sampled_from([(0, 0), (0, 1), (1, 0)]), st.booleans())


@given(st.lists(ROWS, max_size=120), st.integers(1, 130), st.sampled_from([TINY, 1 << 20]))
@settings(deadline=None, derandomize=True, max_examples=150)
def test_found_is_what_the_definition_says(lake, cases, batch_rows, memory_bytes):
    keys, rows, nulls = ([case[i] for case in cases] for i in range(3))
    found = find(lake, keys, rows, nulls, batch_rows=batch_rows, memory_bytes=memory_bytes)
    assert found == naive(keys, rows, nulls)


@given(st.integers(0, 2**32), st.integers(1, 400), st.integers(1, 3))
@settings(deadline=None, derandomize=True, max_examples=40)
def test_many_random_keys_that_spill(lake, seed, distinct, different):
    random = np.random.default_rng(seed)
    keys = [(key, key) for key in random.integers(0, 2**63, distinct).take(random.integers(0, distinct, 500)).tolist()]
    rows = [(row, 0) for row in random.integers(0, different, 500).tolist()]
    assert find(lake, keys, rows, batch_rows=90) == naive(keys, rows, [False] * 500)


def test_examples_by_hand(lake):
    a, b, c = (1, 1), (2, 2), (3, 3)
    x, y = (8, 8), (9, 9)
    # a: three equal rows. b: x, y and x again. c stands alone.
    keys = [a, b, c, b, a, b, a]
    rows = [x, x, x, y, x, x, x]
    assert find(lake, keys, rows) == ([4, 6], [1, 3, 5])
    # The key of a row without one is nobody's: a's first row is now the second.
    assert find(lake, keys, rows, [True, *[False] * 6]) == ([6], [1, 3, 5])


def test_nothing_added(lake):
    assert find(lake, [], []) == ([], [])


def test_only_null_keys(lake):
    assert find(lake, [(0, 0)] * 40, [(0, 0)] * 40, [True] * 40) == ([], [])


@pytest.mark.parametrize("last_differs", [False, True])
def test_last_of_many_equal_rows_decides(lake, last_differs):
    rows = [(0, 0)] * 999 + [(0, int(last_differs))]
    expected = ([], list(range(1000))) if last_differs else (list(range(1, 1000)), [])
    assert find(lake, [(5, 5)] * 1000, rows) == expected


def test_keys_that_no_bits_of_the_first_half_part(lake):
    keys = [(7, second % 50) for second in range(200)]
    assert find(lake, keys, [(0, 0)] * 200) == (list(range(50, 200)), [])


def test_keys_that_begin_alike_are_parted_by_the_bits_that_follow(lake, monkeypatch):
    """Of 80 records no more are held at once than there is room for, though their first twelve bits are the same."""
    resolved, at_once = duplicates._resolved, []
    monkeypatch.setattr(duplicates, "_resolved", lambda records: at_once.append(len(records)) or resolved(records))
    keys = [(number << 46, 0) for number in range(40)] * 2
    assert find(lake, keys, [(0, 0)] * 80) == (list(range(40, 80)), [])
    assert max(at_once) <= TINY // 40 // 4


def test_what_a_killed_run_left_is_removed(lake):
    keys = [(key, key) for key in range(100)]
    killed = DuplicateFinder(lake, "runs/w/scratch", memory_bytes=TINY)
    killed.add(hashes(keys), hashes(keys))
    assert lake.files("runs/w/scratch") != []
    assert find(lake, keys, keys) == ([], [])


def test_scratch_is_removed_when_the_caller_fails(lake):
    def fill_and_fail():
        with DuplicateFinder(lake, "runs/w/scratch", memory_bytes=TINY) as finder:
            finder.add(hashes([(1, 1)] * 100), hashes([(1, 1)] * 100))
            raise KeyError

    with pytest.raises(KeyError):
        fill_and_fail()
    assert lake.files() == []


def test_lengths_that_differ_are_refused(lake):
    with DuplicateFinder(lake, "runs/w/scratch") as finder, pytest.raises(ValueError, match="one length"):
        finder.add(hashes([(1, 1)]), hashes([(1, 1)]), np.zeros(2, bool))


def peak_bytes(lake, batches, memory_bytes):
    tracemalloc.start()
    try:
        with DuplicateFinder(lake, "runs/w/scratch", memory_bytes=memory_bytes) as finder:
            for keys, rows in batches:
                finder.add(keys, rows)
            found = finder.finish()
        return tracemalloc.get_traced_memory()[1], found
    finally:
        tracemalloc.stop()


BOUND = 8_000_000  # Of 600,000 records of 40 bytes, a third.


def skewed(same_row):
    for start in range(0, 600_000, 10_000):
        ordinals = np.arange(start, start + 10_000, dtype=np.uint64)
        rows = np.zeros(10_000, np.uint64) if same_row else ordinals
        yield np.full((10_000, 2), 42, np.uint64), np.column_stack([rows, rows])


def unlike():
    random = np.random.default_rng(1)
    for _ in range(60):
        keys = random.integers(0, 2**63, (10_000, 2)).astype(np.uint64)
        yield keys, keys


@pytest.mark.parametrize("same_row", [True, False])
def test_memory_is_bounded_for_one_key_in_all_rows(lake, same_row):
    peak, found = peak_bytes(lake, skewed(same_row), BOUND)
    assert len(found.repeated) == (599_999 if same_row else 0)
    assert len(found.conflicting) == (0 if same_row else 600_000)
    assert peak < BOUND + 16 * 600_000


def test_memory_is_bounded_for_keys_all_unlike(lake):
    peak, found = peak_bytes(lake, unlike(), BOUND)
    assert len(found.repeated) == len(found.conflicting) == 0
    assert peak < BOUND
