"""A dry run does everything but publish: it says what would come out, and leaves no trace where anybody reads."""

import json
import pathlib

import pandas as pd
import pytest

from tasks.core import layout
from tasks.core.runs import dry_run
from tests.flows.conftest import DAY, readings
from tests.flows.test_accept import BETWEEN_X, WHY, between

OWN = ("dry_runs/", f"reports/readings/as_of={DAY}.dry-run", "locks")


def run(world, **asked):
    from flows.score import score

    return score("readings", DAY, return_state=True, **asked)


def others(world):
    """Every file of the lake that a dry run has no business with, with its bytes."""
    lake = world.folder / "lake"
    paths = (path for path in lake.rglob("*") if path.is_file())
    return {
        str(one.relative_to(lake)): one.read_bytes() for one in paths if not str(one.relative_to(lake)).startswith(OWN)
    }


def last(world):
    return dry_run.last(world.lake, "readings", DAY)


def test_it_says_what_would_be_published_and_touches_nothing_else(world):
    before = others(world)

    state = run(world, dry_run=True)

    assert (state.type.value, state.name) == ("COMPLETED", "DryRun")
    assert "it would be published: 200 of 200 rows scored, 0 quarantined. Nothing was published." in state.message
    assert others(world) == before
    manifest = last(world)
    assert (manifest.state, manifest.verdict, manifest.is_published) == ("dry_run", "published", False)
    assert manifest.rows.scored == 200
    assert manifest.key_digests.pulled == manifest.key_digests.scored


def test_the_scored_rows_are_those_that_a_run_would_publish(world):
    run(world, dry_run=True)
    manifest = last(world)
    dry = pd.read_parquet(world.lake.path(manifest.files["predictions"].key))
    metrics = pd.read_parquet(world.lake.path(manifest.files["metrics"].key))

    assert world.score().name == "Published"

    assert world.published().run_id == manifest.run_id
    real = pd.read_parquet(world.lake.path(world.published().files["predictions"].key))
    pd.testing.assert_frame_equal(dry.drop(columns="scored_at"), real.drop(columns="scored_at"))
    assert metrics.loc[metrics["metric"] == "rows_scored", "value"].tolist() == [200.0]


def test_no_list_counts_it(world, lamplighter):
    run(world, dry_run=True)

    assert json.loads(lamplighter("runs", "readings", "--json")[1]) == []
    assert lamplighter("show", "readings", "--as-of", DAY)[0] == 2
    world.score()
    assert [one["verdict"] for one in json.loads(lamplighter("runs", "readings", "--json")[1])] == ["published"]
    index = (world.folder / "lake/reports/readings/index.html").read_text()
    assert "dry-run" not in index


def test_it_has_a_page_of_its_own(world):
    world.score()
    page = world.folder / f"lake/reports/readings/as_of={DAY}.html"
    before = page.read_bytes()

    run(world, dry_run=True)

    assert page.read_bytes() == before
    own = page.with_name(f"as_of={DAY}.dry-run.html").read_text()
    assert "<h1>Dry run: would be published</h1>" in own
    assert "This run's" not in own
    assert f"What run {world.published().run_id} published" in own
    assert f'href="as_of={DAY}.dry-run.expectations.html"' in own
    assert page.with_name(f"as_of={DAY}.dry-run.expectations.html").exists()


def test_a_published_window_stays_as_it_is_and_the_source_is_read_anew(world):
    world.score()
    before = others(world)
    world.write_rows(readings(150))

    assert run(world, dry_run=True).name == "DryRun"

    assert others(world) == before
    assert last(world).rows.scored == 150
    assert "--rescore" in last(world).next_step


def test_what_would_be_blocked_ends_blocked_and_says_that_it_was_a_dry_run(world, lamplighter):
    rows = readings()
    rows.loc[:49, "kind"] = "lukewarm"
    world.write_rows(rows)
    before = others(world)

    state = run(world, dry_run=True)

    assert state.name == "Blocked"
    assert state.message.startswith(
        "50 of 200 rows fail expect_column_values_to_be_in_set(kind); limit 10 %; for example lukewarm."
    )
    assert "It was a dry run; nothing was published" in state.message
    assert others(world) == before
    assert last(world).verdict == "blocked"
    page = (world.folder / f"lake/reports/readings/as_of={DAY}.dry-run.html").read_text()
    assert "Dry run: would be blocked" in page
    code, out, err = lamplighter("score", "readings", "--as-of", DAY, "--dry-run")
    assert code == 3
    assert out.strip().startswith("Report: ")
    assert "It was a dry run" in err
    # A real run resumes nothing of it, and is judged for itself.
    world.write_rows(readings())
    assert world.score().name == "Published"


def test_only_the_last_one_of_a_window_is_kept_and_a_killed_one_is_cleared_away(world):
    run(world, dry_run=True)
    folder = pathlib.Path(world.lake.path(layout.dry_runs("readings", DAY)))
    (folder / "pulling-0123456789abcdef").mkdir()
    (folder / "pulling-0123456789abcdef/snapshot.parquet").write_bytes(b"half")
    (folder / ".tmp-of-a-killed-one").mkdir()
    world.write_rows(readings(150))

    run(world, dry_run=True)

    assert [path.name for path in folder.iterdir()] == [last(world).run_id]
    assert last(world).rows.pulled == 150
    kept = {path.name for path in (folder / last(world).run_id).iterdir()}
    assert {"manifest.json", "snapshot.parquet", "predictions", "quarantine", "metrics"} <= kept
    assert not {"staged", "batches", "validated"} & kept


def test_it_neither_waits_for_a_run_of_the_window_nor_stands_in_its_way(world):
    with world.lake.lock(layout.lock("readings", DAY), holder="a run"):
        assert run(world, dry_run=True).name == "DryRun"
    with world.lake.lock(layout.dry_run_lock("readings", DAY), holder="a dry run"):
        assert world.score().name == "Published"
        assert "dry run is being run by a dry run" in run(world, dry_run=True).message


def test_a_run_that_was_cut_short_is_neither_resumed_nor_given_up_by_it(world, monkeypatch):
    import tasks.publish

    def stop(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tasks.publish, "publish_staged", stop)
        with pytest.raises(KeyboardInterrupt):
            world.score()
    before = others(world)

    assert run(world, dry_run=True).name == "DryRun"

    assert others(world) == before
    (world.folder / "data/a.parquet").unlink()
    assert world.score().name == "Published"


def test_no_challenger_scores_it(world, hostile):
    hostile("halve")
    run(world, dry_run=True)
    assert not (world.folder / "lake/challengers").exists()


def test_what_an_acceptance_would_publish_can_be_tried(world):
    world.write_suite(between("x", 0, 100))
    world.score()
    before = others(world)
    (world.folder / "data/a.parquet").unlink()

    state = run(world, dry_run=True, accept=(BETWEEN_X,), reason=WHY)

    assert state.name == "DryRun"
    assert "it would be published with warnings" in state.message
    assert others(world) == before
    assert last(world).accepted[0].gate == BETWEEN_X
    assert f"--accept '{BETWEEN_X}'" in last(world).next_step


def test_the_command_shows_warnings_scores_and_where_to_look(world, lamplighter):
    world.write_suite(between("x", 0, 100, severity="warning"))

    code, out, _ = lamplighter("score", "readings", "--as-of", DAY, "--dry-run")

    assert code == 0
    assert "a dry run; it would be published with warnings: 200 of 200 rows scored" in out
    assert "rows fail expect_column_values_to_be_between" in out
    assert "probability" in out
    lines = dict(line.split(": ", 1) for line in out.splitlines() if line.startswith(("Scored rows", "Report", "Next")))
    assert len(pd.read_parquet(lines["Scored rows"])) == 200
    assert "Dry run" in pathlib.Path(lines["Report"]).read_text()
    assert lines["Next"] == f"lamplighter score readings --as-of {DAY}, to do it"
    said = json.loads(lamplighter("score", "readings", "--as-of", DAY, "--dry-run", "--json")[1])
    assert (said["manifest"]["state"], said["error"]) == ("dry_run", None)
