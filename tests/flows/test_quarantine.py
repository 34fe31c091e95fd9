"""The command `quarantine`: every row that was not scored, with all its reasons, and its release."""

import json

import pytest
from typer.testing import CliRunner

from flows.cli import app, quarantine  # noqa: F401
from tasks.core.errors import DefinitionError
from tests.flows.conftest import DAY, readings


def command(*arguments):
    return CliRunner().invoke(app, ["quarantine", "readings", "--as-of", DAY, *arguments])


def rows_with(kinds):
    rows = readings()
    rows.loc[list(kinds), "kind"] = list(kinds.values())
    return rows


def not_far_below():
    return {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "x", "min_value": -50},
        "severity": "critical",
        "meta": {"on_failure": "quarantine"},
    }


def known_kind(*kinds):
    return {
        "type": "expect_column_values_to_be_in_set",
        "kwargs": {"column": "kind", "value_set": list(kinds)},
        "severity": "critical",
        "meta": {"on_failure": "quarantine"},
    }


def test_rows_stand_under_each_of_their_reasons_with_keys_and_value(world):
    rows = rows_with({3: "tepid", 4: "tepid", 5: "damp"})
    rows.loc[5, "x"] = -99.5
    world.write_rows(rows)
    world.write_suite(known_kind("hot", "cold"), not_far_below())
    assert world.score().name == "Published"

    found = json.loads(command("--json").stdout)

    assert (found["verdict"], found["rows_pulled"], found["rows_quarantined"]) == ("published", 200, 3)
    by_reason = {one["reason"]: one for one in found["reasons"]}
    assert {reason: one["rows"] for reason, one in by_reason.items()} == {
        "expect_column_values_to_be_in_set(kind)": 3,
        "expect_column_values_to_be_between(x)": 1,
    }
    examples = by_reason["expect_column_values_to_be_in_set(kind)"]["examples"]
    assert [(one["keys"], one["value"]) for one in examples] == [
        ({"sensor": "s00003"}, "tepid"),
        ({"sensor": "s00004"}, "tepid"),
        ({"sensor": "s00005"}, "damp"),
    ]
    (low,) = by_reason["expect_column_values_to_be_between(x)"]["examples"]
    assert (low["keys"], low["value"], low["row"]["x"]) == ({"sensor": "s00005"}, "-99.5", "-99.5")

    said = command().stdout
    assert "published. 3 of 200 rows are in quarantine." in said
    assert "3 x expect_column_values_to_be_in_set(kind)" in said
    assert "s00004" in said


def test_a_blocked_window_shows_what_its_run_took_out(world):
    world.write_rows(rows_with(dict.fromkeys(range(40), "tepid")))
    assert world.score().name == "Blocked"
    assert not (world.folder / "lake/quarantine").exists()

    found = json.loads(command("--json").stdout)

    assert (found["verdict"], found["rows_quarantined"]) == ("blocked", 40)
    (reason,) = found["reasons"]
    assert (reason["rows"], reason["examples"][0]["value"]) == (40, "tepid")


def test_release_scores_the_whole_window_again_under_the_mended_suite(world):
    world.write_rows(rows_with({3: "tepid"}))
    world.score()
    before = world.published()
    assert before.rows.quarantined == 1
    world.write_suite(known_kind("hot", "cold", "tepid"))

    done = command("--release", "tepid is a kind too")

    assert done.exit_code == 0, done.output
    after = world.published()
    assert (after.rows.scored, after.rows.quarantined) == (200, 0)
    assert (after.trigger.kind, after.trigger.rescore_reason) == ("rescore", "tepid is a kind too")
    assert after.replaces == before.run_id
    assert after.suite.digest != before.suite.digest
    # One run wrote every row: no partition holds rows judged by two suites.
    assert set(world.table()["run_id"]) == {after.run_id}
    assert len(world.table("quarantine")) == 0


def test_a_terminal_obeys_no_value_and_forges_no_line(world):
    evil = "\x1b]0;owned\x07\x1b[2J\nlamplighter: forged \u202e\u061c:bomb: [red]b[/red]"
    rows = rows_with({3: evil})
    rows.loc[3, "sensor"] = f"k{evil}"
    world.write_rows(rows)
    world.write_suite(known_kind("hot", "cold"))
    world.score()

    said = command().stdout

    assert said.replace("\n", "").isprintable()
    assert not [line for line in said.splitlines() if line.startswith("lamplighter")]
    # The table wraps its cells between words.
    for word in (r"\x1b]0;owned\x07\x1b[2J\nlamplighter:", r"\u202e\u061c:bomb:", "[red]b[/red]"):
        assert said.count(word) == 3, word
    # The table itself has the value as it came; so has JSON, by its own escapes.
    assert world.table("quarantine")["kind"].tolist() == [evil]
    assert json.loads(command("--json").stdout)["reasons"][0]["examples"][0]["value"] == evil


def test_a_value_of_a_megabyte_stands_whole_in_its_row_and_nowhere_else(world):
    long = "x" * 1_000_000
    world.write_rows(rows_with(dict.fromkeys(range(3), long)))
    world.write_suite(known_kind("hot", "cold"))
    assert world.score().name == "Published"

    assert set(world.table("quarantine")["kind"]) == {long}
    assert world.published().suite.expectations[0].examples == ("x" * 200 + "...",) * 3
    written = {str(path): path.stat().st_size for path in (world.folder / "lake").rglob("*") if path.is_file()}
    assert {path: size for path, size in written.items() if size > 900_000 and not path.endswith(".parquet")} == {}
    assert len(command().stdout) < 10_000


@pytest.mark.parametrize("reason", ["", "  "])
def test_release_without_a_reason_changes_nothing(world, reason):
    world.write_rows(rows_with({3: "tepid"}))
    world.score()
    before = world.partition_bytes()
    world.write_suite()

    done = command("--release", reason)

    assert isinstance(done.exception, DefinitionError)
    assert "reason" in str(done.exception)
    assert world.partition_bytes() == before


def test_a_window_that_never_ran_is_refused_with_the_next_command(world):
    done = command()

    assert isinstance(done.exception, DefinitionError)
    assert f"lamplighter score readings --as-of {DAY}" in str(done.exception)
