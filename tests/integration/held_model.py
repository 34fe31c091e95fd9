"""A model of a project's own, that waits or ends its process while a file beside its log says so. Its x is the row's number."""

import os
import pathlib
import signal
import time

import numpy as np


class Held:
    """The odds of row x are x / (1 + x). Each batch that it is given is logged: its first row, and the process."""

    def __init__(self, folder):
        self.folder = str(folder)

    def fit(self, rows, target):
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, rows):
        folder, numbers = pathlib.Path(self.folder), rows["x"].to_numpy()
        # The probe rows' x is negative.
        if len(numbers) and numbers[0] >= 0:
            with (folder / "log").open("a") as log:
                log.write(f"{int(numbers[0])} {os.getpid()}\n")
            while (folder / "hold").exists() and int((folder / "hold").read_text() or numbers[0]) in numbers:
                time.sleep(0.02)
            if (folder / "deadly").exists() and int((folder / "deadly").read_text()) in numbers:
                os.kill(os.getpid(), signal.SIGKILL)
        odds = np.abs(numbers) / (1 + np.abs(numbers))
        return np.column_stack([1 - odds, odds])
