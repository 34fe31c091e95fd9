"""A model that waits, or dies, at the row that a file beside it names. Its x is the row's number."""

import os
import pathlib
import signal
import time

import numpy as np

TYPE = f"{__name__}.Told"


class Told:
    """The odds of row x are x / (1 + x). What it does, and which process scored from which row on, is in its folder."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.classes_ = np.array([0, 1])

    def fit(self, rows, target):
        return self

    def __setstate__(self, state):
        self.__dict__.update(state)

    def predict_proba(self, rows):
        numbers = rows["x"].to_numpy()
        # The probe rows' x is negative: nothing happens to these.
        if len(numbers) and numbers[0] >= 0:
            self._obey(int(numbers[0]), len(numbers))
        odds = np.abs(numbers) / (1 + np.abs(numbers))
        return np.column_stack([1 - odds, odds])

    def _obey(self, first, count):
        folder = pathlib.Path(self.folder)
        with (folder / "log").open("a") as log:
            log.write(f"{first} {os.getpid()}\n")
        what, _, row = (folder / "what").read_text().partition(" ")
        while what == "wait" and first >= int(row) and (folder / "what").read_text() == f"wait {row}":
            time.sleep(0.1)
        # Of many rows at once, and of none alone: no row is to blame.
        if what == "die" and first >= int(row) and count > 1:
            os.kill(os.getpid(), signal.SIGKILL)
