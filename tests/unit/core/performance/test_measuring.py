"""A window from its published rows to its kept figures: by hand, by scikit-learn, and whatever happens between two looks."""

import sqlite3
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn import metrics as theirs

from tasks.core import layout
from tasks.core.errors import LakeError
from tasks.core.performance.measuring import measure_window
from tasks.core.performance.pulling import labels_of
from tasks.core.performance.tables import as_labels_arrived, of_window, of_windows
from tasks.core.runs.manifest import Interval
from tasks.core.storage import Folder, system
from tests.lake_tools import Killed, everything_in
from tests.performance_scenes import DAY, JOB, QUERY, World, midnight_after

FOUR = [
    {"id": "a", "p": 0.9, "site": "x", "size": 1},
    {"id": "b", "p": 0.2, "site": "x", "size": 2},
    {"id": "c", "p": 0.6, "site": "y", "size": 1},
    {"id": "d", "p": 0.4, "site": None, "size": 1},
]
BENCHMARK = ("roc_auc", 0.7, 0.65, 0.75)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.publish(FOUR)
    return made


def table(world, day="2026-03-02", as_of=DAY):
    """By pandas alone, as a person's dashboard reads it."""
    folder = world.lake.path(layout.performance(JOB, as_of, day))
    (file,) = folder.glob("*.parquet")
    return pq.read_table(file, partitioning=None).to_pandas()


def of(rows, metric, slice_="", value=""):
    (found,) = rows[(rows["metric"] == metric) & (rows["slice"] == slice_) & (rows["slice_value"] == value)].to_dict(
        "records"
    )
    return found


def test_every_row_is_accounted_for_and_the_figures_are_those_by_hand(world):
    """a is late as said, b is not, c has no label, d awaits one; e has a label and no row."""
    world.register(BENCHMARK)
    world.tell(a=1, b=0, c=None, e=1)
    (found,) = world.look("2026-03-02")

    assert (found.rows, found.labelled, found.without_label, found.awaited) == (4, 2, 1, 1)
    assert (found.run_id, found.model, found.unit, found.labels_as_of) == ("one", "late/0001", DAY, "2026-03-02")
    assert found.label_share == 0.5
    # (0.1^2 + 0.2^2) / 2; the mean of what came true less that of what was said, (1 - 1.1) / 2.
    assert found.metrics["brier"].value == pytest.approx(0.025)
    assert found.bias.value == pytest.approx(-0.05)
    assert found.metrics["roc_auc"].value == 1.0

    rows = table(world)
    assert of(rows, "roc_auc")["benchmark"] == 0.7
    assert (of(rows, "roc_auc")["benchmark_low"], of(rows, "roc_auc")["benchmark_high"]) == (0.65, 0.75)
    assert np.isnan(of(rows, "brier")["benchmark"])
    assert (of(rows, "unmatched_labels")["value"], of(rows, "corrected")["value"]) == (1, 0)
    assert (of(rows, "mean_truth")["value"], of(rows, "mean_prediction")["value"]) == (0.5, pytest.approx(0.55))


def test_slices_by_what_is_published_and_by_what_the_snapshot_alone_has(world):
    world.tell(a=1, b=0, c=None)
    world.look("2026-03-02")
    rows = table(world)

    # d has no site; a, c and d are of size 1, of which only the snapshot tells.
    assert [of(rows, "rows", "site", value)["value"] for value in ("x", "y", "(missing)")] == [2, 1, 1]
    assert [of(rows, "labelled", "site", value)["value"] for value in ("x", "y", "(missing)")] == [2, 0, 0]
    assert [of(rows, "rows", "size", value)["value"] for value in ("1", "2")] == [3, 1]
    assert of(rows, "without_label", "size", "1")["value"] == 1
    assert of(rows, "awaited", "size", "1")["value"] == 1
    assert of(rows, "brier", "size", "1")["value"] == pytest.approx(0.01)
    assert of(rows, "brier", "size", "1")["rows_labelled"] == 1
    # Of one class alone there is no ROC.
    assert rows[(rows["slice"] == "size") & (rows["metric"] == "roc_auc")].empty


def test_a_snapshot_that_is_gone_costs_the_slices_that_only_it_knows(world):
    world.publish(FOUR, "two", kept=False)
    world.tell(a=1, b=0)
    (found,) = world.look("2026-03-02")

    assert set(table(world)["slice"]) == {"", "site"}
    assert [note.partition(":")[0] for note in found.notes if "told apart" in note] == ["not told apart by size"]


def test_a_version_whose_benchmark_cannot_be_read_is_measured_all_the_same(world):
    world.tell(a=1, b=0)
    (found,) = world.look("2026-03-02")
    assert "the benchmark of late/0001 cannot be read" in found.notes[0]
    assert found.labelled == 2


def test_keys_of_another_spelling_are_told_of(world):
    world.tell(A=1, B=0)
    (found,) = world.look("2026-03-02")
    assert (found.labelled, found.awaited, found.metrics) == (0, 4, {})
    assert "the 2 labels share no key with the 4 published rows" in found.notes[-1]


def test_labels_that_arrive_in_parts_and_are_corrected(world):
    """b's label comes later, and then a's is another one; each day's figures stay as they were."""
    for day, truth in (
        ("2026-03-02", {"a": 1}),
        ("2026-03-03", {"a": 1, "b": 0}),
        ("2026-03-09", {"a": 0, "b": 0, "c": 1}),
    ):
        world.tell(**truth)
        world.look(day)

    arrived = as_labels_arrived(world.lake, world.job, DAY)
    assert [(one.labels_as_of, one.labelled, one.corrected) for one in arrived] == [
        ("2026-03-02", 1, 0),
        ("2026-03-03", 2, 0),
        ("2026-03-09", 3, 1),
    ]
    assert [one.is_final for one in arrived] == [False, False, True]
    assert of_window(world.lake, world.job, DAY, until_day="2026-03-01") is None
    assert of_window(world.lake, world.job, DAY, until_day="2026-03-08").labelled == 2


def test_a_look_that_finds_nothing_new_keeps_nothing_and_says_when_it_was(world):
    world.tell(a=1, b=0)
    world.look("2026-03-02")
    (found,) = world.look("2026-03-03")
    assert world.lake.names(layout.partition(layout.PERFORMANCE, JOB, DAY)) == ["labels_as_of=2026-03-02"]
    assert (found.labels_as_of, found.looked_for) == ("2026-03-02", "2026-03-03")


def test_a_window_that_another_version_has_replaced_is_measured_anew_and_the_old_figures_stay(world):
    world.tell(a=1, b=0)
    world.look("2026-03-02")
    world.publish([{**row, "p": 1 - row["p"]} for row in FOUR], "two", version=2)

    assert of_window(world.lake, world.job, DAY, until_day="2026-03-03") is None
    (again,) = world.due("2026-03-04")
    found = world.measure(again, "2026-03-04")

    assert (found.run_id, found.model, found.metrics["roc_auc"].value) == ("two", "late/0002", 0.0)
    assert [one.run_id for one in as_labels_arrived(world.lake, world.job, DAY)] == ["one", "two"]
    # A recall brings the first one back: what is known of it is known again, of the labels that have come since.
    world.publish(FOUR, "one")
    assert of_window(world.lake, world.job, DAY, until_day="2026-03-05").metrics["roc_auc"].value == 1.0
    assert [one.run_id for one in world.look("2026-03-05")] == ["one"]


def test_a_window_that_is_out_of_sight_is_not_measured(world):
    world.tell(a=1)
    (one,) = world.due("2026-03-02")
    pulled = labels_of(world.definition, Folder(world.folder), one.window, str)
    world.lake.remove(layout.partition(layout.PREDICTIONS, JOB, DAY))

    assert measure_window(world.lake, world.definition, one, pulled, day="2026-03-02", now=midnight_after(DAY)) is None
    assert of_windows(world.lake, world.job, until_day="2026-04-01") == []


@pytest.mark.parametrize("broken", [b"", b"PAR1", None])
def test_a_broken_file_of_figures_is_made_anew(world, broken):
    """None stands for a whole file without the record, as another tool would write it."""
    world.tell(a=1)
    world.look("2026-03-02")
    (file,) = world.lake.path(layout.performance(JOB, DAY, "2026-03-02")).glob("*.parquet")
    if broken is None:
        pq.write_table(pq.read_table(file, partitioning=None).replace_schema_metadata(None), file)
    else:
        file.write_bytes(broken)

    assert [(one.labels_as_of, one.labelled) for one in world.look("2026-03-02")] == [("2026-03-02", 1)]
    assert world.due("2026-03-02") == []


def test_a_broken_file_of_labels_is_pulled_anew(world):
    world.tell(a=1)
    world.look("2026-03-02")
    (file,) = world.lake.path(layout.labels(JOB, DAY, "2026-03-02")).glob("*.parquet")
    file.write_bytes(b"PAR1")
    world.publish(FOUR, "two")

    assert [one.pull for one in world.due("2026-03-02")] == [True]
    assert [(one.run_id, one.labelled) for one in world.look("2026-03-02")] == [("two", 1)]


def test_killed_at_any_instant_and_run_again_it_is_as_if_it_had_never_been(tmp_path, monkeypatch):
    """The look is taken at every change of the lake in turn; after each kill another one ends it."""
    wholly = a_world_with_labels(tmp_path / "wholly")
    changes = []
    with monkeypatch.context() as patched:
        patched.setattr(system, "after_change", lambda *what: changes.append(what))
        expected = wholly.look("2026-03-02")

    for number in range(len(changes)):
        world = a_world_with_labels(tmp_path / str(number))
        with monkeypatch.context() as patched:
            patched.setattr(system, "after_change", killer(number))
            with pytest.raises(Killed):
                world.look("2026-03-02")
        world.look("2026-03-02")
        assert of_windows(world.lake, world.job, until_day="2026-03-02") == expected
        assert files(world) == files(wholly)


def test_killed_in_the_midst_of_a_swap_that_is_not_one_step(world, monkeypatch):
    """Two looks of one day: the second replaces what the first has kept, on a file system that cannot exchange two folders."""
    world.tell(a=1)
    (first,) = world.due("2026-03-02")
    world.measure(first, "2026-03-02")
    world.tell(a=1, b=0)

    def half(new, old):
        old.rename(system.aside(new))
        raise Killed

    monkeypatch.setattr(system, "exchange", lambda *_: False)
    with monkeypatch.context() as patched:
        patched.setattr(system, "exchange_in_three_steps", half)
        with pytest.raises(Killed):
            world.measure(first, "2026-03-02")
    found = world.measure(first, "2026-03-02")

    assert (found.labelled, found.corrected) == (2, 0)
    assert world.lake.names(layout.labels(JOB, DAY, "2026-03-02"))[0].startswith("part-")


def a_world_with_labels(folder):
    world = World(folder)
    world.register(BENCHMARK)
    world.publish(FOUR)
    world.tell(a=1, b=0)
    return world


def killer(number):
    left = [number]

    def kill(*_):
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    return kill


def files(world):
    return [name for name in everything_in(world.lake) if name.startswith(("labels/", "performance/", "scratch/perf"))]


def test_recomputed_by_scikit_learn_from_the_published_table_and_the_raw_labels(tmp_path):
    """Nothing of ours between: pandas reads predictions/ and the database."""
    world, random = World(tmp_path, kind="int64"), np.random.default_rng(7)
    scores = random.beta(2, 5, 400).round(2)
    late = {f"f{n}": int(one) for n, one in enumerate(random.random(400) < scores)}
    world.publish([{"id": f"f{n}", "p": p, "site": "xyz"[n % 3], "size": n % 2} for n, p in enumerate(scores)])
    world.tell(**{key: one for key, one in late.items() if random.random() < 0.9})
    (found,) = world.look("2026-03-02")

    folder = world.lake.path(layout.partition(layout.PREDICTIONS, JOB, DAY))
    published = pd.concat(pd.read_parquet(file, partitioning=None) for file in folder.glob("*.parquet"))
    database = sqlite3.connect(tmp_path / "truth.sqlite")
    raw = pd.read_sql("SELECT id, y FROM truth", database)
    database.close()
    both = published.merge(raw, on="id")
    assert len(both) == found.labelled
    for name, metric in (
        ("roc_auc", theirs.roc_auc_score),
        ("average_precision", theirs.average_precision_score),
        ("brier", theirs.brier_score_loss),
        ("log_loss", theirs.log_loss),
    ):
        assert found.metrics[name].value == pytest.approx(metric(both["y"], both["p"]), rel=1e-12), name
        assert found.metrics[name].low < found.metrics[name].value < found.metrics[name].high
    assert found.bias.value == pytest.approx((both["y"] - both["p"]).mean(), rel=1e-12)
    part = both[both["site"] == "y"]
    assert of(table(world), "roc_auc", "site", "y")["value"] == pytest.approx(
        theirs.roc_auc_score(part["y"], part["p"])
    )


def test_regression(tmp_path):
    world = World(tmp_path, kind="float64", output={"method": "predict"}, monitor={})
    world.publish([{"id": "a", "p": 1.0}, {"id": "b", "p": 2.0}])
    world.tell(a=2.0, b=2.0)
    (found,) = world.look("2026-03-02")
    assert (found.metrics["mae"].value, found.bias.value) == (0.5, 0.5)
    # All labels are equal: there is no variation that could be explained.
    assert "r2" not in found.metrics


def test_classes(tmp_path):
    world = World(tmp_path, kind="string", output={"method": "predict", "type": "string"}, monitor={})
    world.publish([{"id": "a", "p": "red"}, {"id": "b", "p": "blue"}])
    world.tell(a="red", b="red")
    (found,) = world.look("2026-03-02")
    assert (found.metrics["accuracy"].value, found.bias) == (0.5, Interval(value=None))


def test_a_snapshot_job_s_labels_are_due_from_its_instant(tmp_path):
    world = World(tmp_path, window={"kind": "snapshot", "every": "1d"}, event_time=None)
    world.publish(FOUR)
    world.tell(a=1)
    assert world.due("2026-02-28") == []
    assert [one.labelled for one in world.look("2026-03-01")] == [1]


def renamed(world, job=None, labels=None):
    """The same world after its job was changed."""
    job = world.job.model_copy(update=(job or {}) | {"labels": world.job.labels.model_copy(update=labels or {})})
    world.definition = replace(world.definition, job=job)
    return world


def test_rows_of_before_the_output_was_renamed_are_measured_under_the_version_s_own_name(world):
    world.register(BENCHMARK)
    world.tell(a=1, b=0, c=1, d=0)
    output = world.job.output.model_copy(update={"columns": {"probability": world.job.output.columns["p"]}})
    (found,) = renamed(world, {"output": output}).look("2026-03-02")
    assert found.metrics["roc_auc"].value == 1.0


def test_rows_of_before_a_key_was_renamed_cannot_be_met_and_that_is_said(world):
    world.register(BENCHMARK)
    world.tell(a=1)
    (one,) = world.due("2026-03-02")
    pulled = labels_of(world.definition, Folder(world.folder), one.window, str).rename_columns(["sensor", "y"])
    renamed(world, {"keys": ("sensor",)})
    with pytest.raises(LakeError, match="rows of run one were published without 'sensor', which the job names now"):
        measure_window(world.lake, world.definition, one, pulled, day="2026-03-02", now=midnight_after("2026-03-02"))


@pytest.mark.parametrize(
    "labels", [{"target": "late", "query": QUERY.replace("y", "y AS late", 1)}, {"type": "int64"}], ids=["name", "type"]
)
def test_labels_of_another_name_or_type_are_no_corrections(world, labels):
    world.tell(a=1, b=0)
    world.look("2026-03-02")
    renamed(world, labels=labels)
    world.definition = replace(world.definition, labels_query=labels.get("query", QUERY))
    (found,) = world.look("2026-03-03")
    assert (found.labelled, found.corrected) == (2, 0)
