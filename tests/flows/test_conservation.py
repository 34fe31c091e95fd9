"""Rows are conserved: a fault anywhere between pull and publication that loses, doubles or swaps a row publishes nothing."""

import pyarrow as pa
import pytest

from tasks.core.runs import staging
from tasks.shards import scoring
from tests.flows.conftest import readings


def lose(rows):
    return rows.slice(1)


def double(rows):
    return pa.concat_tables([rows, rows.slice(0, 1)])


def swap(rows):
    """As many rows as before, one of them another's."""
    return pa.concat_tables([rows.slice(1), rows.slice(1, 1)])


def rename(rows):
    keys = ["s99999", *rows["sensor"].to_pylist()[1:]]
    return rows.set_column(rows.schema.get_field_index("sensor"), "sensor", pa.array(keys))


def exchange(rows):
    """Two pairs of equal rows: of a digest by XOR they would cancel each other out."""
    return pa.concat_tables([rows.slice(2), rows.slice(2, 1), rows.slice(2, 1)])


@pytest.mark.parametrize("fault", [lose, double, swap, rename, exchange])
def test_a_fault_in_scoring_publishes_nothing(world, monkeypatch, fault):
    made = scoring._published_rows
    monkeypatch.setattr(scoring, "_published_rows", lambda *args: fault(made(*args)))

    state = world.score()

    assert (state.type.value, state.name) == ("FAILED", "Failed")
    assert "rows of readings 2024-05-01 are unaccounted for: pulled 200" in state.message
    assert "Nothing was published" in state.message
    assert world.partition_bytes() == {}
    assert world.published() is None


@pytest.mark.parametrize("fault", [lose, double])
def test_a_fault_in_the_quarantine_publishes_nothing_and_what_stood_before_stands(world, monkeypatch, fault):
    assert world.score().name == "Published"
    stood = world.partition_bytes()
    rows = readings()
    rows.loc[[3, 4], "kind"] = "lukewarm"
    world.write_rows(rows)
    made = staging._quarantined
    monkeypatch.setattr(staging, "_quarantined", lambda *args: fault(made(*args)))

    state = world.score(rescore="the feed has changed")

    assert "quarantined 1 " in state.message if fault is lose else "quarantined 3 " in state.message
    assert "are unaccounted for" in state.message
    assert world.partition_bytes() == stood
