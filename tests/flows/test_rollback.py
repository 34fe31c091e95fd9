"""The flow and the command `rollback`: back along the history, at once, and what the other version wrote."""

import json
import shlex
import time

import pandas as pd
import pytest

from flows.rollback import rollback
from tasks.core.models.registry import Registry
from tests.flows.conftest import DAY, add_wrong_version


def aliases(world):
    return Registry(world.lake).aliases("readings")


def rolled_back(**options):
    return rollback("readings", "it is worse", **options, return_state=True)


def test_each_rollback_goes_one_further_back(world):
    add_wrong_version(world)
    add_wrong_version(world)
    assert aliases(world) == {"production": 3}

    assert rolled_back().result().now == 2
    assert rolled_back().result().now == 1
    state = rolled_back()

    assert state.name == "Failed"
    assert "there is none to go back to" in state.message
    assert aliases(world) == {"production": 1}
    assert [one.reason for one in Registry(world.lake).history("readings")][-2:] == ["it is worse"] * 2


def test_it_lists_what_readers_see_of_the_version_that_it_left_and_changes_none_of_it(world):
    add_wrong_version(world)
    world.score()
    before = world.partition_bytes()

    moved = rolled_back().result()

    assert [(one.job, one.as_of, one.rows) for one in moved.windows] == [("readings", DAY, 200)]
    assert moved.recall_command == 'lamplighter recall readings --version 2 --reason "it is worse"'
    assert world.partition_bytes() == before


def test_it_works_when_the_alias_names_nothing_any_more(world):
    add_wrong_version(world)
    Registry(world.lake).recall("readings", 2, at=pd.Timestamp.now("UTC"), actor="ann", reason="it was wrong")

    moved = rolled_back().result()

    assert (moved.left, moved.now, moved.windows, moved.recall_command) == (None, 1, (), None)
    assert aliases(world) == {"production": 1}


def test_another_alias_has_its_own_history(world):
    add_wrong_version(world)
    for version in (2, 1):
        Registry(world.lake).set_alias(
            "readings", "challenger", version, at=pd.Timestamp.now("UTC"), actor="ann", reason="why not"
        )

    assert rolled_back(alias="challenger").result().now == 2
    assert aliases(world) == {"challenger": 2, "production": 2}


def test_the_change_itself_takes_milliseconds(world):
    from tasks.core.models.rollback import move_back

    add_wrong_version(world)
    started = time.perf_counter()
    move_back(Registry(world.lake), "readings", "production", reason="fast", at=pd.Timestamp.now("UTC"), by="ann")
    seconds = time.perf_counter() - started

    print(f"the alias moved in {seconds * 1000:.1f} ms")
    assert seconds < 1  # Of a machine that does six other things at once.


@pytest.mark.parametrize("reason", ["it is worse", 'what they call "better"', "costs $HOME `twice` \\ over"])
def test_the_command_prints_the_recall_that_can_be_typed(world, lamplighter, reason):
    add_wrong_version(world)
    world.score()

    code, out, _ = lamplighter("rollback", "readings", "--reason", reason)

    assert code == 0
    assert "production of readings is version 1 again" in out
    assert "Readers still see what version 2 has written" in out
    (line,) = [line for line in out.splitlines() if "withdraw it: " in line]
    typed = shlex.split(line.partition("withdraw it: ")[2])
    assert typed == ["lamplighter", "recall", "readings", "--version", "2", "--reason", reason]
    assert lamplighter(*typed[1:])[0] == 0
    assert world.published() is None


def test_the_command_as_json(world, lamplighter):
    add_wrong_version(world)

    code, out, _ = lamplighter("rollback", "readings", "--reason", "it is worse", "--json")

    said = json.loads(out)
    assert (code, said["left"], said["now"], said["windows"]) == (0, 2, 1, [])
    assert said["recall_command"].startswith("lamplighter recall readings --version 2")
    assert "version 2 followed" in (world.folder / "lake/reports/_models/readings/index.html").read_text()


def test_no_such_model(world, lamplighter):
    code, _, error = lamplighter("rollback", "reading", "--reason", "it is worse")
    assert (code, "there is no model 'reading'" in error) == (2, True)
