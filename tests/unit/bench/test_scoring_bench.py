"""The arithmetic of the scoring bench, and the rows that it makes."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bench import report
from tests.bench.scoring import contest, profiled, scale, world


def said(seconds, rows=100, **told):
    told = {"rows": rows, "scored": rows, "mean": 0.5, "verdict": "published", "stages": {"score": 1.0}} | told
    return {"counted_s": seconds, "wall_s": seconds, "cpu_s": 2 * seconds, "peak_mb": 10 * seconds, "said": told}


def asked(**given):
    return contest.Asked(None, {}, "boosted", 100, ("bare", contest.OURS, "naive", "mlflow"), 1, 900, **given)


def test_ratios_are_ours_over_theirs_and_of_fewer_rows_brought_to_as_many():
    found = {
        "bare": contest.Found(100, [said(8.0)], []),
        contest.OURS: contest.Found(100, [said(10.0)], []),
        contest.COMPILED: contest.Found(100, [said(6.0)], []),
        "naive": contest.Found(100, [said(20.0)], []),
        "mlflow": contest.Found(25, [said(5.0, 25)], ["too much for it"]),
        "ray": contest.Found(25, [], ["never finished"]),
    }
    figures = {one.name: one for one in contest.figures(asked(), found)}
    assert figures["score_wall_vs_bare_boosted"].ratio == pytest.approx(1.25)
    assert figures["score_wall_vs_bare_boosted_compiled"].ratio == pytest.approx(0.75)
    assert figures["score_wall_vs_naive_boosted"].ratio == pytest.approx(0.5)
    assert figures["score_wall_vs_mlflow_boosted"].ratio == pytest.approx(10 / 20)
    assert figures["peak_mb"] == report.Figure("peak_mb", 100.0, "MB", 200.0, 0.5)
    assert not [name for name in figures if "ray" in name]


def test_the_median_run_counts():
    found = contest.Found(100, [said(3.0), said(1.0), said(2.0)], [])
    assert found.median("counted_s") == 2.0


@pytest.mark.parametrize(
    ("ours", "naive", "complaint"),
    [
        ({}, {}, None),
        ({"verdict": "blocked"}, {}, "blocked"),
        ({"rows": 99}, {}, "99 rows of 100"),
        ({"scored": 98}, {"scored": 99}, "98 rows"),
        ({"mean": 0.25}, {}, "mean 0.25"),
    ],
)
def test_who_does_other_work_is_told_of(ours, naive, complaint):
    found = {
        contest.OURS: contest.Found(100, [said(1.0, **ours)], []),
        "naive": contest.Found(100, [said(1.0, **naive)], []),
    }
    told = contest.part(asked(), found).lines
    complaints = [line for line in told if "NOT THE SAME WORK" in line]
    assert bool(complaints) == (complaint is not None)
    assert complaint is None or complaint in complaints[0]


def test_one_that_fails_is_tried_with_fewer_rows(monkeypatch):
    def run(_, name, rows):
        return said(1.0, rows) if rows <= 250_000 else {"failed": "Traceback\nMemoryError"}

    monkeypatch.setattr(contest, "_run", run)
    wanted = contest.Asked(None, {}, "boosted", 1_000_000, ("naive",), 2, 900)
    found = contest.hold(wanted)["naive"]
    assert (found.rows, len(found.runs)) == (250_000, 2)
    assert found.failures == [f"{contest.WHAT['naive']}, boosted, 1,000,000 rows: MemoryError"]


def test_contenders_take_turns_and_every_other_round_goes_backwards(monkeypatch):
    turns = []
    monkeypatch.setattr(contest, "_run", lambda _, name, rows: turns.append(name) or said(1.0))
    contest.hold(contest.Asked(None, {}, "boosted", 100, ("bare", contest.OURS, "naive"), 2, 900))
    assert turns == ["bare", contest.OURS, "naive", "naive", contest.OURS, "bare"]


def test_the_fit_of_a_line_is_the_line():
    fixed, each, r2 = scale.fit([1, 2, 5, 10], [5, 7, 13, 23])
    assert (fixed, each, r2) == (pytest.approx(3), pytest.approx(2), pytest.approx(1))
    assert scale.fit([1, 2, 3, 4], [1, 4, 9, 16])[2] == pytest.approx(1 - 4 / 129)


def test_a_sample_counts_for_the_innermost_frame_of_ours():
    stacks = (
        "main (flows/score.py:1);outer (tasks/score.py:2);inner (tasks/shards/scoring.py:3);predict (sklearn/pipeline.py:4) 7\n"
        "main (flows/score.py:1);load (tasks/load.py:9) 2\n"
        "main (flows/score.py:1);Condition.wait (threading.py:331) 100\n"
        "spawn (multiprocessing/spawn.py:1) 3\n"
    )
    spent = profiled.fold(stacks)
    assert spent["tasks/shards/scoring: inner"] == 7
    assert spent["tasks/load: load"] == 2
    assert sum(spent.values()) == 12


@pytest.fixture
def flights():
    count = 1_000
    number = np.arange(count)
    whole = ("flight", "weekday", "departure_minute", "distance", "scheduled_minutes", "plane_year", "plane_seats")
    other = ("temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib", "arr_delay")
    columns = {
        "flight_date": pa.array(np.full(count, "2013-01-01", "datetime64[D]")),
        "carrier": pa.array(["UA", "B6"] * 500),
        "origin": pa.array(["JFK"] * count),
        "dest": pa.array(["BOS"] * count),
        "scheduled_departure": pa.array(number, pa.timestamp("us", "UTC")),
        **{name: pa.array(number + 100, mask=number % 10 == 0) for name in whole},
        **{name: pa.array(number / 7, mask=number % 5 == 0) for name in other},
        "late": pa.array(number % 3 == 0),
    }
    return pa.table(columns)


def test_rows_have_keys_of_their_own_lie_in_the_window_and_are_the_same_each_time(flights, tmp_path):
    for name in ("one", "two"):
        world.write_rows(flights, tmp_path / name, 20_000)
    rows = pq.read_table(tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert len(set(rows["flight"].to_pylist())) == len(rows) == 20_000
    at = rows["scheduled_departure"].to_pandas()
    assert at.min() >= np.datetime64("2013-07-01T04:00").astype("datetime64[us]").astype(object).replace(
        tzinfo=at[0].tzinfo
    )
    assert (at.max() - at.min()).total_seconds() < 86_400
    assert 0 < rows["wind_speed"].to_pandas().gt(150).sum() < 40
    assert rows["temp"].null_count == pytest.approx(4_000, abs=300)
    assert not {"late", "arr_delay"} & set(rows.column_names)


def test_five_days_have_as_many_rows_each(flights, tmp_path):
    world.write_rows(flights, tmp_path / "rows", 5_000, days=5)
    dates = pq.read_table(tmp_path / "rows")["flight_date"].to_pandas().value_counts()
    assert dates.tolist() == [1_000] * 5


def test_figures_measured_alone_take_the_place_of_those_of_the_same_name(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    report.write([report.Part("One", [report.Figure("kept", 1, "s"), report.Figure("again", 2, "s")], ["text"])])
    report.add(report.Part("Two", [report.Figure.against("again", 3, "s", 6)], ["other text"]), "two")
    found = {one["name"]: one for one in __import__("json").loads((tmp_path / "latest.json").read_text())}
    assert found["kept"]["value"] == 1
    assert found["again"] == {"name": "again", "value": 3, "unit": "s", "versus": 6, "ratio": 0.5}
    assert "scikit-learn" in (tmp_path / "latest.md").read_text()
