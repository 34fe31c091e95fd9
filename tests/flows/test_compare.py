"""The command `compare`: the window's rows beside the output of an old script, in whatever form that left them."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from flows.score import score
from tasks.compare import Asked, compare
from tests.flows.conftest import DAY, make_project, open_world, readings


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project of which one window is published. These tests only read its lake."""
    made = make_project(tmp_path_factory.mktemp("scored") / "project")
    made.write_rows(readings())
    with pytest.MonkeyPatch.context() as patch:
        open_world(made.folder, patch)
        assert made.score().is_completed()
    return made


@pytest.fixture
def shown(project, monkeypatch):
    return open_world(project.folder, monkeypatch)


@pytest.fixture
def scored(shown):
    """The rows that readers see."""
    return shown.table()


def old_output(world, rows, name="old.parquet"):
    """A file of the old script; its path."""
    path = world.folder / name
    rows.to_csv(path, index=False) if name.endswith(".csv") else rows.to_parquet(path, index=False)
    return str(path)


def old_rows(rows):
    """What the old script would have written: the key, a category and the score."""
    return rows[["sensor", "kind", "probability"]].astype({"kind": str})


def run(lamplighter, *arguments):
    code, out, err = lamplighter("compare", "readings", "--as-of", DAY, *arguments)
    return code, out, err


def facts(lamplighter, *arguments):
    code, out, err = run(lamplighter, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_the_same_rows_are_the_same(shown, scored, lamplighter):
    path = old_output(shown, old_rows(scored).sample(frac=1, random_state=1))
    code, out, _ = run(lamplighter, "--against", path)
    assert code == 0
    assert f"what is published (here, run {shown.published().run_id}) beside {path} (there), by sensor." in out
    assert "equal        200    200" in out
    assert "Next: compare other windows too; when all agree: lamplighter deploy" in out
    assert facts(lamplighter, "--against", path)["is_same"]


def test_what_differs_is_counted_and_shown_with_its_key(shown, scored, lamplighter):
    old = old_rows(scored)
    old.loc[3, "probability"] += 0.25
    old.loc[4, "probability"] = np.nan
    old.loc[5, "kind"] = "tepid"
    old = pd.concat([old.drop(index=[0, 1, 2]), old.loc[[10]], old.loc[[11]].assign(sensor="new")])
    path = old_output(shown, old)

    code, out, _ = run(lamplighter, "--against", path, "--on", "sensor")
    found = facts(lamplighter, "--against", path, "--on", "sensor")

    assert code == 0
    assert (found["equal"], found["different"]) == (193, 3)
    assert found["rows"]["ours"] | {"examples": 0} == {
        "rows": 200,
        "alone": 3,
        "without_key": 0,
        "repeated": 1,
        "examples": 0,
        "unlike": [],
    }
    assert found["rows"]["theirs"]["alone"] == 1
    assert found["rows"]["theirs"]["examples"] == [["new"]]
    kind, probability = sorted(found["columns"], key=lambda one: one["ours"])
    assert (kind["differing"], probability["differing"], probability["missing_theirs"]) == (1, 2, 1)
    assert probability["largest"] == pytest.approx(0.25)
    assert [one["key"] for one in probability["examples"]] == [["s00003"], ["s00004"]]
    assert kind["examples"][0]["theirs"] == "tepid"
    assert "Only here: sensor = s00000; s00001; s00002" in out
    assert "Only there: sensor = new" in out
    assert "s00004" in out
    assert "(missing)" in out
    assert "left out: the key is there twice     1      2" in out
    assert "Next: find out which of the two is right (how the rows here were made, " in out


def test_csv_with_other_names_and_scores_in_percent(shown, scored, lamplighter):
    old = old_rows(scored).assign(probability=lambda rows: rows["probability"] * 100)
    path = old_output(shown, old.set_axis(["Sensor", "kind", "score"], axis=1), "old.csv")

    code, _, err = run(lamplighter, "--against", path)
    assert code == 2
    assert "has no column 'sensor', which is a key of readings; it has 'Sensor', 'kind', 'score'" in err
    assert "Next: say which of its columns is that: --on sensor=Sensor" in err

    code, out, _ = run(lamplighter, "--against", path, "--on", "sensor=Sensor")
    assert "Note: probability was compared with nothing" in out
    assert (
        f"Next: lamplighter compare readings --as-of {DAY} --against {path} --on sensor=Sensor --column probability=score"
        in out
    )

    arguments = ("--against", path, "--on", "sensor=Sensor", "--column", "probability=score")
    code, out, _ = run(lamplighter, *arguments)
    assert code == 0
    assert "Note: probability=score: each value there is 100 times the one here." in out
    found = facts(lamplighter, *arguments)
    assert (found["different"], found["theirs"]["format"]) == (200, "csv")


def test_rounding_is_told_and_a_tolerance_passes_over_it(shown, scored, lamplighter):
    path = old_output(shown, old_rows(scored).assign(probability=scored["probability"].astype("float32")))
    _, out, _ = run(lamplighter, "--against", path)
    assert "no difference is larger than rounding; --tolerance 1e-05 passes over it" in out
    assert facts(lamplighter, "--against", path, "--tolerance", "1e-5")["is_same"]


def test_a_folder_of_files_without_rows_or_of_other_types(shown, scored, lamplighter):
    folder = shown.folder / "old"
    folder.mkdir()
    old = old_rows(scored)
    old[:100].to_parquet(folder / "a.parquet")
    old[100:].assign(kind=old["kind"].astype("category")).to_parquet(folder / "b.parquet")
    assert facts(lamplighter, "--against", str(folder))["equal"] == 200
    none = old_output(shown, old[:0], "none.parquet")
    found = facts(lamplighter, "--against", none)
    assert (found["rows"]["ours"]["alone"], found["rows"]["theirs"]["rows"]) == (200, 0)


def test_a_key_that_is_text_here_and_a_number_there(shown, scored, lamplighter):
    old = old_rows(scored).assign(sensor=scored["sensor"].str[1:].astype(int))
    found = facts(lamplighter, "--against", old_output(shown, old))
    # s00001 is no number: no key of one side is one of the other's.
    assert (found["equal"], found["rows"]["ours"]["alone"], found["rows"]["theirs"]["alone"]) == (0, 200, 200)


def test_rows_that_cannot_be_told_are_no_agreement(shown, scored, lamplighter):
    ours = old_rows(scored)
    old = pd.concat([ours, ours.iloc[[5]], ours.iloc[[6]].assign(sensor=None)])
    path = old_output(shown, old)
    _, out, _ = run(lamplighter, "--against", path)
    assert "left out: without a key" in out
    assert "Next: mend the keys (without one, or there twice)" in out
    assert not facts(lamplighter, "--against", path)["is_same"]


def test_a_key_that_is_no_instant_there_is_told(shown, scored, lamplighter):
    assert "at" in scored.columns
    old = old_rows(scored).assign(at=scored["at"].map(lambda at: int(at.timestamp())))
    _, out, _ = run(lamplighter, "--against", old_output(shown, old, "epoch.csv"), "--on", "sensor", "--on", "at")
    assert "Note: in 200 of 200 rows there the key at is no timestamp, so no row can stand beside them" in out


def test_names_that_are_hostile(shown, scored, lamplighter):
    name = "x=1; DROP 'it' [bold]ü"
    old = old_rows(scored).rename(columns={"probability": name})
    rows = old_rows(scored).replace({"sensor": {"s00007": "[bold]s'7\n\x1b[31m"}})
    assert r"[bold]s'7\n\x1b[31m" in run(lamplighter, "--against", old_output(shown, rows, "keys.parquet"))[1]
    path = old_output(shown, old, "o'ld [red].parquet")
    _, out, _ = run(lamplighter, "--against", path)
    assert f"only there, and not compared: {name}" in out
    found = facts(lamplighter, "--against", path, "--column", f"probability={name}")
    assert (found["equal"], found["columns"][0]["theirs"]) == (200, name)


def test_a_dry_run_is_compared_where_nothing_is_published_or_it_is_asked_for(world, lamplighter):
    code, _, err = run(lamplighter, "--against", "nowhere.parquet")
    assert code == 2
    assert f"Next: lamplighter score readings --as-of {DAY} --dry-run" in err

    assert score("readings", DAY, dry_run=True, return_state=True).is_completed()
    tried = pq.ParquetFile(world.lake.path(compare_key(world))).read().to_pandas()
    path = old_output(world, old_rows(tried))
    code, out, _ = run(lamplighter, "--against", path)
    assert code == 0
    assert "its last dry run (here" in out
    assert f"Next: lamplighter score readings --as-of {DAY}" in out

    assert world.score().is_completed()
    assert facts(lamplighter, "--against", path)["ours"]["what"] == "published"
    assert facts(lamplighter, "--against", path, "--dry-run")["ours"]["what"] == "dry run"


def compare_key(world):
    from tasks.core.runs.dry_run import last

    return last(world.lake, "readings", DAY).files["predictions"].key


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--against", "nowhere.parquet"), "--against cannot be read: there is no "),
        (("--against", "data", "--on", "nix"), "the window's rows have no column 'nix'"),
        (("--against", "data", "--on", "sensor=nix"), "has no column 'nix'; it has 'sensor', 'at'"),
        (("--against", "data", "--on", "sensor", "--on", "sensor"), "--on names 'sensor' twice"),
        (("--against", "broken.parquet"), "--against cannot be read: could not read"),
        (("--against", "s3://user:secret@bucket/x"), "--against: holds a secret"),
        (("--against", "deployments/jobs"), "--against cannot be read"),
        (("--against", ".."), "holds CSV and Parquet files"),
    ],
)
def test_what_cannot_be_compared(shown, scored, lamplighter, monkeypatch, arguments, told):
    monkeypatch.chdir(shown.folder)
    (shown.folder / "some.csv").touch()
    (shown.folder / "broken.parquet").write_bytes(b"PAR1 not at all")
    code, _, err = run(lamplighter, *arguments)
    assert code == 2, err
    assert told in err
    assert "secret@" not in err


def test_files_that_are_not_what_they_seem(shown, scored, lamplighter):
    old = old_rows(scored)
    parted = shown.folder / "parted.csv"
    old.to_csv(parted, index=False, sep=";")
    _, _, err = run(lamplighter, "--against", str(parted))
    assert "has one column, 'sensor;kind;probability': its values are parted by ';'" in err
    old.to_csv(parted, index=False, sep=";", decimal=",")
    _, _, err = run(lamplighter, "--against", str(parted))
    assert "has one column, 'sensor;kind;probability': its values are parted by ';'" in err
    assert "Next: write it with commas and with decimal points" in err

    old.to_csv(shown.folder / "old.txt", index=False)
    _, _, err = run(lamplighter, "--against", str(shown.folder / "old.txt"))
    assert "CSV whose name ends in .csv, .csv.gz" in err

    mixed = shown.folder / "mixed"
    mixed.mkdir()
    old.to_csv(mixed / "a.csv", index=False)
    old.to_parquet(mixed / "b.parquet")
    _, _, err = run(lamplighter, "--against", str(mixed))
    assert "holds CSV and Parquet files" in err

    # Parquet by another name: its bytes are not for a terminal.
    (mixed / "b.parquet").rename(shown.folder / "b.csv")
    code, _, err = run(lamplighter, "--against", str(shown.folder / "b.csv"))
    assert code == 2
    assert err.isprintable() or err.rstrip("\n").isprintable()


def test_a_column_that_cannot_meet_is_no_agreement(shown, scored, lamplighter):
    old = old_rows(scored).assign(probability=[{"score": value} for value in scored["probability"]])
    path = old_output(shown, old[["sensor", "probability"]])
    _, out, _ = run(lamplighter, "--against", path)
    assert "here and there" in out
    assert "equal" not in out
    assert "probability: float64 and struct<score: double> cannot be compared" in out
    assert "lamplighter deploy" not in out
    assert not facts(lamplighter, "--against", path)["is_same"]


def test_nothing_is_written(shown, scored):
    path = old_output(shown, old_rows(scored))
    before = sorted(shown.lake.files())
    assert compare("readings", DAY, Asked(path)).found.is_same
    assert sorted(shown.lake.files()) == before


def test_in_shadow(world, lamplighter):
    world.change_job(output__shadow=True)
    assert world.score().is_completed()
    path = old_output(world, old_rows(world.table("shadow")))
    code, out, _ = run(lamplighter, "--against", path)
    assert code == 0
    assert "what is published in shadow (here" in out
    assert "output.shadow: false in deployments/jobs/readings.yaml" in out


def test_rows_that_are_in_quarantine_here_are_spoken_of_where_rows_are_only_there(world, lamplighter):
    rows = readings()
    world.write_rows(rows.assign(kind=rows["kind"].where(rows.index != 7, "tepid")))
    assert world.score().is_completed()
    old = old_output(world, rows[["sensor", "kind"]].assign(probability=0.5))
    _, out, _ = run(lamplighter, "--against", old)
    assert "Only there: sensor = s00007" in out
    assert "Note: of the window 1 rows are in quarantine here" in out
    assert f"lamplighter quarantine readings --as-of {DAY}" in out
