"""A verdict: what failed, what no force overcomes, and what the history keeps."""

import datetime as dt
import json

import pytest

from tasks.core.models.gate.verdict import Check, Verdict

PASSED = Check(check="metric", what="roc_auc", outcome="passed", sentence="Fine.", production=0.7, candidate=0.71234567)
FAILED = Check(check="slice", what="origin = LGA", outcome="failed", sentence="LGA fell.", rows=8157, limit=-0.02)
SCHEMA = Check(check="schema", outcome="failed", sentence="late: 'x' is missing.")
UNKNOWN = Check(check="held out", outcome="not judged", sentence="Nobody knows.")


def verdict(*checks, **changes):
    values = {"model": "late", "version": 2, "alias": "production", "production": 1}
    return Verdict(judged_at=dt.datetime(2013, 8, 1, tzinfo=dt.UTC), checks=checks, **values | changes)


@pytest.mark.parametrize(
    ("checks", "failed", "never_forced", "words"),
    [
        ((PASSED, UNKNOWN), [], [], "passes"),
        ((PASSED, FAILED), [FAILED], [], "does not pass"),
        ((SCHEMA, FAILED), [SCHEMA, FAILED], [SCHEMA], "does not pass"),
    ],
)
def test_what_failed_and_what_no_force_overcomes(checks, failed, never_forced, words):
    found = verdict(*checks)
    assert (list(found.failed), list(found.never_forced), found.words) == (failed, never_forced, words)


def test_one_sentence():
    assert str(verdict(PASSED, FAILED, UNKNOWN)) == (
        "version 2 of late does not pass the gate to production, held against version 1: 3 checks, 1 failed, 1 not judged"
    )
    assert str(verdict(PASSED, production=None)).endswith("held against no version: 1 checks, all passed")


def test_the_next_command_is_complete():
    found = verdict(FAILED, alias="challenger", job="flights")
    command = 'lamplighter promote late --version 2 --alias challenger --job flights --force --reason "why"'
    assert found.next_step.endswith(command)
    assert "--force" not in verdict(SCHEMA).next_step


def test_the_history_keeps_every_figure_and_a_sentence_where_one_did_not_simply_pass():
    evidence = verdict(PASSED, FAILED, job="flights", rows=10, windows=2, first="a", last="b").evidence()
    assert json.loads(json.dumps(evidence, allow_nan=False)) == evidence
    assert (evidence["rows"], evidence["windows"], evidence["first"], evidence["job"]) == (10, 2, "a", "flights")
    assert evidence["checks"] == [
        {"check": "metric", "what": "roc_auc", "outcome": "passed", "production": 0.7, "candidate": 0.712346},
        {
            "check": "slice",
            "what": "origin = LGA",
            "outcome": "failed",
            "sentence": "LGA fell.",
            "rows": 8157,
            "limit": -0.02,
        },
    ]


def test_artifacts_have_a_key_that_prefect_takes():
    assert verdict(PASSED, model="late_flights").key == "promote-late-flights-2"
