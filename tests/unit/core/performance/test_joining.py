"""Published rows and labels, by key: against two dictionaries, whatever the order, the row groups and what is missing."""

import math
import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.core import layout
from tasks.core.performance import joining
from tasks.core.performance.corrections import corrected_since
from tasks.core.performance.joining import Wanted, join
from tasks.core.runs.showing import Showing
from tasks.core.storage import Lake

PUBLISHED = pa.schema([("id", pa.int64()), ("day", pa.string()), ("p", pa.float64()), ("site", pa.string())])
LABELS = pa.schema([("id", pa.int64()), ("day", pa.string()), ("y", pa.float64())])
KEYS = ("id", "day")
SEEN = Showing("one", "predictions/late/as_of=2026-03-01", shadow=False)
WANTED = Wanted(KEYS, "p", "y", ("site",))

keys = st.tuples(st.integers(0, 9), st.sampled_from(["a", "b"]))
sites = st.sampled_from(["x", "y", None])
values = st.sampled_from([0.0, 1.0, None, float("nan")])


def labels_of(truth):
    return pa.Table.from_pylist([{"id": key[0], "day": key[1], "y": y} for key, y in truth.items()], LABELS)


def joined(rows, truth, group):
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        lake = Lake(folder)
        content = [
            {"id": key[0], "day": key[1], "p": n / 100, "site": site} for n, (key, site) in enumerate(rows.items())
        ]
        with lake.parquet_writer(f"{SEEN.folder}/{layout.part('one')}", PUBLISHED) as writer:
            writer.write_table(pa.Table.from_pylist(content, PUBLISHED), group)
        return join(lake, "runs/late/one", SEEN, WANTED, labels_of(truth))


def is_label(value):
    return value is not None and not math.isnan(value)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(keys, sites, max_size=12), st.dictionaries(keys, values, max_size=12), st.integers(1, 5))
def test_each_row_meets_its_own_label_and_every_row_is_counted_once(rows, truth, group):
    found = joined(rows, truth, group)

    assert found.is_labelled.tolist() == [is_label(truth.get(key)) for key in rows]
    assert found.without.tolist() == [key in truth and not is_label(truth[key]) for key in rows]
    assert found.truth.to_pylist() == [truth[key] for key in rows if is_label(truth.get(key))]
    assert found.predicted_where_labelled.to_pylist() == [
        n / 100 for n, key in enumerate(rows) if is_label(truth.get(key))
    ]
    assert found.unmatched == len(truth.keys() - rows.keys())
    site = found.slices["site"]
    assert [site.names[code] for code in site.codes] == [one or "(missing)" for one in rows.values()]


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(keys, values, max_size=12), st.dictionaries(keys, values, max_size=12))
def test_corrected_are_the_labels_that_are_not_what_they_were(before, now):
    """NaN is NaN, and null is null; a key that comes anew was awaited."""
    by_hand = sum(key not in now or str(now[key]) != str(was) for key, was in before.items())
    assert corrected_since(labels_of(before), labels_of(now), KEYS, "y") == by_hand


def test_keys_that_meet_in_parts_meet_as_they_do_at_once(monkeypatch):
    random = np.random.default_rng(1)
    here, there = (random.integers(0, 50, (200, 1), np.uint64) * np.array([1, 3], np.uint64) for _ in range(2))
    there = np.unique(there, axis=0)
    at_once = joining.places_of(here, there)
    monkeypatch.setattr(joining, "_AT_ONCE", 7)

    assert joining.places_of(here, there).tolist() == at_once.tolist()
    assert [n for n, place in enumerate(at_once) if place >= 0 and (there[place] != here[n]).any()] == []
    assert (at_once >= 0).tolist() == [any((row == one).all() for one in there) for row in here]
