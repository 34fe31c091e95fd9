"""Readers that hammer a table in processes of their own, with nothing of ours imported, while it is changed."""

import contextlib
import multiprocessing
import time
import traceback
from collections import Counter

processes = multiprocessing.get_context("spawn")


def may_be_tried_again(error):
    """An error of a file that is gone: by its type, or by what the tool says where it has a type of its own."""
    return isinstance(error, OSError) or any(
        said in str(error) for said in ("No such file", "No files found", "os error 2")
    )


class Hammering:
    """Each of `reads` in a process, which reads `root` until it is told to stop, and has `judge` look at what it read.

    `judge(found, told)` gives the names of what was seen, or a sentence about what should not be; `told` is what `tell`
    had said when the read began. `retried(error)` says whether a reader may try again.
    """

    def __init__(self, reads, root, judge, *, longest_seconds, retried=may_be_tried_again):
        self._stop, self._results, self._told = processes.Event(), processes.Queue(), processes.Value("l", 0)
        self._done = [processes.Value("l", 0) for _ in reads]
        self._deadline = time.monotonic() + longest_seconds
        self._started = [
            processes.Process(
                target=_hammer,
                args=(read, root, judge, retried, self._told, count, self._stop, self._results),
                daemon=True,
            )
            for read, count in zip(reads, self._done, strict=True)
        ]

    @contextlib.contextmanager
    def at_work(self):
        for one in self._started:
            one.start()
        try:
            yield self
        finally:
            self._stop.set()

    @property
    def counts(self):
        return [count.value for count in self._done]

    def tell(self, number):
        self._told.value = number

    def wait_for_a_read(self, how_many=any):
        """Somebody (or, with `all`, everybody) has read, or had time to: what is replaced at once is seen by nobody.

        Whether all have read at least once.
        """
        assert time.monotonic() < self._deadline, self.counts
        assert all(one.is_alive() for one in self._started)
        before, deadline = self.counts, time.monotonic() + 0.05
        while time.monotonic() < deadline:
            if how_many(now != was for now, was in zip(self.counts, before, strict=True)):
                break
            time.sleep(0.001)
        return min(self.counts) > 0

    def results(self):
        """By reader: what it has seen and how often, once it is shown that nothing was wrong and that all have ended."""
        found = [self._results.get(timeout=30) for _ in self._started]
        for name, seen, errors, wrong in found:
            print(f"{name}: {dict(seen)}, errors: {dict(errors)}")
            assert wrong == [], f"{name}: {wrong[:3]}"
        for one in self._started:
            one.join(30)
            assert one.exitcode == 0
        return {name: seen for name, seen, _, _ in found}


def _hammer(read, root, judge, retried, told, done, stop, results):
    seen, errors, wrong = Counter(), Counter(), []
    while not stop.is_set():
        before = told.value
        try:
            found = dict(read(root))
        except Exception as error:
            errors[type(error).__name__] += 1
            if not retried(error):
                wrong.append(traceback.format_exc())
        else:
            names, complaint = judge(found, before)
            seen.update(names)
            wrong += [complaint] if complaint else []
            with done.get_lock():
                done.value += 1
    results.put((read.__name__, seen, errors, wrong))
