"""Stages that overlap: the same items in the same order, whoever is slower, and nothing left behind."""

import contextlib
import threading

import pytest

from tasks.core.ahead import ahead


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "ahead"]


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_every_item_comes_once_and_in_order(count):
    assert list(ahead(iter(range(count)))) == list(range(count))
    assert not threads()


def test_two_behind_each_other():
    doubled = ahead(2 * item for item in ahead(range(50)))
    assert list(doubled) == list(range(0, 100, 2))


def test_the_next_is_made_while_the_one_before_is_worked_on():
    is_made = threading.Event()

    def items():
        yield 1
        is_made.set()
        yield 2

    with contextlib.closing(ahead(items())) as found:
        assert next(found) == 1
        assert is_made.wait(10)


def test_no_more_is_made_than_may_wait():
    made = []

    def items():
        for item in range(100):
            made.append(item)
            yield item

    with contextlib.closing(ahead(items(), most=2)) as found:
        next(found)
        # One is taken, two wait, and one is in the maker's hands.
        assert len(made) <= 4


def test_what_the_making_raises_is_raised_in_its_place():
    def items():
        yield 1
        raise ValueError("mine")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="mine"):
        next(found)
    assert not threads()


def test_who_takes_no_more_ends_the_making_and_closes_its_source():
    is_closed = threading.Event()

    def items():
        try:
            while True:
                yield 1
        finally:
            is_closed.set()

    def interrupted():
        with contextlib.closing(ahead(items())) as found:
            for _ in found:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert is_closed.is_set()
    assert not threads()
