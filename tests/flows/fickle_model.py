"""A model that ends its process, or never ends, while a file beside its log says so. Its x is the row's number."""

import os
import pathlib
import signal
import time

import numpy as np

TYPE = f"{__name__}.Fickle"


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
        for what in ("sigkill", "exit", "hang", "slow"):
            if not (folder / what).exists() or int((folder / what).read_text()) not in numbers.astype(int):
                continue
            if what == "sigkill":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "exit":
                os._exit(0)
            time.sleep(600 if what == "hang" else 5)
