"""A model that does to its process, and to what it is asked, whatever a file beside it says. Its x is the row's number."""

import ctypes
import os
import pathlib
import resource
import signal
import time

import numpy as np

TYPE = f"{__name__}.Hostile"


class Hostile:
    """The odds of row x are x / (1 + x); `classes` is the order of its columns."""

    def __init__(self, folder, classes=(0, 1)):
        self.folder = str(folder)
        self.classes_ = np.array(classes)

    def fit(self, rows, target):
        return self

    def __setstate__(self, state):
        self.__dict__.update(state)
        if _told(self.folder) == "load":
            raise RuntimeError("it will not be loaded")

    def predict_proba(self, rows):
        numbers = rows["x"].to_numpy()
        odds = np.abs(numbers) / (1 + np.abs(numbers))
        # The probe rows' x is negative: nothing happens to these.
        if len(numbers) and numbers[0] >= 0:
            with (pathlib.Path(self.folder) / "log").open("a") as log:
                log.write(f"{len(numbers)} {os.getpid()}\n")
            odds = self._spoiled(_told(self.folder), odds, numbers)
        if odds.ndim > 1:
            return odds
        return np.column_stack([odds if label else 1 - odds for label in self.classes_])

    def _spoiled(self, what, odds, numbers):
        ends = {
            "sigkill": lambda: os.kill(os.getpid(), signal.SIGKILL),
            "kill the run": lambda: os.kill(os.getppid(), signal.SIGKILL),
            "exit": lambda: os._exit(0),
            "segfault": lambda: ctypes.string_at(0),
            "hang": lambda: time.sleep(600),
            "memory": take_all_memory,
            "disk": fill_the_disk,
        }
        ends.get(what, int)()
        if what == "raise" or (what == "raise-some" and (numbers % 50 == 7).any()):
            raise ValueError("not these rows")
        spoiled = {"nan": np.where(numbers == 5, np.nan, odds), "shape": np.ones((len(numbers), 3))}
        return spoiled.get(what, odds)


def take_all_memory():
    """As much as a process may have, and more."""
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, resource.RLIM_INFINITY))
    np.ones((1 << 34, 2))


def fill_the_disk():
    """No file may grow from here on: what is written next fails as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))


def _told(folder):
    path = pathlib.Path(folder) / "what"
    return path.read_text() if path.exists() else ""
