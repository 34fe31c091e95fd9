"""What a gate says of its failure: how many of how many rows, which expectation with its column, and the limit."""

import pytest

from tasks.core.runs import gate
from tasks.core.runs.manifest import ExpectationRecord, SuiteRecord, VolumeRecord

NAME = "expect_column_values_to_be_between(wind_speed)"


def record(**changes):
    values = {
        "type": "expect_column_values_to_be_between",
        "columns": ("wind_speed",),
        "kwargs": {"column": "wind_speed", "max_value": 150, "mostly": 0.98},
        "severity": "critical",
        "on_failure": None,
        "consequence": "blocks",
        "success": False,
        "element_count": 958,
        "unexpected_count": 214,
        "sentence": "214 of 958 rows fail expect_column_values_to_be_between(wind_speed, 150, 0.98)",
    }
    return ExpectationRecord(**values | changes)


def failures(*records, rows="rows"):
    suite = SuiteRecord(name="weather", digest="x", success=False, expectations=records)
    return gate.suite_failures(suite, [NAME] * len(records), rows)


def sentence(**changes) -> str:
    (failure,) = failures(record(**changes))
    return failure.sentence


def test_rows_are_counted_against_the_limit():
    assert sentence() == f"214 of 958 rows fail {NAME}; limit 2 %"
    assert sentence(kwargs={"column": "wind_speed"}) == f"214 of 958 rows fail {NAME}; limit 0 %"
    assert sentence(kwargs={"mostly": 0.999}).endswith("; limit 0.1 %")
    assert sentence(element_count=1_234_567).startswith("214 of 1,234,567 rows")
    assert failures(record(), rows="scored rows")[0].sentence.startswith("214 of 958 scored rows fail")


def test_a_few_values_follow_on_one_line_whatever_they_hold():
    said = sentence(examples=("1048.36", "1048.36", "a\nb\t<i>", "", "x" * 500))
    assert said.endswith("; limit 2 %; for example 1048.36, a b <i>, (empty)")
    assert sentence(examples=("x" * 500,)).endswith(f"for example {'x' * 40}...")


def test_what_counts_no_rows_is_said_as_it_is_in_the_report():
    said = "expect_column_mean_to_be_between(wind_speed, 0, 20) fails: observed 31.5"
    assert sentence(element_count=None, unexpected_count=None, sentence=said) == said


def test_what_could_not_be_checked_nobody_accepts():
    (failure,) = failures(record(exception="KeyError: 'x'", sentence="it could not be checked: KeyError: 'x'"))
    assert (failure.may_be_accepted, failure.sentence) == (
        False,
        "it could not be checked: KeyError: 'x', which nobody can accept",
    )


@pytest.mark.parametrize(("consequence", "fails"), [("blocks", 1), ("accepted", 1), ("warns", 0), ("passed", 0)])
def test_what_was_accepted_is_a_failure_still(consequence, fails):
    assert len(failures(record(consequence=consequence))) == fails
    volume = VolumeRecord(
        scored=1, median=2, windows=3, least=1, most=3, severity="critical", consequence=consequence, sentence="few"
    )
    assert len(gate.volume_failures(volume)) == fails
    assert gate.suite_failures(None, ()) == gate.volume_failures(None) == []


def test_the_command_can_be_typed_as_it_stands():
    command = gate.accepting("late --as-of 2013-07-28", [NAME, "quarantine_share", "it's(x)"])
    import shlex

    assert shlex.split(command)[5:] == [
        "--accept",
        NAME,
        "--accept",
        "quarantine_share",
        "--accept",
        "it's(x)",
        "--reason",
        "why",
    ]
