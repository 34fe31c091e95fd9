"""Progress: whoever listens hears how far each stage of each run is, shards that tell at once included."""

import threading

import pytest

from tasks.core import progress


@pytest.fixture
def heard():
    """What a listener is told while the test runs."""
    told = []
    with progress.listening(lambda *what: told.append(what)):
        yield told
    progress.forget("late")


def test_rows_add_up_by_run_and_stage(heard):
    progress.advance("late", "pull", 5, None)
    progress.advance("late", "pull", 3, None)
    progress.advance("late", "score", 2, 8)
    progress.advance("other", "score", 1, 8)
    progress.end("late", "pull")
    assert heard == [
        ("late", "pull", 5, None),
        ("late", "pull", 8, None),
        ("late", "score", 2, 8),
        ("other", "score", 1, 8),
        ("late", "pull", 8, 8),
    ]
    progress.forget("other")


def test_a_stage_that_is_done_again_begins_at_nought(heard):
    progress.advance("late", "score", 5, 8)
    progress.end("late", "score")
    progress.advance("late", "score", 1, 8)
    # The run failed in the middle of the stage, and is run again.
    progress.forget("late")
    progress.advance("late", "score", 1, 8)
    assert [done for _, _, done, _ in heard] == [5, 5, 1, 1]


def test_nothing_is_lost_when_shards_tell_at_once(heard):
    def shard():
        for _ in range(200):
            progress.advance("late", "score", 1, 1000)

    shards = [threading.Thread(target=shard) for _ in range(5)]
    for one in shards:
        one.start()
    for one in shards:
        one.join()
    assert max(done for _, _, done, _ in heard) == 1000


def test_nobody_listens_any_more(heard):
    with pytest.raises(ValueError, match="mine"), progress.listening(lambda *_: heard.append("second")):
        raise ValueError("mine")
    progress.advance("late", "score", 1, 2)
    assert heard == [("late", "score", 1, 2)]
