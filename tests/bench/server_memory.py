"""What the server and the worker of `lamplighter up` hold after many runs: `python -m tests.bench.server_memory --runs 200`."""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import pandas as pd

from tests.flows.conftest import make_project, readings
from tests.integration.up_tools import Up, a_free_port

FIRST = pd.Timestamp("2023-01-01")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="How many windows are scored.")
    parser.add_argument("--by-worker", type=int, default=40, help="How many of these by the worker, a process each.")
    given = parser.parse_args()
    days = [(FIRST + pd.Timedelta(days=number)).strftime("%Y-%m-%d") for number in range(given.runs)]
    with tempfile.TemporaryDirectory() as folder:
        world = make_project(pathlib.Path(folder) / "project")
        for day in days:
            world.write_rows(readings(50, day), f"{day}.parquet")
        up = Up(world.folder, port=a_free_port())
        try:
            measure(up.wait_ready(600), world, days[: given.by_worker], days[given.by_worker :])
        finally:
            up.clear_away()


def measure(up, world, by_worker, in_process):
    """Prints the memory of both at the start, after the worker's runs, and after the others."""
    tell(up, "at the start", 0)
    began = time.monotonic()
    for run in [up.start_run("score/readings", as_of=day) for day in by_worker]:
        assert up.ended(run, seconds=3600)["name"] == "Published"
    tell(up, f"after {len(by_worker)} runs by the worker", time.monotonic() - began)
    code = f"from flows.score import score\nfor day in {in_process}: score('readings', day)"
    places = {"LAMPLIGHTER_PROJECT": str(world.folder), "LAMPLIGHTER_LAKE": str(world.folder / "lake")}
    environment = up.environment | places | {"PREFECT_API_URL": up.url}
    for _ in range(2 if in_process else 0):
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
        tell(up, f"after {len(in_process)} more", time.monotonic() - began)


def tell(up, when, seconds):
    held = {name: rss_mb(up.processes(f"{name} start")) for name in ("server", "worker")}
    print(f"{when:32} {seconds:6.0f} s   server {held['server']:4.0f} MB   worker {held['worker']:4.0f} MB", flush=True)


def rss_mb(pids):
    found = [re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text()) for pid in pids]
    return sum(int(one[1]) for one in found if one) / 1024


if __name__ == "__main__":
    main()
