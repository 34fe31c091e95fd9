"""Reigns: how long an alias named a version, and what ended it."""

import datetime as dt

from tasks.core.models.model_events import aliases_in, evidence_in_words, reigns
from tasks.core.models.model_version import Event


def events(*changes):
    """Each change a day after the one before: ('production', 2), ('recall', 2), ('drop', 'challenger')."""
    found = []
    for sequence, (what, which) in enumerate(changes, start=1):
        parts = {"action": "set_alias", "alias": what, "version": which}
        if what == "recall":
            parts = {"action": "recall", "version": which}
        if what == "drop":
            parts = {"action": "drop_alias", "alias": which}
        at = dt.datetime(2024, 1, sequence, tzinfo=dt.UTC)
        found.append(Event(sequence=sequence, at=at, actor="ann", reason="r", evidence={}, **parts))
    return found


def told(found):
    return [
        (one.alias, one.version, one.since.day, one.until.day if one.until else None, one.ended and one.ended.action)
        for one in reigns(found)
    ]


def test_nothing_happened():
    assert reigns([]) == []


def test_one_version_follows_another_and_the_first_comes_back():
    found = events(("production", 1), ("production", 2), ("challenger", 3), ("production", 1))
    assert told(found) == [
        ("production", 1, 4, None, None),
        ("challenger", 3, 3, None, None),
        ("production", 2, 2, 4, "set_alias"),
        ("production", 1, 1, 2, "set_alias"),
    ]


def test_a_recall_ends_the_reign_of_every_alias_of_that_version_and_of_no_other():
    found = events(("production", 1), ("challenger", 2), ("canary", 2), ("recall", 2))
    assert told(found) == [
        ("canary", 2, 3, 4, "recall"),
        ("challenger", 2, 2, 4, "recall"),
        ("production", 1, 1, None, None),
    ]


def test_an_alias_that_is_taken_away_names_nothing():
    found = events(("challenger", 2), ("drop", "challenger"))
    assert told(found) == [("challenger", 2, 1, 2, "drop_alias")]


def test_the_reigns_that_last_are_the_aliases_of_now():
    found = events(("production", 1), ("challenger", 2), ("production", 2), ("recall", 2), ("production", 3))
    assert {one.alias: one.version for one in reigns(found) if one.ended is None} == aliases_in(found)


def test_the_evidence_of_a_change_in_words():
    checks = [{"outcome": "passed"}, {"outcome": "passed"}, {"outcome": "failed"}, {"outcome": "not judged"}]
    (gate,) = events(("production", 2))
    judged = gate.model_copy(update={"evidence": {"verdict": {"checks": checks}}})
    assert evidence_in_words(judged) == "2 passed, 1 failed, 1 not judged"
    assert evidence_in_words(gate.model_copy(update={"evidence": {"rolled_back_from": 3}})) == "back from version 3"
    assert evidence_in_words(gate) == ""
    assert evidence_in_words(gate.model_copy(update={"evidence": {"verdict": "yes", "checks": 7}})) == ""
