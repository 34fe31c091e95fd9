"""What a command costs with all that it starts: wall and CPU seconds, and the peak memory of its process tree.

    python -m tests.bench.measuring [--limit 900] -- COMMAND...      prints one line of JSON, its last

A process whose parent has ended becomes a child of this one (PR_SET_CHILD_SUBREAPER), so none is missed, and the kernel's
own account of what was waited for is the CPU time. Memory is proportional (PSS): shared pages count once. It is costly
to read, so it is read when the cheap sum of resident sizes is at a new high, and every other second: a core's 20th part at most.
"""

import contextlib
import ctypes
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time

_SUBREAPER = 36
_LOOK_SECONDS, _TREE_SECONDS, _PSS_SECONDS = 0.05, 0.2, 2.0
# Reading PSS may take one part in so many of a core.
_DEAREST = 20
_PAGE_MB = resource.getpagesize() / 2**20
_LAST_WORDS = 2000


def measured(command: list[str], *, limit: float = 900, environment: dict | None = None, cwd=None) -> dict:
    """The figures, under `said` the JSON in the last line of its output; `failed` says why where there is none."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.bench.measuring", "--limit", str(limit), "--", *command],
        env=environment,
        cwd=cwd,
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    lines = process.stdout.splitlines()
    return json.loads(lines[-1]) if process.returncode == 0 and lines else {"failed": f"exit {process.returncode}"}


def said_and_peak(command: list[str]) -> tuple[dict, float]:
    """What the command prints as JSON in its last line, {} where it failed, and the peak in MB."""
    found = measured(command)
    return found.get("said") or {}, found.get("peak_mb", float("nan"))


def measure(command: list[str], limit: float) -> dict:
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        peak, in_time = _watch(process, began + limit)
        wall = time.perf_counter() - began
        _end_tree()
        out.seek(0), err.seek(0)
        printed, complained = out.read(), err.read()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {"wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "peak_mb": peak}
    if not in_time:
        return found | {"failed": f"did not finish in {limit:g} s"}
    if process.returncode:
        return found | {"failed": f"exit {process.returncode}: {(complained or printed).strip()[-_LAST_WORDS:]}"}
    return found | {"said": _last_json(printed)}


def _watch(process: subprocess.Popen, end: float) -> tuple[float, bool]:
    """Until it ends, or its time does: the peak in MB, and whether it was in time."""
    peak = high = cost = 0.0
    listed = read = -_PSS_SECONDS
    pids: list[int] = []
    while process.poll() is None:
        now = time.perf_counter()
        if now > end:
            return peak, False
        if now - listed > _TREE_SECONDS:
            pids, listed = tree(os.getpid()), now
        resident = sum(map(_resident_mb, pids))
        if now - read > (_PSS_SECONDS if resident <= high else _DEAREST * cost):
            peak, read = max(peak, sum(map(_pss_mb, pids))), time.perf_counter()
            high, cost = max(high, resident), read - now
        time.sleep(_LOOK_SECONDS)
    return peak, True


def tree(root: int) -> list[int]:
    """All that stem from it, and not itself. From one look at every process: a look at every thread would cost more."""
    born: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        # After the name, in which anything may stand: state, parent.
        after = _read(f"/proc/{name}/stat").rpartition(")")[2].split()
        if after:
            born.setdefault(int(after[1]), []).append(int(name))
    found, todo = [], [root]
    while todo:
        children = born.get(todo.pop(), [])
        found += children
        todo += children
    return found


def _resident_mb(pid: int) -> float:
    parts = _read(f"/proc/{pid}/statm").split()
    return int(parts[1]) * _PAGE_MB if parts else 0.0


def _pss_mb(pid: int) -> float:
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _read(path: str) -> str:
    """What a file of /proc says; nothing of a process that has gone."""
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""


def _end_tree() -> None:
    """Ends what the command left behind, and waits for it: so its CPU time counts."""
    for kind, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        for pid in tree(os.getpid()):
            _signal(pid, kind)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            time.sleep(0.05)


def _signal(pid: int, kind: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, kind)


def _last_json(printed: str) -> dict:
    for line in reversed(printed.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}


def main() -> None:
    limit, command = 900.0, sys.argv[1:]
    if command[0] == "--limit":
        limit, command = float(command[1]), command[2:]
    print(json.dumps(measure(command[command[0] == "--" :], limit)))


if __name__ == "__main__":
    main()
