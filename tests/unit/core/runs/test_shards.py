"""Each batch of a shard: what is done about a child that dies, and in whose name an error is told."""

from types import SimpleNamespace

import pytest

from tasks.core.errors import ChildDied, LakeFull, WorkerError
from tasks.core.runs import shards
from tasks.core.runs.shards import each_batch, naming, twice, workers_of

WHAT = "validate of batch 2 of 3 (rows 10 to 19) of late 2013-07-01"


def run(takes_over=False, **limits):
    given = SimpleNamespace(workers=2, batch_timeout_seconds=60, isolate="auto")
    return SimpleNamespace(
        name="late 2013-07-01",
        job=SimpleNamespace(limits=SimpleNamespace(**vars(given) | limits)),
        takes_over=takes_over,
    )


class Dies:
    """Stands for workers whose children die so many times."""

    def __init__(self, times):
        self.times, self.calls = times, 0

    def call(self, what, function, *args):
        self.calls += 1
        if self.calls <= self.times:
            raise ChildDied(f"the process that worked on {what} died")
        return function(*args)


def test_a_child_that_dies_once_is_followed_by_another(caplog):
    workers = Dies(1)
    assert twice(workers, WHAT, lambda batch: 2 * batch, 21) == 42
    assert workers.calls == 2
    assert f"The process that worked on {WHAT} died (unknown); it is tried once more" in caplog.text


def test_one_that_dies_twice_is_not_tried_again():
    workers = Dies(9)
    with pytest.raises(ChildDied, match=WHAT.replace("(", r"\(").replace(")", r"\)")):
        twice(workers, WHAT, int, 1)
    assert workers.calls == 2


@pytest.mark.parametrize("error", [WorkerError("it did not end within 9 s"), ValueError("mine"), LakeFull("no space")])
def test_nothing_else_is_tried_again(error):
    workers = Dies(0)

    def fail(_):
        raise error

    with pytest.raises(type(error)):
        twice(workers, WHAT, fail, 1)
    assert workers.calls == 1


def test_whatever_is_wrong_with_a_process_or_its_memory_names_the_batch():
    with pytest.raises(WorkerError) as failed, naming(WHAT):
        raise WorkerError("the interpreter other did not answer", state="all is kept", next_step="wait")
    assert failed.value.failed == f"{WHAT}: the interpreter other did not answer"
    with pytest.raises(WorkerError) as failed, naming(WHAT):
        raise WorkerError(f"{WHAT} did not end")
    assert failed.value.failed == f"{WHAT} did not end"
    with pytest.raises(WorkerError, match="ran out of memory: Unable to allocate") as failed, naming(WHAT):
        raise MemoryError("Unable to allocate 1. TiB")
    assert failed.value.failed.startswith(WHAT)
    assert "lower limits.batch_rows" in failed.value.next_step
    with pytest.raises(ValueError, match=r"^mine$"), naming(WHAT):
        raise ValueError("mine")


@pytest.mark.parametrize(
    ("given", "apart", "batches", "count"),
    [
        (run(), False, 1, 0),
        (run(), True, 1, 1),
        (run(takes_over=True), False, 1, 1),
        (run(isolate="always"), False, 1, 1),
        (run(), False, 5, 2),
        (run(takes_over=True), True, 5, 2),
    ],
)
def test_who_works_on_a_window(given, apart, batches, count):
    assert workers_of(given, batches, apart=apart).count == count


def test_the_way_that_a_stage_knows_is_taken(monkeypatch):
    monkeypatch.setattr(shards, "batch_bounds", lambda record, batch: (10 * batch, 10 * batch + 10))
    asked = []

    def surely(workers, what, function, *args):
        asked.append((workers.count, what, args))
        return function(*args)

    done = each_batch(
        run(),
        "score",
        SimpleNamespace(batches=3, rows=30),
        (0, 2),
        lambda task, batch: (task, batch),
        "t",
        surely=surely,
    )
    assert done.results == (("t", 0), ("t", 2))
    assert [what for _, what, _ in asked] == [
        "score of batch 1 of 3 (rows 0 to 9) of late 2013-07-01",
        "score of batch 3 of 3 (rows 20 to 29) of late 2013-07-01",
    ]
