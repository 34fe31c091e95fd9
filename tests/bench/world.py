"""The flights of 2013 as monitors see them: `python -m tests.bench.world FOLDER` makes them, by Lamplighter's own demo.

flights.parquet: every scheduled flight, its features, `as_of` (its window, a day), `late` (null: it never arrived) and
`score`: January to June each month by a model of the five others, July to December by one of the six. injected.parquet:
the same of some days of July into which a shift was put, scored again, by `scene`.
"""

import os
import pathlib
import shutil
import subprocess
import sys

FIRST, FROM, LAST = "2013-01-01", "2013-07-01", "2013-12-31"
SHIFTED_FROM, SHIFTED_TO = "2013-07-08", "2013-07-21"
SCENES = (
    ("mean shift", "distance"),
    ("mean shift", "temp"),
    ("units changed", "visib"),
    ("category gone", "carrier"),
    ("values missing", "plane_seats"),
)
JOB = "flight_delays"
ROOT = pathlib.Path(__file__).parents[2]


def make(folder: pathlib.Path) -> None:
    """The demo's warehouse and model, then the two files. What stands already is kept."""
    if not (folder / "lake" / "models").exists():
        _load_demo(folder)
    if not (folder / "injected.parquet").exists():
        _write_flights(folder)


def _load_demo(folder: pathlib.Path) -> None:
    for name in ("deployments", "expectations"):
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
    # What is usual of the past is worked out by the monitors here.
    yaml = folder / "deployments" / "jobs" / f"{JOB}.yaml"
    yaml.write_text(yaml.read_text().replace("\ntraining:\n", "\ntraining:\n  folds: 0\n"))
    command = [str(pathlib.Path(sys.executable).with_name("lamplighter")), "demo", "--load"]
    places = {"PREFECT_HOME": str(folder / ".prefect"), "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=folder, env=os.environ | places, check=True)


def _write_flights(folder: pathlib.Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.core.definitions.modelling import WindowRange
    from tasks.core.definitions.project import Project
    from tasks.core.models.model import input_frame
    from tasks.core.models.registering.training_data import window_rows
    from tasks.core.monitoring.injections import injections
    from tasks.core.profiles.profile import reference_profile
    from tasks.core.storage import Folder
    from tasks.demo import late_arrival_model
    from tasks.train import inputs_of

    project = Folder(str(folder))
    definition = Project(project).load(JOB)
    rows = window_rows(definition, project, WindowRange(first=FIRST, last=LAST), lambda *_: None, lambda _: None)
    inputs = inputs_of(definition.job, definition.job.training)
    flights = rows.table.select([*inputs.names, "late"]).append_column("as_of", pa.array(rows.windows, pa.string()))
    as_of, truth = flights["as_of"].to_numpy(), flights["late"].to_numpy(zero_copy_only=False)
    is_known, is_past = np.array([one is not None for one in truth]), as_of < FROM
    months = np.array([one[:7] for one in as_of])

    def fitted(chosen):
        frame = input_frame(flights.filter(pa.array(chosen & is_known)), inputs)
        return late_arrival_model().fit(frame, truth[chosen & is_known].astype(bool))

    def scored(model, table):
        return model.predict_proba(input_frame(table, inputs))[:, 1]

    scores = np.empty(len(flights))
    for month in np.unique(months[is_past]):
        held_out = months == month
        scores[held_out] = scored(fitted(is_past & ~held_out), flights.filter(pa.array(held_out)))
    production = fitted(is_past)
    scores[~is_past] = scored(production, flights.filter(pa.array(~is_past)))
    pq.write_table(flights.append_column("score", pa.array(scores)), folder / "flights.parquet")

    reference = reference_profile(flights.filter(pa.array(is_past)).select(inputs.names))
    shifted = flights.filter(pa.array((as_of >= SHIFTED_FROM) & (as_of <= SHIFTED_TO)))
    found = []
    for one in injections(reference, inputs.names):
        if (one.kind, one.column) in SCENES:
            table = one.apply(shifted)
            table = table.append_column("score", pa.array(scored(production, table)))
            found.append(table.append_column("scene", pa.repeat(f"{one.kind}: {one.column} ({one.size})", len(table))))
    pq.write_table(pa.concat_tables(found), folder / "injected.parquet")


if __name__ == "__main__":
    make(pathlib.Path(sys.argv[1]).resolve())
