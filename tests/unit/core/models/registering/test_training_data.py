"""Labelled rows: each is met by its own label, in intervals and in snapshots where the same keys come back."""

import sqlite3
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml

from tasks.core.definitions.modelling import WindowRange
from tasks.core.definitions.project import Project
from tasks.core.errors import DefinitionError, SourceError
from tasks.core.models.registering import training_data
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
    query = "SELECT patient || 'x' AS patient, y FROM figures WHERE date(at) = date(:as_of)"
    labels = {"query": query, "target": "y", "type": "float64"}
    with pytest.raises(SourceError, match=r"6 rows and 5 labels share no key"):
        read(a_project(tmp_path, labels=labels))


# --- What a key names


SPAN = WindowRange(first="2026-03-01", last="2026-03-03")
INTERVAL = "at >= :start AND at < :end"


def hourly(folder, keys=("hour",), features="SELECT hour, at, x FROM figures", labels=None, **changes):
    """A job whose key is the hour of the day: of each of three days 24 rows, which come to y = 2x. Its rows and their labels."""
    job = {
        "job": "hours",
        "window": {"kind": "interval", "every": "1d"},
        "event_time": "at",
        "source": {
            "type": "sql",
            "driver": "sqlite",
            "uri": "hours.sqlite",
            "query": f"{features} WHERE {INTERVAL}",
        },
        "keys": list(keys),
        "columns": {"hour": "int64", "at": "timestamp", "x": "float64"},
        "model": {"name": "hours"},
        "output": {"columns": {"p": {"method": "predict"}}},
        "labels": {
            "query": labels or f"SELECT {', '.join(keys)}, y FROM figures WHERE {INTERVAL}",
            "target": "y",
            "type": "float64",
        },
    }
    (folder / "deployments/jobs").mkdir(parents=True)
    (folder / "deployments/jobs/hours.yaml").write_text(yaml.safe_dump(job | changes))
    with sqlite3.connect(folder / "hours.sqlite") as database:
        database.execute("CREATE TABLE figures (hour, at, x, y)")
        rows = [(n % 24, f"2026-03-{1 + n // 24:02d} {n % 24:02d}:00:00", n, 2 * n) for n in range(3 * 24)]
        database.executemany("INSERT INTO figures VALUES (?, ?, ?, ?)", rows)
        database.execute("CREATE TABLE more AS SELECT * FROM figures")
    database.close()
    project = Folder(folder)
    return labelled_rows(Project(project).load("hours"), project, SPAN, str, lambda labels: None)


@pytest.mark.parametrize("keys", [("hour",), ("hour", "at")])
def test_a_key_that_comes_back_in_the_next_window_meets_the_label_of_its_own(tmp_path, keys):
    found = hourly(tmp_path, keys)

    assert (len(found.table), found.without_label) == (72, 0)
    assert sorted(found.table["x"].to_pylist()) == list(range(72))
    assert (found.truth == 2 * found.table["x"].to_numpy()).all()
    assert [label for label, _ in found.spans] == ["2026-03-01", "2026-03-02", "2026-03-03"]


def test_what_a_query_groups_is_grouped_in_each_window(tmp_path):
    found = hourly(
        tmp_path,
        features="SELECT 0 AS hour, min(at) AS at, count(*) AS x FROM figures",
        labels=f"SELECT 0 AS hour, count(*) AS y FROM figures WHERE {INTERVAL}",
    )
    assert (found.table["x"].to_pylist(), found.truth.tolist()) == ([24.0] * 3, [24.0] * 3)


def test_labels_of_a_query_without_binds_are_read_once_and_are_every_window_s(tmp_path):
    found = hourly(tmp_path, labels="SELECT hour, 1.0 * hour AS y FROM figures")
    assert found.truth.tolist() == [hour for hour in range(24) for _ in range(3)]


def test_a_key_with_labels_that_differ_is_named(tmp_path):
    with pytest.raises(DefinitionError, match=r"hour = 5 has labels that differ: which 'y' of it is true"):
        hourly(tmp_path, labels=f"SELECT hour, y FROM figures WHERE {INTERVAL} UNION SELECT 5, 99.0")


def test_rows_that_are_there_twice_count_once_as_they_are_scored_once(tmp_path):
    both = f"SELECT hour, y FROM figures WHERE {INTERVAL} UNION ALL SELECT hour, y FROM more WHERE {INTERVAL}"
    features = f"SELECT hour, at, x FROM figures WHERE {INTERVAL} UNION ALL SELECT hour, at, x FROM more"
    found = hourly(tmp_path, features=features, labels=both)
    assert (len(found.table), found.without_label) == (72, 0)


@pytest.mark.parametrize(("share", "refused"), [(0.01, True), (0.1, False)])
def test_rows_that_share_a_key_and_differ_are_left_out_up_to_the_share_of_scoring(tmp_path, share, refused):
    more = "SELECT hour, at, -1 FROM more WHERE at = '2026-03-02 07:00:00'"
    changes = {
        "features": f"SELECT * FROM (SELECT hour, at, x FROM figures UNION ALL {more})",
        "limits": {"quarantine_share": share},
    }
    if refused:
        with pytest.raises(
            DefinitionError, match=r"2 of 73 rows of hours share their key .* such as hour = 7; scoring"
        ):
            hourly(tmp_path, **changes)
        return
    found = hourly(tmp_path, **changes)
    assert (len(found.table), 31 in found.table["x"].to_pylist()) == (71, False)


def test_a_column_of_lists_is_no_hindrance(tmp_path):
    schema = pa.schema([("k", pa.int64()), ("l", pa.list_(pa.float64()))])
    job = SimpleNamespace(keys=("k",))
    labels = SimpleNamespace(target="y")
    features = pa.table({"k": [2, 1], "l": [[1.0], None]}, schema=schema)

    found = training_data._joined(job, labels, features, pa.table({"k": [1, 2, 3], "y": [True, False, True]}))

    assert found.to_pylist() == [{"k": 1, "l": None, "y": True}, {"k": 2, "l": [1.0], "y": False}]


def test_a_target_among_the_columns_is_refused(tmp_path):
    with pytest.raises(DefinitionError, match=r"labels.target: 'y' is among columns too"):
        hourly(tmp_path, columns={"hour": "int64", "at": "timestamp", "x": "float64", "y": "float64"})


# --- Of one window


def test_a_window_is_read_by_itself_and_a_key_has_one_label_or_none(tmp_path):
    hourly(tmp_path)
    folder = Folder(tmp_path)
    job = Project(folder).load("hours").job
    query = (
        f"SELECT hour, CASE WHEN hour < 2 THEN y END AS y FROM figures WHERE {INTERVAL} AND hour < 3 "
        "UNION ALL SELECT 1, 7 UNION ALL SELECT 2, NULL UNION ALL SELECT 2, NULL UNION ALL SELECT NULL, 3"
    )
    schema = training_data.label_schema(job, job.labels)

    found = training_data.read_window(job, folder, query, schema, job.window.parse("2026-03-02"), str)

    assert sorted(found["hour"].to_pylist(), key=str) == [0, 1, 1, 2, 2, 2, None]
    without_the_first = found.filter(pc.not_equal(found["y"].fill_null(-1), 50.0))
    one = training_data.one_label(job, job.labels, without_the_first)
    assert sorted(one.to_pylist(), key=str) == [
        {"hour": 0, "y": 48.0},
        {"hour": 1, "y": 7.0},
        {"hour": 2, "y": None},
    ]
    with pytest.raises(DefinitionError, match=r"hour = 1 has labels that differ"):
        training_data.one_label(job, job.labels, found)


def test_all_rows_of_a_window_are_kept_with_null_where_no_label_came(tmp_path):
    folder = a_project(tmp_path)

    found = training_data.window_rows(Project(folder).load("patients"), folder, WEEK, str, lambda labels: None)

    assert found.windows.tolist() == [day for day in ("2024-05-01", "2024-05-02", "2024-05-03") for _ in range(2)]
    assert found.table["y"].to_pylist() == [11.5, 12.5, 21.5, None, 31.5, 32.5]
