"""Models that end their process, or never end, while a file beside their log says so. Their x is the row's number."""

import ctypes
import os
import pathlib
import signal
import time

import numpy as np

TYPE, BAD_START = f"{__name__}.Fickle", f"{__name__}.BadStart"


class Fickle:
    """The odds of row x are x / (1 + x)."""

    def __init__(self, folder):
        self.folder = str(folder)

    def fit(self, rows, target):
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, rows):
        folder, numbers = pathlib.Path(self.folder), rows["x"].to_numpy()
        # A scored batch is logged by its first row; the probe rows' x is negative.
        if len(numbers) and numbers[0] >= 0:
            with (folder / "log").open("a") as log:
                log.write(f"{int(numbers[0])} {os.getpid()}\n")
            self._act(folder, numbers)
        odds = np.abs(numbers) / (1 + np.abs(numbers))
        return np.column_stack([1 - odds, odds])

    def _act(self, folder, numbers):
        for what in ("sigkill", "segfault", "exit", "memory", "hang", "slow", "many"):
            if not (folder / what).exists() or int((folder / what).read_text()) not in numbers.astype(int):
                continue
            if what == "sigkill":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "segfault":
                ctypes.string_at(0)
            if what == "exit":
                os._exit(0)
            if what == "memory":
                raise MemoryError("Unable to allocate 1. TiB")
            if what == "many":
                # No row is to blame: they are too many.
                os.kill(os.getpid(), signal.SIGKILL if len(numbers) > 1 else 0)
                continue
            time.sleep(600 if what == "hang" else 5)


class BadStart:
    """It was registered, and cannot be loaded any more: it ends the process, or never ends."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.classes_ = np.array([0, 1])

    def fit(self, rows, target):
        return self

    def __setstate__(self, state):
        self.__dict__.update(state)
        told = pathlib.Path(self.folder) / "what"
        what = told.read_text() if told.exists() else ""
        (pathlib.Path(self.folder) / "log").write_text(f"-1 {os.getpid()}\n")
        if what == "segfault":
            ctypes.string_at(0)
        while what == "hang":
            pass

    def predict_proba(self, rows):
        return np.full((len(rows), 2), 0.5)
