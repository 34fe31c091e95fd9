"""Labelled rows: each is met by its own label, in intervals and in snapshots where the same keys come back."""

import sqlite3

import pytest
import yaml

from tasks.core.definitions.modelling import WindowRange
from tasks.core.definitions.project import Project
from tasks.core.errors import SourceError
from tasks.core.models.registering.training_data import labelled_rows
from tasks.core.storage import Folder

WEEK = WindowRange(first="2024-05-01", last="2024-05-03")


def a_project(folder, **changes):
    """A job on a SQLite file of three days, on each of which patients a and b have a figure x, and come to y = x + 0.5."""
    job = {
        "job": "patients",
        "window": {"kind": "snapshot", "every": "1d"},
        "source": {
            "type": "sql",
            "driver": "sqlite",
            "uri": "patients.sqlite",
            "query": "SELECT patient, at, x FROM figures WHERE date(at) = date(:as_of)",
        },
        "keys": ["patient"],
        "columns": {"patient": "string", "at": "timestamp", "x": "float64"},
        "model": {"name": "patients"},
        "output": {"columns": {"p": {"method": "predict"}}},
        "labels": {
            "query": "SELECT patient, y FROM figures WHERE date(at) = date(:as_of)",
            "target": "y",
            "type": "float64",
        },
    }
    (folder / "deployments/jobs").mkdir(parents=True)
    (folder / "deployments/jobs/patients.yaml").write_text(yaml.safe_dump(job | changes))
    with sqlite3.connect(folder / "patients.sqlite") as database:
        database.execute("CREATE TABLE figures (patient, at, x, y)")
        rows = [
            (f"{name}{day if 'event_time' in changes else ''}", f"2024-05-0{day} 12:00:00", 10.0 * day + shift)
            for day in (1, 2, 3)
            for name, shift in (("b", 2), ("a", 1))
        ]
        database.executemany("INSERT INTO figures VALUES (?, ?, ?, ?)", [(*row, row[2] + 0.5) for row in rows])
        database.execute("UPDATE figures SET y = NULL WHERE x = 22")
    database.close()
    return Folder(folder)


def read(folder, windows=WEEK):
    seen = []
    found = labelled_rows(
        Project(folder).load("patients"), folder, windows, str, lambda labels: seen.append(len(labels))
    )
    return found, seen


def test_of_snapshots_each_row_meets_the_label_of_its_own_window(tmp_path):
    found, seen = read(a_project(tmp_path))

    assert found.table["patient"].to_pylist() == ["a", "b", "a", "a", "b"]
    assert found.table["x"].to_pylist() == [11, 12, 21, 31, 32]
    assert found.truth.tolist() == [11.5, 12.5, 21.5, 31.5, 32.5]
    assert found.windows.tolist() == ["2024-05-01"] * 2 + ["2024-05-02"] + ["2024-05-03"] * 2
    assert (found.without_label, seen) == (1, [6])


def test_of_intervals_a_row_s_time_says_its_window(tmp_path):
    intervals = {"window": {"kind": "interval", "every": "1d"}, "event_time": "at"}
    folder = a_project(
        tmp_path,
        **intervals,
        source={
            "type": "sql",
            "driver": "sqlite",
            "uri": "patients.sqlite",
            "query": "SELECT patient, at, x FROM figures WHERE at >= :start AND at < :end",
        },
        labels={
            "query": "SELECT patient, y FROM figures WHERE at >= :start AND at < :end",
            "target": "y",
            "type": "float64",
        },
    )

    found, _ = read(folder)

    assert found.table["patient"].to_pylist() == ["a1", "a2", "a3", "b1", "b3"]
    assert found.windows.tolist() == [f"2024-05-0{day}" for day in (1, 2, 3, 1, 3)]
    assert (found.truth - found.table["x"].to_numpy()).tolist() == [0.5] * 5


@pytest.mark.parametrize("kind", ["interval", "snapshot"])
def test_each_window_is_read_as_it_was_known_at_its_own_tick(tmp_path, kind):
    """The second day's tick comes at 02:30 of the third: what is ingested later is not learnt from, though it is there."""
    folder = a_project(
        tmp_path,
        window={"kind": kind, "every": "1d"},
        event_time="at" if kind == "interval" else None,
        schedule={"cron": "30 2 * * *"},
        source={
            "type": "sql",
            "driver": "sqlite",
            "uri": "patients.sqlite",
            "query": "SELECT patient, at, (SELECT c.x FROM corrections c WHERE c.patient = f.patient "
            "AND c.ingested_at <= :known_at ORDER BY c.ingested_at DESC LIMIT 1) AS x FROM figures f "
            "WHERE date(at) = date(:as_of)",
        },
    )
    night = {"interval": "2024-05-03", "snapshot": "2024-05-02"}[kind]
    with sqlite3.connect(tmp_path / "patients.sqlite") as database:
        database.execute("CREATE TABLE corrections (patient, ingested_at, x)")
        names = [name for (name,) in database.execute("SELECT DISTINCT patient FROM figures")]
        database.executemany(
            "INSERT INTO corrections VALUES (?, '2024-04-01 00:00:00', 0)", [(name,) for name in names]
        )
        second = [name for name in names if not name.endswith(("1", "3"))]
        for at, x in ((f"{night} 02:30:00", 1), (f"{night} 02:30:01", 2)):
            database.executemany("INSERT INTO corrections VALUES (?, ?, ?)", [(name, at, x) for name in second])
    database.close()

    found, _ = read(folder, WindowRange(first="2024-05-01", last="2024-05-02"))

    # Of the second day b's label is missing.
    known = dict(zip(found.windows.tolist(), found.table["x"].to_pylist(), strict=True))
    assert len(found.table) == 3
    assert known == {"2024-05-01": 0, "2024-05-02": 1}


def test_rows_and_labels_that_share_no_key(tmp_path):
    labels = {"query": "SELECT patient || 'x' AS patient, y FROM figures", "target": "y", "type": "float64"}
    with pytest.raises(SourceError, match=r"6 rows and 15 labels share no key"):
        read(a_project(tmp_path, labels=labels))
