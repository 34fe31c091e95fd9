"""A second version scores what production has published, by key and from the snapshot, and the figures are right."""

import hashlib
import itertools
import json
import os
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

from flows.challenge import challenge
from tasks.core.models.registry import Registry
from tasks.core.runs import challenger
from tests.flows.challenging import (
    FEATURES,
    as_without_challenger,
    challengers_of,
    log,
    of_production,
    page,
    record,
)
from tests.flows.conftest import CHALLENGED_AT, DAY, logistic_model, numbered, readings
from tests.flows.hostile_model import Hostile
from tests.flows.test_elsewhere import bind, production


def test_the_same_rows_are_scored_and_the_differences_are_those_of_pandas_and_scipy(world, named):
    world.write_rows(readings())
    world.change_job(description="other rows")
    named(logistic_model().set_params(logisticregression__C=0.01), FEATURES, sample=readings())
    alone = as_without_challenger(world)

    state = world.score()

    assert (state.type.value, state.name, state.message, *of_production(world)) == alone
    before, after = world.table(), world.table("challengers")
    assert after.drop(columns=["probability", "model_version"]).equals(
        before.drop(columns=["probability", "model_version"])
    )
    assert set(after["model_version"]) == {"readings/0002"}
    (column,) = record(world).differences
    p, c = before["probability"], after["probability"]
    assert column.flips == ((p > 0.5) != (c > 0.5)).sum() > 0
    assert (column.mean, column.std) == (pytest.approx((c - p).mean()), pytest.approx((c - p).std(ddof=0)))
    assert column.spearman == pytest.approx(stats.spearmanr(p, c).statistic)
    assert column.top_moved == pytest.approx(1 - len(set(p.nlargest(20).index) & set(c.nlargest(20).index)) / 20)
    farthest = (c - p).abs().nlargest(10)
    assert [row.key for row in column.largest] == [{"sensor": before["sensor"][row]} for row in farthest.index]
    assert [row.challenger - row.production for row in column.largest] == pytest.approx((c - p)[farthest.index])
    (drawn,) = record(world).distributions
    assert sum(drawn.observed) == pytest.approx(1)
    assert sum(drawn.reference) == pytest.approx(1)
    inner = [float("-inf"), *drawn.edges, float("inf")]
    for side, shares in ((c, drawn.observed), (p, drawn.reference)):
        counted = [((side >= low) & (side < high)).mean() for low, high in itertools.pairwise(inner)]
        assert shares == pytest.approx(counted)
    assert "The challenger decides otherwise on" in page(world)


def test_the_file_explains_itself_and_has_the_columns_of_the_predictions(world, named):
    version = named(logistic_model(), FEATURES, sample=numbered())
    world.score()

    ((name, data),) = challengers_of(world).items()
    ((published, predictions),) = world.partition_bytes().items()
    assert name == published.replace(".parquet", "-0002.parquet")
    assert pq.read_schema(pa.BufferReader(data)).equals(pq.read_schema(pa.BufferReader(predictions)))
    said, of_production = (
        json.loads(pq.read_metadata(pa.BufferReader(one)).metadata[b"lamplighter"]) for one in (data, predictions)
    )
    assert said == of_production | {"model": "readings/0002", "model_digest": version.digest}
    assert record(world).file.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.extras
def test_many_batches_in_children_give_the_rows_of_one(world, named):
    world.change_job(suite=None)
    named(logistic_model(), FEATURES, sample=numbered())
    world.score()
    whole, of_one = world.table("challengers"), record(world)
    world.change_job(limits__batch_rows=30, limits__workers=2)

    assert world.score(rescore="smaller batches").name == "Published"

    same = ["run_id", "scored_at"]
    pd.testing.assert_frame_equal(
        world.table("challengers").drop(columns=same), whole.drop(columns=same), rtol=1e-12, check_categorical=False
    )
    (many,), (one,) = record(world).differences, of_one.differences
    assert (many.flips, many.rows, many.ranked_rows) == (one.flips, one.rows, one.ranked_rows)
    assert (many.mean, many.std, many.spearman) == tuple(map(pytest.approx, (one.mean, one.std, one.spearman)))


@pytest.mark.extras
def test_only_published_rows_are_scored_of_a_repeated_one_the_first(world, named):
    rows = numbered(60)
    rows.loc[3, "kind"] = "lukewarm"
    rows.loc[5, "sensor"] = None
    rows.loc[7, "x"] = float("inf")
    rows = pd.concat([rows, rows.iloc[[11]], rows.iloc[[13]].assign(x=99.0)])
    world.write_rows(rows)
    world.change_job(limits__batch_rows=25, limits__quarantine_share=0.5)
    named(logistic_model(), FEATURES, sample=numbered())

    assert world.score().name == "Published"

    # The file's own order is production's too: row by row the keys are the same.
    keys = [
        pq.read_table(pa.BufferReader(next(iter(files.values()))))["sensor"].to_pylist()
        for files in (world.partition_bytes(), challengers_of(world))
    ]
    assert keys[0] == keys[1]
    # Of row 13 there are two with other values: neither was scored.
    missing = {f"s{number:05d}" for number in (3, 5, 13)}
    assert not missing & set(keys[1])
    assert len(keys[1]) == len(set(keys[1])) == record(world).rows == world.published().rows.scored


def test_the_order_of_its_classes_does_not_matter(world, named):
    (world.folder / "hostile").mkdir()
    named(Hostile(world.folder / "hostile", classes=(1, 0)))

    world.score()

    x = np.arange(200)
    np.testing.assert_allclose(world.table("challengers")["probability"], x / (1 + x), rtol=1e-15)


def test_a_challenger_that_another_interpreter_must_load_is_scored_there(world, named, monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_PYTHON_OTHER", sys.executable)
    named(logistic_model(), FEATURES, sample=numbered())
    version, estimator = production(world)
    bound = bind(world, version, estimator)
    for alias, number in (("production", 1), ("challenger", bound.version)):
        Registry(world.lake).set_alias("readings", alias, number, at=CHALLENGED_AT, actor="test", reason="a test")

    assert world.score().name == "Published"

    # It is the same model: so are its scores.
    (column,) = record(world).differences
    assert (record(world).verdict, record(world).version, column.rows) == ("scored", bound.version, 200)
    assert (column.flips, column.lowest, column.highest) == (0, 0.0, 0.0)


def test_rows_that_it_cannot_score_are_counted_and_absent(world, hostile):
    hostile("raise-some")
    alone = as_without_challenger(world)
    (world.folder / "hostile/log").unlink(missing_ok=True)

    state = world.score()

    assert (state.type.value, state.name, state.message, *of_production(world)) == alone
    done = record(world)
    assert (done.verdict, done.rows, done.scored, done.unscored) == ("scored", 200, 196, 4)
    assert done.unscored_reasons == {"predict_raised": 4}
    assert set(world.table()["sensor"]) - set(world.table("challengers")["sensor"]) == {
        f"s{number:05d}" for number in (7, 57, 107, 157)
    }
    assert "It could not score 4 rows: 4 x predict_raised." in page(world)
    # Its processes are ended with it, and none of them was the parent.
    _, children = log(world)
    assert os.getpid() not in children


def test_a_challenger_that_takes_no_null_leaves_such_rows_out_and_says_that_it_would_have_blocked(world, named):
    rows = numbered(40)
    rows.loc[:9, "y"] = None
    world.write_rows(rows)
    version = named(logistic_model(), FEATURES, sample=numbered())
    column = {"name": "y", "type": "float64", "nullable": False}
    _with_signature(world, version, lambda said: said["inputs"]["columns"].__setitem__(2, column))

    assert world.score().name == "Published"

    done = record(world)
    assert (done.scored, done.unscored_reasons) == (30, {"null_input(y)": 10})
    assert "place it would have blocked the run" in page(world)


def test_what_the_snapshot_can_feed_is_scored_and_what_it_cannot_is_refused_by_name(world, named):
    named(LogisticRegression(), {"y": "float64", "x": "float64"}, sample=numbered())
    world.score()
    assert record(world).verdict == "scored"

    sample = numbered().assign(z=numbered()["y"])
    named(logistic_model(), FEATURES | {"z": "float64"}, sample=sample)
    failed = challenge("readings", DAY, return_state=True)

    assert (failed.type.value, failed.name) == ("FAILED", "Failed")
    assert "'z' (float64) is missing" in failed.message
    assert "What readings version 1 published stands" in failed.message
    # The rows of the version before are gone with its record: the table holds what the record says.
    assert (record(world).version, record(world).verdict, challengers_of(world)) == (3, "failed", {})


@pytest.mark.extras
def test_a_window_that_was_published_before_is_scored_from_its_snapshot(world, named):
    world.score()
    before = of_production(world)
    named(logistic_model(), FEATURES, sample=numbered())
    (world.folder / "data/a.parquet").unlink()

    state = challenge("readings", DAY, return_state=True)

    assert state.type.value == "COMPLETED", state.message
    assert of_production(world) == before
    assert len(world.table("challengers")) == 200
    first = challengers_of(world)
    assert challenge("readings", DAY, return_state=True).type.value == "COMPLETED"
    assert challengers_of(world) == first


def test_a_rescore_without_a_challenger_leaves_no_rows_that_pair_with_nothing(world, named):
    named(logistic_model(), FEATURES, sample=numbered())
    world.score()
    first, run_id = challengers_of(world), world.published().run_id
    Registry(world.lake).drop_alias("readings", "challenger", at=CHALLENGED_AT, actor="test", reason="a test")
    world.write_rows(numbered(150))

    assert world.score(rescore="the feed was mended").name == "Published"

    assert challengers_of(world) == {}
    aside = world.folder / f"lake/runs/readings/as_of={DAY}/{run_id}/challenger/aside"
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == first


@pytest.mark.extras
def test_a_rescore_replaces_them_and_one_that_fails_leaves_none(world, hostile):
    world.score()
    world.write_rows(numbered(150))

    assert world.score(rescore="the feed was mended").name == "Published"
    assert [name.split("-0002")[0] for name in challengers_of(world)] == [f"part-{world.published().run_id}"]
    assert len(world.table("challengers")) == 150

    hostile("raise")
    world.write_rows(numbered(140))
    assert world.score(rescore="once more").name == "Published"
    assert (record(world).verdict, challengers_of(world)) == ("failed", {})


def test_a_job_that_publishes_other_columns_by_now_is_told_to_score_again(world, named):
    world.score()
    named(logistic_model(), FEATURES, sample=numbered())
    world.change_job(output__pass_through=["kind", "y"])

    state = challenge("readings", DAY, return_state=True)

    assert "publishes other columns now" in state.message
    assert challengers_of(world) == {}


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("predictions/readings/*/*.parquet", "is not the file that run"),
        ("runs/*/*/*/snapshot.parquet", "SHA-256 differs"),
    ],
)
def test_damaged_files_are_not_compared_with(world, named, damage, says):
    world.score()
    named(logistic_model(), FEATURES, sample=numbered())
    (file,) = (world.folder / "lake").glob(damage)
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)

    state = challenge("readings", DAY, return_state=True)

    assert says in state.message


def test_without_a_window_or_a_challenger_one_is_told_what_to_type(world, lamplighter):
    code, _, err = lamplighter("challenge", "readings", "--as-of", DAY)
    assert (code, "is not published" in err, f"lamplighter score readings --as-of {DAY}" in err) == (2, True, True)
    world.score()
    code, _, err = lamplighter("challenge", "readings", "--as-of", DAY)
    assert (code, "the alias 'challenger' names no version but the one that scored it" in err) == (2, True)
    assert "lamplighter promote readings --version N --alias challenger" in err


@pytest.mark.extras
def test_the_command_says_what_it_found_and_show_knows_it(world, named, lamplighter):
    world.score()
    assert "Challenger" not in lamplighter("show", "readings", "--as-of", DAY)[1]
    named(logistic_model(), FEATURES, sample=numbered())
    assert "Challenger: version 2 has not scored this window" in lamplighter("show", "readings", "--as-of", DAY)[1]

    code, out, _ = lamplighter("challenge", "readings", "--as-of", DAY)

    assert (code, out.startswith("readings version 2 has scored the same 200 rows; it decides otherwise on")) == (
        0,
        True,
    )
    assert "Challenger: readings version 2 has scored" in lamplighter("show", "readings", "--as-of", DAY)[1]
    said = json.loads(lamplighter("challenge", "readings", "--as-of", DAY, "--json")[1])
    assert (said["verdict"], said["rows"], said["version"]) == ("scored", 200, 2)


def test_a_failure_of_the_command_is_1_and_of_score_is_0(world, hostile, lamplighter):
    hostile("raise")

    assert lamplighter("score", "readings", "--as-of", DAY)[0] == 0
    code, _, err = lamplighter("challenge", "readings", "--as-of", DAY)

    assert code == 1
    assert "What readings version 1 published stands, and so does its verdict." in err
    assert "Challenger: readings version 2 failed: " in lamplighter("show", "readings", "--as-of", DAY)[1]


def test_of_two_at_once_one_is_told_that_the_window_is_taken(world, named):
    world.score()
    named(logistic_model(), FEATURES, sample=numbered())
    with world.lake.lock(f"locks/readings {DAY}.lock", holder="somebody else"):
        state = challenge("readings", DAY, return_state=True)

    assert "is being run by somebody else" in state.message
    assert challenger.read(world.lake, world.published()) is None


def test_the_version_that_scores_is_no_challenger_of_itself(world, named):
    named(logistic_model(), FEATURES, sample=numbered())
    Registry(world.lake).set_alias("readings", "challenger", 1, at=CHALLENGED_AT, actor="test", reason="it won")

    assert world.score().name == "Published"

    assert challenger.read(world.lake, world.published()) is None
    refused = challenge("readings", DAY, return_state=True)
    assert "no version but the one that scored it, which is readings version 1" in refused.message


def _with_signature(world, version, change):
    """Registers the version's signature as `change` makes it, in its place."""
    folder = world.folder / f"lake/models/readings/versions/{version.version:04d}"
    signature, manifest = (json.loads((folder / name).read_text()) for name in ("signature.json", "manifest.json"))
    change(signature)
    content = json.dumps(signature).encode()
    (folder / "signature.json").write_bytes(content)
    manifest["files"]["signature.json"] = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
