"""Three monitors side by side on the same days of the flights: alarms, delays, CPU seconds, peak memory.

    python -m tests.bench.monitoring [--folder FOLDER] [--every 9]

Lamplighter runs in this environment, Evidently and NannyML in theirs (`make peers`). A tool's days of alarms are joined
to episodes: one ends when a whole week was quiet. Evidently takes seconds a day, so it looks at every ninth.
"""

import argparse
import datetime as dt
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from tests.bench.measuring import said_and_peak
from tests.bench.report import RESULTS, ROOT
from tests.bench.world import SHIFTED_FROM, SHIFTED_TO

PEERS = ROOT / ".venv-peers" / "bin" / "python"
QUIET = 7
COLLAPSE = "2013-09-01"
# They would call home.
SILENT = {"NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.monitoring")
    parser.add_argument("--folder", type=pathlib.Path, help="Where the flights are kept, to be made once.")
    parser.add_argument("--every", type=int, default=9, help="Of Evidently: every so many days.")
    given = parser.parse_args()
    os.environ.update(SILENT)
    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.folder or pathlib.Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "tests.bench.world", str(folder)], cwd=ROOT, check=True)
        tell({tool: both(tool, folder, given.every) for tool in tools()})


def tools() -> dict[str, str]:
    """By tool the Python that runs it; the peers' only where their environment is set up."""
    peers = {"nannyml": str(PEERS), "evidently": str(PEERS)}
    return {"lamplighter": sys.executable} | (peers if PEERS.exists() else {})


def both(tool: str, folder: pathlib.Path, every: int) -> dict:
    """The autumn, which is timed, and all other scenes."""
    days = [str(every)] if tool == "evidently" else []
    command = [tools()[tool], "-m", "tests.bench.monitors", tool, str(folder)]
    bare = said_and_peak([tools()[tool], "-c", "import time; time.sleep(0.3); print('{}')"])[1]
    autumn, peak = said_and_peak([*command, "autumn", *days])
    others, _ = said_and_peak([*command, "others", *days])
    if not autumn or not others:
        sys.exit(f"{tool} did not run to its end: {' '.join(command)}")
    kept = {key: autumn[key] | others[key] for key in ("days", "scenes")}
    return {"cpu_s": autumn["cpu_s"], "peak_mb": peak - bare} | kept


def episodes(days: list[str], looked_at: list[str]) -> list[list[str]]:
    """First and last day of each: days of alarms with at most QUIET days, or none that was looked at, between are one."""
    found: list[list[str]] = []
    place = {day: number for number, day in enumerate(looked_at)}
    for day in sorted(days):
        if found and (_apart(found[-1][1], day) <= QUIET or place[day] - place[found[-1][1]] == 1):
            found[-1][1] = day
        else:
            found.append([day, day])
    return found


def judged(said: dict) -> list[dict]:
    """One row a monitor: what it did while nothing had changed, in the autumn, and after each shift."""
    return [_judged(said, monitor) for monitor in said["scenes"]["autumn"]]


def _judged(said: dict, monitor: str) -> dict:
    days, autumn = said["days"], said["scenes"]["autumn"][monitor]
    quiet = [name for name in days if name.startswith("held out")]
    false = [day for name in quiet for day in said["scenes"][name][monitor]]
    looked_at = sum(len(days[name]) for name in quiet)
    onsets = [first for first, _ in episodes(autumn, days["autumn"])]
    return {
        "monitor": monitor,
        "false_days_pct": 100 * len(false) / looked_at,
        "false_episodes": sum(len(episodes(said["scenes"][name][monitor], days[name])) for name in quiet),
        "autumn_days_pct": 100 * len(autumn) / len(days["autumn"]),
        "autumn_episodes": len(onsets),
        "rings_anyway": _rings_anyway(autumn, days["autumn"]),
        "collapse": next((first for first in onsets if first >= COLLAPSE), None),
        "shifts": {
            name: _delay(said["scenes"][name][monitor], autumn)
            for name in days
            if name != "autumn" and name not in quiet
        },
    }


def _rings_anyway(alarms: list[str], looked_at: list[str]) -> bool:
    """Whether it is on for most of the days into which shifts are put, also without them."""
    days = [day for day in looked_at if SHIFTED_FROM <= day <= SHIFTED_TO]
    return len(set(days) & set(alarms)) > len(days) / 2


def _delay(shifted: list[str], untouched: list[str]) -> int | None:
    """Days from the first that is shifted to an alarm that there is not without the shift, both included."""
    first = min((day for day in set(shifted) - set(untouched) if day >= SHIFTED_FROM), default=None)
    return None if first is None else _apart(SHIFTED_FROM, first) + 1


def _apart(one: str, other: str) -> int:
    return (dt.date.fromisoformat(other) - dt.date.fromisoformat(one)).days


def tell(found: dict) -> None:
    """Prints the table, and keeps it with every day of alarm."""
    lines = [
        f"January to June held out by month, July to December, five shifts from {SHIFTED_FROM} on; load {os.getloadavg()[0]:.1f}",
        "",
        "| | days of alarm while nothing changed | episodes of these | days of alarm July to December | episodes | begins after the collapse of September | shifts found, median days |",
        "|---|---|---|---|---|---|---|",
    ]
    for tool, said in found.items():
        lines += [_line(tool, one) for one in judged(said)]
    lines += [
        "",
        "| | days looked at | CPU ms a day | against Lamplighter | peak MB above a bare interpreter |",
        "|---|---|---|---|---|",
    ]
    each = {tool: said["cpu_s"] / len(said["days"]["autumn"]) for tool, said in found.items()}
    for tool, said in found.items():
        ratio = each[tool] / each["lamplighter"]
        lines.append(
            f"| {tool} | {len(said['days']['autumn'])} | {1000 * each[tool]:.0f} | {ratio:.1f}x | {said['peak_mb']:.0f} |"
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "monitoring.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "monitoring.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _line(tool: str, one: dict) -> str:
    delays = sorted(delay for delay in one["shifts"].values() if delay is not None)
    found = f"{len(delays)} of {len(one['shifts'])}" + (f", {delays[len(delays) // 2]}" if delays else "")
    found = "rings anyway" if one["rings_anyway"] else found
    cells = [f"{tool}: {one['monitor']}", f"{one['false_days_pct']:.0f} %", one["false_episodes"]]
    cells += [f"{one['autumn_days_pct']:.0f} %", one["autumn_episodes"], one["collapse"] or "no new one", found]
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main()
