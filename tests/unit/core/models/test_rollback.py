"""Which version an alias goes back to: its history read as a stack."""

import datetime as dt

import pytest

from tasks.core.errors import DefinitionError, ModelNotFound
from tasks.core.models.model_events import ROLLED_BACK_FROM, aliases_in
from tasks.core.models.model_version import Event
from tasks.core.models.registry import Registry
from tasks.core.models.rollback import move_back, version_before
from tasks.core.storage import Lake
from tests.unit.core.models.test_registry import promote, register

NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)


def told(story: str, alias: str = "production") -> list[Event]:
    """Events from words: `2` promotes version 2, `-` takes the alias away, `!2` recalls version 2, `<` rolls back."""
    events: list[Event] = []
    for word in story.split():
        common = {"sequence": len(events) + 1, "at": NOON, "actor": "ann", "reason": "so"}
        if word == "<":
            back = version_before(events, alias)
            assert back is not None, story
            evidence = {ROLLED_BACK_FROM: aliases_in(events).get(alias)}
            events.append(Event(**common, action="set_alias", alias=alias, version=back, evidence=evidence))
        elif word == "-":
            events.append(Event(**common, action="drop_alias", alias=alias))
        elif word.startswith("!"):
            events.append(Event(**common, action="recall", version=int(word[1:])))
        else:
            events.append(Event(**common, action="set_alias", alias=alias, version=int(word)))
    return events


@pytest.mark.parametrize(
    ("story", "back"),
    [
        ("1", None),
        ("1 2", 1),
        ("1 2 3 <", 1),  # 3, then 2, then 1, and not back and forth.
        ("1 2 3 < <", None),
        ("1 2 3 < < 4", 1),
        ("1 2 3 < < 4 <", None),
        ("1 2 3 < 4", 2),
        ("1 2 3 < 4 < <", None),
        ("1 2 1", 2),
        ("1 2 1 <", 1),
        ("1 2 1 < <", None),
        ("1 2 2", 1),
        ("1 2 !2", 1),
        ("1 2 !2 <", None),
        ("1 2 3 !2", 1),
        ("1 2 3 !3 < ", 1),
        ("1 2 3 < !2", 1),
        ("1 !1", None),
        ("1 2 !1", None),
        ("1 2 -", 2),
        ("1 2 - <", 1),
        ("", None),
    ],
)
def test_the_version_before(story, back):
    assert version_before(told(story), "production") == back


def test_each_alias_has_a_history_of_its_own():
    events = told("1 2") + told("3 4", "challenger")
    assert (version_before(events, "production"), version_before(events, "challenger")) == (1, 3)
    assert version_before(events, "other") is None


def test_a_run_that_is_begun_again_does_not_go_further_back(tmp_path):
    """Killed after the alias had moved, a run is run again under its own id; another one goes one further back."""
    registry = Registry(Lake(tmp_path / "lake"))
    for version in (1, 2, 3):
        register(registry)
        promote(registry, version)

    def back(run):
        left, event = move_back(registry, "late", "production", reason="it is worse", at=NOON, by="ann", run=run)
        return left, event.version, event.sequence

    assert back("first") == (3, 2, 4)
    assert back("first") == (3, 2, 4)
    assert back("second") == (2, 1, 5)
    promote(registry, 3)
    assert back("second") == (3, 1, 7)  # 2 was left behind for good: the history is a stack.


def test_where_there_is_nothing_to_go_back_to_nothing_is_moved(tmp_path):
    registry = Registry(Lake(tmp_path / "lake"))
    register(registry)

    def back():
        return move_back(registry, "late", "production", reason="it is worse", at=NOON, by="ann")

    with pytest.raises(DefinitionError, match="production of late has named no version that is not recalled"):
        back()
    promote(registry, 1)
    with pytest.raises(DefinitionError, match="named no version but 1 that is not recalled, so there is none"):
        back()
    assert registry.aliases("late") == {"production": 1}


def test_a_model_that_is_not_there_goes_nowhere(tmp_path):
    with pytest.raises(ModelNotFound, match="no model 'late'"):
        move_back(Registry(Lake(tmp_path / "lake")), "late", "production", reason="worse", at=NOON, by="ann")
