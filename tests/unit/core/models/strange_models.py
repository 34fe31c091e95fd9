"""Models that do what no model should, in whichever process they are scored."""

import ctypes
import os
import signal
import subprocess
import sys
import time

import numpy as np

TYPE = f"{__name__}.Strange"


class Strange:
    """Doubles x, after it has done what its name says."""

    def __init__(self, what="", told=""):
        self.what = what
        self.told = told

    def predict(self, frame):
        getattr(self, f"do_{self.what or 'nothing'}")()
        return frame["x"].to_numpy() * 2

    def do_nothing(self):
        pass

    def do_print(self):
        print("noise " * 200_000)
        os.write(1, b"more noise, past Python\n" * 10_000)
        subprocess.run([sys.executable, "-c", "print('noise of a child')"], check=True)

    def do_read(self):
        assert sys.stdin.read() == ""
        assert os.read(0, 10) == b""

    def do_raise(self):
        raise ValueError(f"cannot\nscore {'x' * 10_000}")

    def do_run_out_of_memory(self):
        raise MemoryError("all gone")

    def do_exit(self):
        print("these are my last words", file=sys.stderr)
        os._exit(7)

    def do_end_the_program(self):
        sys.exit(3)

    def do_die(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def do_crash(self):
        ctypes.string_at(0)

    def do_hang(self):
        self._tell()
        time.sleep(600)

    def do_hold_the_interpreter(self):
        ctypes.PyDLL(None).sleep(600)

    def do_leave_a_child(self):
        """It dies, and a child of it lives on with the pipes that it was born with."""
        if pid := os.fork():
            self._tell(pid)
            os._exit(5)
        time.sleep(600)

    def do_hang_with_a_child(self):
        self._tell(subprocess.Popen(["sleep", "600"]).pid)
        time.sleep(600)

    def do_die_once(self):
        if not os.path.exists(self.told):
            self._tell()
            os.kill(os.getpid(), signal.SIGKILL)

    def do_tell_threads(self):
        self._tell(",".join(f"{name}={os.environ.get(name)}" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")))

    def _tell(self, what=""):
        with open(self.told, "w") as file:
            file.write(f"{os.getpid()} {what}")


class Missing:
    """How many values of a row are missing."""

    def predict(self, frame):
        return frame.isna().sum(axis=1).to_numpy()


class Everything:
    """Says what the frame is that it was given: the types of its columns, and a number made of all its values."""

    def predict(self, frame):
        return np.array(
            [f"{list(frame.dtypes.astype(str))} {list(frame.columns)} {row}" for row in frame.astype(str).sum(axis=1)]
        )
