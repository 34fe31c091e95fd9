"""What goes out: its own suite and its volume, held against the scored rows before a reader sees any."""

import json

import pytest
from typer.testing import CliRunner

from flows.cli import app, define  # noqa: F401
from tasks.core.definitions.project import Project
from tasks.core.storage import Folder
from tests.flows.conftest import DAY, readings


def write_output_suite(world, *expectations):
    suite = {"name": "scores", "expectations": list(expectations), "meta": {}}
    (world.folder / "expectations/scores.json").write_text(json.dumps(suite))
    world.change_job(output__suite="scores")


def probability_between(low, high, **more):
    return {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "probability", "min_value": low, "max_value": high},
        **more,
    }


def test_scores_that_hold_are_published_with_the_record_of_it(world):
    # Four batches: what is merged is the window, not a batch.
    world.change_job(limits__batch_rows=50)
    write_output_suite(
        world,
        probability_between(0, 1),
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "sensor"}},
        {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 200}},
    )

    assert world.score().name == "Published"

    suite = world.published().output_suite
    assert (suite.name, suite.success) == ("scores", True)
    assert [one.element_count for one in suite.expectations[:2]] == [200, 200]
    metrics = world_metrics(world)
    assert metrics.loc[metrics["metric"] == "output_expectation_success", "value"].tolist() == [1.0, 1.0, 1.0]


def world_metrics(world):
    import pandas as pd

    return pd.read_parquet(world.folder / "lake/metrics/readings")


def test_a_critical_failure_blocks_after_scoring_and_before_anything_is_seen(world):
    write_output_suite(world, probability_between(0, 0.5))

    state = world.score()

    assert state.name == "Blocked"
    assert "of 200 scored rows fail expect_column_values_to_be_between(probability); limit 0 %" in state.message
    assert not (world.folder / "lake/predictions").exists()
    (record,) = world.latest().output_suite.expectations
    assert record.consequence == "blocks"
    # By hand: the model learnt x > 0, so about half the probabilities lie above a half.
    assert 60 < record.unexpected_count < 140

    # The suite is part of the plan: mended, the window is scored anew.
    write_output_suite(world, probability_between(0, 1))
    assert world.score().name == "Published"


def test_a_warning_is_published_with_its_sentence(world):
    write_output_suite(world, probability_between(0, 0.5, severity="warning"))

    assert world.score().name == "PublishedWithWarnings"
    (reason,) = world.published().reasons
    assert reason.startswith("of what goes out: ")
    assert "probability" in reason


def test_quarantine_is_refused_by_check_and_before_a_row_is_pulled(world):
    write_output_suite(world, probability_between(0, 1, meta={"on_failure": "quarantine"}))
    (world.folder / "data/a.parquet").unlink()

    checked = CliRunner().invoke(app, ["check"])
    state = world.score()

    assert checked.exit_code == 2
    for said in (checked.output, state.message):
        assert "scores" in said
        assert "expectation 1" in said
        assert "on_failure: quarantine is not for" in said


def test_a_column_that_is_not_published_is_refused(world):
    write_output_suite(world, {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x"}})

    state = world.score()

    assert state.name == "Failed"
    assert "'x'" in state.message


def test_the_plan_changes_with_the_output_suites_text(world):
    def digest():
        return Project(Folder(world.folder)).load("readings").digest

    write_output_suite(world, probability_between(0, 1))
    before = digest()
    write_output_suite(world, probability_between(0, 0.9))
    assert digest() != before


@pytest.mark.parametrize(("severity", "name"), [("warning", "PublishedWithWarnings"), ("critical", "Blocked")])
def test_volume_against_the_median_of_the_windows_before(world, severity, name):
    world.change_job(output__volume={"of_median": [0.5, 2.0], "severity": severity})
    for day, rows in ((1, 200), (2, 180), (3, 220)):
        world.write_rows(readings(rows, f"2024-05-0{day}"), f"{day}.parquet")
    (world.folder / "data/a.parquet").unlink()
    world.write_rows(readings(90, "2024-05-04"), "4.parquet")

    for day in (1, 2, 3):
        assert world.score(f"2024-05-0{day}").name == "Published"
    assert world.published(DAY).volume is None
    state = world.score("2024-05-04")

    assert state.name == name, state.message
    found = world.latest("2024-05-04").volume
    assert (found.scored, found.median, found.windows, found.least, found.most) == (90, 200, 3, 100, 400)
    assert found.sentence in (state.message if name == "Blocked" else world.published("2024-05-04").reasons)
