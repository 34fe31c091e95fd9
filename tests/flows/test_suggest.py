"""The command `suggest`: a first suite from one window, which a score of that window then passes."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from flows.cli import app, suggest  # noqa: F401
from tasks.core.errors import DefinitionError, WindowBlocked
from tests.flows.conftest import DAY, readings


def command(*arguments):
    return CliRunner().invoke(app, ["suggest", "readings", "--as-of", DAY, *arguments])


@pytest.fixture
def bare(world):
    """The world before anybody wrote a suite: the job names one that is not there."""
    (world.folder / "expectations/readings.json").unlink()
    rows = readings(1000)
    rows.loc[::10, "y"] = np.nan
    rows.loc[0, "x"] = 1048.36
    world.write_rows(rows)
    return world


def expectations(world):
    return json.loads((world.folder / "expectations/readings.json").read_text())["expectations"]


def kwargs(world, kind, column):
    (found,) = [one for one in expectations(world) if one["type"] == kind and one["kwargs"].get("column") == column]
    return found["kwargs"]


def test_what_is_suggested_describes_the_window_and_the_window_passes_it(bare):
    done = command("--json")

    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["rows"], said["window_rows"], said["left_out"]) == (1000, 1000, [])
    assert kwargs(bare, "expect_column_values_to_be_in_set", "kind")["value_set"] == ["cold", "hot"]
    # A normal column: one wild value in a thousand moves the range little.
    bounds = kwargs(bare, "expect_column_values_to_be_between", "x")
    assert -50 < bounds["min_value"] < -3 < 3 < bounds["max_value"] < 50
    # 900 of 1,000 values of y are there: the rate is rounded down, and still means something.
    assert 0.5 <= kwargs(bare, "expect_column_values_to_not_be_null", "y")["mostly"] <= 0.9
    assert any("unique" in one["type"] for one in expectations(bare))
    assert any(one["type"] == "expect_table_row_count_to_be_between" for one in expectations(bare))
    assert all(one["description"] for one in expectations(bare))

    state = bare.score()
    assert state.name == "Published", state.message
    assert all(one.success for one in bare.published().suite.expectations)


def test_an_expectation_for_a_key_of_two_columns(bare):
    bare.change_job(keys=["sensor", "at"])

    assert command().exit_code == 0
    (compound,) = [one for one in expectations(bare) if "compound" in one["type"]]
    assert compound["kwargs"]["column_list"] == ["sensor", "at"]


def test_a_suite_that_stands_is_never_overwritten(world):
    before = (world.folder / "expectations/readings.json").read_bytes()
    (world.folder / "data/a.parquet").unlink()

    done = command()

    assert isinstance(done.exception, DefinitionError)
    assert "stands already" in str(done.exception)
    assert (world.folder / "expectations/readings.json").read_bytes() == before


def test_of_two_at_once_the_second_overwrites_nothing(bare, monkeypatch):
    from tasks import suggest as stage

    proven = stage._that_holds

    def somebody_else_writes_first(*arguments):
        (bare.folder / "expectations/readings.json").write_text("theirs")
        return proven(*arguments)

    monkeypatch.setattr(stage, "_that_holds", somebody_else_writes_first)
    done = command()

    assert isinstance(done.exception, DefinitionError)
    assert (bare.folder / "expectations/readings.json").read_text() == "theirs"


def test_a_sample_is_bounded_and_the_row_count_is_that_of_the_window(bare):
    bare.change_job(limits__batch_rows=100)

    said = json.loads(command("--rows", "200", "--json").stdout)

    assert (said["rows"], said["window_rows"]) == (200, 1000)
    (rows,) = [one["kwargs"] for one in said["expectations"] if "row_count" in one["type"]]
    assert rows == {"min_value": 500, "max_value": 2000}
    assert said["left_out"] == []


def test_rows_that_a_pull_takes_out_teach_nothing(bare):
    rows = readings(1000).astype({"sensor": object})
    rows.loc[:9, "sensor"] = None
    rows.loc[:9, "kind"] = "odd"
    rows.loc[10:11, "sensor"] = "twice"
    rows.loc[10:11, "kind"] = "odd"
    bare.write_rows(rows)

    assert command().exit_code == 0
    assert kwargs(bare, "expect_column_values_to_be_in_set", "kind")["value_set"] == ["cold", "hot"]


def test_a_window_without_rows_teaches_nothing(bare):
    done = CliRunner().invoke(app, ["suggest", "readings", "--as-of", "2024-06-01"])

    assert isinstance(done.exception, WindowBlocked)
    assert not (bare.folder / "expectations/readings.json").exists()
