"""Of rows with keys the newest of each, against a dictionary."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.rows import newest
from tasks.core.rows.newest import Newest, index_in

LARGEST = 2**64 - 1
# Halves that are often equal: keys that share one of them are two keys.
HASHES = st.tuples(*[st.sampled_from([0, 1, 2, LARGEST])] * 2)
ROWS = st.dictionaries(HASHES, st.integers(0, 2**31 - 1), max_size=8)


def hashes(of):
    return np.array(list(of), np.uint64).reshape(-1, 2)


@pytest.fixture(params=[1, 1 << 20], autouse=True)
def _settles_after(request, monkeypatch):
    monkeypatch.setattr(newest, "_SETTLE_ROWS", request.param)


@given(files=st.lists(st.tuples(st.integers(-1, 9), ROWS), max_size=6))
def test_of_each_key_the_highest_rank_stays(files):
    found, by_key = Newest(), {}
    for number, (rank, rows) in enumerate(files):
        # No two files have one rank, as no two windows have.
        found.add(hashes(rows), rank * 10 + number + 10, number, np.arange(len(rows)))
        for place, key in enumerate(rows):
            by_key[key] = max(by_key.get(key, (-1,)), (rank * 10 + number + 10, number, place))
    assert found.settle() == len(by_key) == found.at_least
    kept = {(source, int(place)) for source, places in found.places_by_source().items() for place in places}
    assert kept == {(source, place) for _, source, place in by_key.values()}
    assert all((np.diff(places) > 0).all() for places in found.places_by_source().values())
    wanted = [*by_key, (7, 7)]
    assert found.ranks_of(hashes(wanted)).tolist() == [*(rank for rank, *_ in by_key.values()), -1]


def test_nothing_is_nothing():
    found = Newest()
    assert (found.settle(), found.places_by_source()) == (0, {})
    assert found.ranks_of(hashes([(1, 1)])).tolist() == [-1]
    assert found.ranks_of(hashes([])).tolist() == []
    found.add(hashes([]), 0, 0, np.arange(0))
    assert (found.settle(), found.places_by_source()) == (0, {})


def test_of_a_key_that_one_file_has_twice_one_row_stays():
    found = Newest()
    found.add(hashes([(1, 1), (1, 1)]), 0, 0, np.arange(2))
    assert found.settle() == 1


def test_places_of_hashes():
    assert index_in(hashes([(1, 2), (2, 1), (LARGEST, 0)]), hashes([(LARGEST, 0), (1, 2)])).tolist() == [1, -1, 0]
