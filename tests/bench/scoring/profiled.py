"""Where the CPU time of a run goes, by samples of all its processes (py-spy): a table, and its stacks, folded.

Of each sample counts the innermost frame of Lamplighter's own, so what a library does is its caller's.
"""

import collections
import pathlib
import re
import subprocess
import sys
import tempfile

from tests.bench import report
from tests.bench.scoring import ours
from tests.bench.scoring.world import DAY, LAMPLIGHTER, job_of

RATE = 50
_OWN = re.compile(r"^(.*) \(.*?((?:tasks|flows)/[\w/]+)\.py(?::\d+)?\)$")
_MOST = 25
# Whoever waits is seen as busy now and then.
_WAITS = re.compile(r"^(wait|_worker|heartbeat_loop|.*\.(wait|select|heartbeat_loop)) \(")


def run(folder: pathlib.Path, environment: dict, model: str, rows: int, *, compiled: bool = False) -> report.Part:
    title = f"CPU time by what spends it: {job_of(model, compiled=compiled)}, {rows:,} rows"
    spy = pathlib.Path(sys.executable).with_name("py-spy")
    if not spy.exists():
        return report.Part(title, [], ["py-spy is not installed."])
    job = job_of(model, compiled=compiled)
    with ours.a_lake(folder) as lake, tempfile.TemporaryDirectory() as scratch:
        given = environment | ours.places(folder, rows, lake)
        stacks = _record(spy, pathlib.Path(scratch, "stacks"), job, given)
    if not stacks.strip():
        return report.Part(title, [], ["py-spy could not read the processes: it needs the right to trace them."])
    report.RESULTS.mkdir(exist_ok=True)
    (report.RESULTS / f"{job}.folded").write_text(stacks)
    spent = fold(stacks)
    total = sum(spent.values())
    found = [(where, f"{count / RATE:.1f}", f"{count / total:.1%}") for where, count in spent.most_common(_MOST)]
    lines = report.table(("where", "CPU s", "share"), [*found, ("all", f"{total / RATE:.1f}", "")])
    return report.Part(title, [], [*lines, "", f"The stacks, folded, for any flame graph: results/{job}.folded"])


def _record(spy: pathlib.Path, out: pathlib.Path, job: str, environment: dict) -> str:
    command = [str(spy), "record", "--subprocesses", "--format", "raw", "--rate", str(RATE), "--output", str(out), "--"]
    command += [sys.executable, LAMPLIGHTER, "score", job, "--as-of", DAY, "--json"]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return out.read_text() if out.exists() else ""


def fold(stacks: str) -> collections.Counter:
    """Samples by the innermost own frame: `tasks/score: score_shard`."""
    spent = collections.Counter()
    for line in stacks.splitlines():
        frames, _, count = line.rpartition(" ")
        stack = frames.split(";")
        if not _WAITS.match(stack[-1]):
            spent[_own(stack)] += int(count)
    return spent


def _own(frames: list[str]) -> str:
    for frame in reversed(frames):
        if found := _OWN.match(frame):
            return f"{found[2]}: {found[1]}"
    if any("importlib" in frame for frame in frames):
        return "imports of others"
    return "outside Lamplighter: Prefect, and the interpreter's start and end"
