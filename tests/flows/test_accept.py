"""A window that a gate blocked is published all the same, once, because somebody said so; and it is seen for ever."""

import getpass
import json

import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.flows.conftest import DAY, add_wrong_version, readings

WHY = "the sensor was replaced, its values are right"
BETWEEN_X = "expect_column_values_to_be_between(x)"
ROW_COUNT = "expect_table_row_count_to_be_between"


def between(column, low, high, **more):
    kwargs = {"column": column, "min_value": low, "max_value": high, "mostly": 0.95}
    return {"type": "expect_column_values_to_be_between", "kwargs": kwargs, "severity": "critical", **more}


def row_count(least):
    return {"type": ROW_COUNT, "kwargs": {"min_value": least}, "severity": "critical"}


def known_kind():
    return {
        "type": "expect_column_values_to_be_in_set",
        "kwargs": {"column": "kind", "value_set": ["hot", "cold"]},
        "severity": "critical",
        "meta": {"on_failure": "quarantine"},
    }


def run(world, *, as_of=DAY, **asked):
    """The final state of the flow, asked for as its deployments are."""
    from flows.score import score

    return score("readings", as_of, return_state=True, **asked)


def accept(world, *gates, reason=WHY, **more):
    return run(world, accept=gates, reason=reason, **more)


@pytest.fixture
def blocked(world):
    """Half of the day's rows fail; the source then forgets them."""
    world.write_suite(between("x", 0, 100))
    state = world.score()
    assert state.name == "Blocked", state.message
    (world.folder / "data/a.parquet").unlink()
    return world


def test_the_message_says_how_many_of_how_many_rows_which_expectation_and_the_limit(blocked):
    failing = int((readings()["x"] < 0).sum())
    (reason,) = blocked.latest().reasons

    assert reason.startswith(f"{failing} of 200 rows fail {BETWEEN_X}; limit 5 %; for example -")
    assert blocked.latest().blocked_by == (BETWEEN_X,)
    assert blocked.latest().next_step.endswith(
        f"lamplighter score readings --as-of {DAY} --accept '{BETWEEN_X}' --reason \"why\""
    )


def test_the_rows_that_were_blocked_are_published_and_everything_says_so(blocked, lamplighter):
    judged = blocked.latest()

    state = accept(blocked, BETWEEN_X)

    assert state.name == "PublishedWithWarnings", state.message
    assert blocked.table()["sensor"].tolist() == readings()["sensor"].tolist()
    manifest, me = blocked.published(), getpass.getuser()
    assert manifest.snapshot.digest == judged.snapshot.digest
    assert manifest.trigger.snapshot_of == judged.run_id
    assert manifest.plan_key == judged.plan_key
    assert manifest.reasons == (f"accepted by {me}: {BETWEEN_X}: {WHY}",)
    (kept,) = manifest.acceptances
    assert (kept.gate, kept.needed, kept.reason, kept.by) == (BETWEEN_X, True, WHY, me)
    assert kept.sentence == judged.reasons[0]
    assert manifest.suite.expectations[0].consequence == "accepted"
    # The blocked run keeps its own record.
    assert {one["verdict"] for one in json.loads(lamplighter("runs", "readings", "--json")[1])} == {
        "blocked",
        "published_with_warnings",
    }


def test_table_pages_and_commands_show_it(blocked, lamplighter):
    accept(blocked, BETWEEN_X)

    me = getpass.getuser()
    ((name, _),) = blocked.partition_bytes().items()
    path = blocked.folder / f"lake/predictions/readings/as_of={DAY}" / name
    said = json.loads(pq.read_metadata(path).metadata[b"lamplighter"])
    assert said["accepted"] == [{"by": me, "gate": BETWEEN_X, "reason": WHY}]
    metrics = pd.read_parquet(blocked.folder / "lake/metrics/readings")
    assert metrics.loc[metrics["metric"] == "accepted", ["subject", "value"]].to_numpy().tolist() == [[BETWEEN_X, 1.0]]
    page = (blocked.folder / f"lake/reports/readings/as_of={DAY}.html").read_text()
    assert "<dt>Accepted</dt>" in page
    assert WHY in page
    docs = (blocked.folder / f"lake/reports/readings/as_of={DAY}.expectations.html").read_text()
    assert 'consequence-accepted">accepted' in docs
    assert 'consequence-blocks">' not in docs
    assert "published with warnings, accepted" in " ".join(lamplighter("runs", "readings")[1].split())
    _, shown, _ = lamplighter("show", "readings", "--as-of", DAY)
    assert f"accepted by {me}: {BETWEEN_X}: {WHY}" in shown


def test_the_summary_in_the_ui_shows_it(blocked):
    from tasks.core.pages import render_markdown, summary_rows

    accept(blocked, BETWEEN_X)

    text = render_markdown(blocked.published())
    assert "**Accepted:**" in text
    assert "its values are right" in text
    assert {"figure": "accepted", "value": f"accepted by {getpass.getuser()}: {BETWEEN_X}: {WHY}"} in summary_rows(
        blocked.published()
    )


def test_the_type_alone_will_do_where_it_means_one_thing(blocked):
    assert accept(blocked, "expect_column_values_to_be_between").name == "PublishedWithWarnings"
    assert blocked.published().trigger.accept == (BETWEEN_X,)


def test_an_accepted_window_is_finished(blocked):
    accept(blocked, BETWEEN_X)
    before = blocked.partition_bytes()

    assert accept(blocked, BETWEEN_X, reason="once more").name == "AlreadyPublished"
    assert blocked.score().name == "AlreadyPublished"

    assert blocked.partition_bytes() == before


def test_a_later_rescore_does_not_inherit_it_and_readers_keep_what_they_have(blocked):
    accept(blocked, BETWEEN_X)
    accepted, before = blocked.published(), blocked.partition_bytes()
    blocked.write_rows(readings())

    state = blocked.score(rescore="the same rows once more")

    assert state.name == "Blocked", state.message
    assert blocked.partition_bytes() == before
    assert blocked.published() == accepted
    # Nobody can accept a run of a window that is published.
    assert "--accept" not in state.message


def test_whatever_else_blocks_still_blocks_and_all_of_it_is_named_at_once(world):
    rows = readings()
    rows.loc[:49, "kind"] = "lukewarm"
    world.write_rows(rows)
    world.write_suite(between("x", 0, 100), row_count(1000), known_kind())

    state = world.score()

    for said in (
        BETWEEN_X,
        f"{ROW_COUNT}(1000) fails: observed 200",
        "50 of 200 rows fail expect_column_values_to_be_in_set(kind)",
    ):
        assert said in state.message
    assert world.latest().blocked_by == (BETWEEN_X, ROW_COUNT, "quarantine_share")

    state = accept(world, BETWEEN_X)
    assert state.name == "Blocked"
    assert world.latest().blocked_by == (ROW_COUNT, "quarantine_share")
    assert world.latest().rows.quarantined == 50
    assert f"--accept '{BETWEEN_X}' --accept {ROW_COUNT} --accept quarantine_share" in state.message

    assert accept(world, ROW_COUNT, BETWEEN_X, "quarantine_share").name == "PublishedWithWarnings"
    assert len(world.published().accepted) == 3
    assert len(world.table()) == 150
    assert len(world.table("quarantine")) == 50


def test_what_had_not_failed_is_recorded_as_not_needed_and_warns_nobody(world):
    world.write_suite(between("x", -100, 100), row_count(10))

    assert accept(world, ROW_COUNT).name == "Published"

    manifest = world.published()
    assert (manifest.verdict, manifest.reasons) == ("published", ())
    assert [(one.gate, one.needed) for one in manifest.acceptances] == [(ROW_COUNT, False)]
    metrics = pd.read_parquet(world.folder / "lake/metrics/readings")
    assert metrics.loc[metrics["metric"] == "accepted", "value"].tolist() == [0.0]
    ((name, _),) = world.partition_bytes().items()
    path = world.folder / f"lake/predictions/readings/as_of={DAY}" / name
    assert "accepted" not in json.loads(pq.read_metadata(path).metadata[b"lamplighter"])


def test_without_a_blocked_run_the_source_is_pulled_and_the_acceptance_holds_if_the_gate_fails(world):
    world.write_suite(between("x", 0, 100))

    assert accept(world, BETWEEN_X).name == "PublishedWithWarnings"

    assert world.published().trigger.snapshot_of is None


def test_the_rows_that_were_blocked_are_judged_by_whatever_is_production_now(blocked):
    add_wrong_version(blocked)
    judged = blocked.latest()

    assert accept(blocked, BETWEEN_X).name == "PublishedWithWarnings"

    manifest = blocked.published()
    assert (manifest.model.version, manifest.snapshot.digest) == (2, judged.snapshot.digest)


def test_the_mended_feed_is_not_read_when_a_blocked_run_is_accepted(blocked):
    blocked.write_rows(readings(150))
    accept(blocked, BETWEEN_X)
    assert len(blocked.table()) == 200


def test_what_goes_out_can_be_accepted_too(world):
    suite = {"name": "scores", "expectations": [between("probability", 0, 0.5)], "meta": {}}
    (world.folder / "expectations/scores.json").write_text(json.dumps(suite))
    world.change_job(output__suite="scores")
    state = world.score()
    name = "expect_column_values_to_be_between(probability)"
    assert f"of 200 scored rows fail {name}; limit 5 %" in state.message

    assert accept(world, name).name == "PublishedWithWarnings"
    assert world.published().output_suite.expectations[0].consequence == "accepted"


@pytest.mark.extras
def test_the_volume_can_be_accepted_where_it_can_block(world):
    days = ("2024-05-01", "2024-05-02", "2024-05-03", "2024-05-04")
    world.write_rows(pd.concat([readings(200 if day != days[-1] else 20, day) for day in days]))
    world.change_job(output__volume={"severity": "critical"})
    for day in days[:3]:
        assert world.score(day).name == "Published"
    assert "20 rows were scored" in world.score(days[3]).message
    assert world.latest(days[3]).blocked_by == ("volume",)

    assert accept(world, "volume", as_of=days[3]).name == "PublishedWithWarnings"
    assert world.published(days[3]).volume.consequence == "accepted"


def test_an_expectation_that_could_not_be_checked_is_accepted_by_nobody(world, monkeypatch):
    from tasks.shards.validating import graph, merge

    def raised(suite, spec, *_):
        return merge._raised(graph.prepared(spec, suite).expectation, "ZeroDivisionError: no rows at all", "")

    world.write_suite(row_count(1000))
    monkeypatch.setattr(merge, "_validate", raised)

    state = accept(world, ROW_COUNT)

    assert state.name == "Blocked"
    assert "could not be checked: ZeroDivisionError: no rows at all, which nobody can accept" in state.message
    assert "--accept" not in state.message
    assert world.latest().blocked_by == ()


@pytest.mark.parametrize(
    ("gates", "reason", "says"),
    [
        (["expect_column_values_to_be_betwen(x)"], WHY, f"the window was blocked by {BETWEEN_X}"),
        (["model"], WHY, "is nothing that can be accepted"),
        (["volume"], WHY, "is nothing that can be accepted"),
        ([BETWEEN_X], "", "needs a reason, of 3 to 500 characters"),
        ([BETWEEN_X], "  x ", "needs a reason, of 3 to 500 characters"),
    ],
)
def test_what_cannot_be_accepted_is_refused_before_anything_is_done(blocked, lamplighter, gates, reason, says):
    before = blocked.latest()
    given = [part for gate in gates for part in ("--accept", gate)]

    code, out, err = lamplighter("score", "readings", "--as-of", DAY, *given, "--reason", reason)

    assert (code, out) == (2, "")
    assert says in err
    state = accept(blocked, *gates, reason=reason)
    assert (state.name, says in state.message) == ("Failed", True)
    assert blocked.latest() == before


def test_the_command_accepts_and_exits_0(blocked, lamplighter):
    code, out, _ = lamplighter("score", "readings", "--as-of", DAY, "--accept", BETWEEN_X, "--reason", WHY)

    assert code == 0
    assert out.startswith(f"readings {DAY}: published with warnings. 200 of 200 rows scored")
    assert blocked.published().acceptances[0].by == getpass.getuser()


def test_accept_and_rescore_exclude_each_other(world, lamplighter):
    code, _, err = lamplighter(
        "score", "readings", "--as-of", DAY, "--accept", "quarantine_share", "--reason", WHY, "--rescore", WHY
    )
    assert (code, "either accepts" in err) == (2, True)


def test_a_reason_alone_is_refused(world, lamplighter):
    code, _, err = lamplighter("score", "readings", "--as-of", DAY, "--reason", WHY)
    assert (code, "asks for nothing" in err) == (2, True)


def test_a_page_that_a_kill_left_behind_is_written_by_whoever_comes_next(blocked):
    page = blocked.folder / f"lake/reports/readings/as_of={DAY}.html"
    of_blocked = page.read_bytes()
    accept(blocked, BETWEEN_X)
    page.write_bytes(of_blocked)

    assert blocked.score().name == "AlreadyPublished"

    assert "<h1>Published with warnings</h1>" in page.read_text()
