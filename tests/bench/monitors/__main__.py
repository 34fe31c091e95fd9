"""One tool on some scenes: `python -m tests.bench.monitors lamplighter|nannyml|evidently FOLDER autumn|others [EVERY]`.

A scene is a reference and the days that are held against it; of a tool that looks at each day by itself, every so many
days may be enough. The last line is JSON: CPU and wall seconds of the work without imports, by scene the days that were
looked at, and by scene and monitor those of alarms.
"""

import importlib
import json
import pathlib
import resource
import sys
import time
import warnings

import pandas as pd

FROM, SHIFTED_FROM = "2013-07-01", "2013-07-08"
NOT_FEATURES = ("as_of", "late", "score", "scene")


def scenes(folder, which):
    """Name, reference and current rows of each."""
    flights = pd.read_parquet(folder / "flights.parquet")
    past = flights[flights["as_of"] < FROM]
    if which == "autumn":
        yield "autumn", past, flights[flights["as_of"] >= FROM]
        return
    months = past["as_of"].str[:7]
    for month in sorted(months.unique()):
        yield f"held out {month}", past[months != month], past[months == month]
    begin = flights[(flights["as_of"] >= FROM) & (flights["as_of"] < SHIFTED_FROM)]
    for scene, shifted in pd.read_parquet(folder / "injected.parquet").groupby("scene"):
        yield scene, past, pd.concat([begin, shifted.drop(columns="scene")], ignore_index=True)


def main():
    tool, folder, which = sys.argv[1:4]
    every = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    warnings.filterwarnings("ignore")
    monitor = importlib.import_module(f"tests.bench.monitors.{tool}").monitor
    found, looked_at, cpu, wall = {}, {}, 0.0, 0.0
    for name, reference, current in scenes(pathlib.Path(folder), which):
        days = looked_at[name] = sorted(current["as_of"].unique())[every // 2 :: every]
        seen = current[current["as_of"].isin(days)]
        features = [column for column in reference.columns if column not in NOT_FEATURES]
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        found[name] = monitor(reference.reset_index(drop=True), seen.reset_index(drop=True), features)
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        wall += time.perf_counter() - began
        print(name, f"{cpu:.1f} s", file=sys.stderr, flush=True)
    print(json.dumps({"cpu_s": cpu, "wall_s": wall, "days": looked_at, "scenes": found}))


if __name__ == "__main__":
    main()
