"""The flow `audit`: each link of the chain is broken in turn, and named; rows are scored again, and those that differ named."""

import json
import math
import shutil

import pyarrow as pa
import pytest

from tasks import audit as stages
from tasks.core import layout
from tasks.core.auditing import keeping, rescoring
from tasks.core.auditing.concluding import record_of
from tasks.core.errors import Differs, WorkerError
from tasks.core.models.registry import Registry
from tasks.core.runs.recalling.recalls import Recall
from tasks.core.runs.run import load_manifest, write_manifest
from tasks.core.workers import Workers
from tests.audit_scenes import (
    AT,
    DAYS,
    FIRST,
    KEYS,
    SECOND,
    THIRD,
    Hand,
    asked,
    bytes_below,
    put,
    sha256,
    walked,
    write_three_days,
)
from tests.flows.conftest import make_project, open_world

# Of the first day two rows are in quarantine for their key, one for its infinity, one was repeated: 60 + 2 rows were pulled.
SCORED = {FIRST: 57, SECOND: 60, THIRD: 60}


@pytest.fixture(scope="module")
def three_days(tmp_path_factory):
    """Three windows, published; it is copied for each test."""
    from tasks.core.runs import shards

    made = make_project(tmp_path_factory.mktemp("audit") / "project")
    write_three_days(made)
    with pytest.MonkeyPatch.context() as patch:
        open_world(made.folder, patch)
        # Children that score take longer to begin than all of this.
        patch.setattr(shards, "worker_count", lambda *_: 0)
        assert [made.score(day).name for day in DAYS] == ["Published"] * 3
    return made


@pytest.fixture
def world(three_days, tmp_path, monkeypatch):
    return open_world(tmp_path / "project", monkeypatch, like=three_days)


@pytest.fixture
def here(monkeypatch):
    """Batches are scored in this process, and scored again: a child takes seconds to begin."""
    monkeypatch.setattr("tasks.core.runs.shards.worker_count", lambda *_: 0)
    monkeypatch.setattr(stages, "Workers", lambda _count, seconds, pool: Workers(0, seconds, pool))


def audited(world, **more):
    """What an audit finds, without Prefect."""
    one = asked(world, **more)
    found = walked(world.lake, *one.scope)
    again = stages.score_sample_again(one, found)
    return record_of(one, found, again, keeping.newest(world.lake, "readings"), AT)


# -- the chain ------------------------------------------------------------------------------------------------------


def test_what_nobody_changed_is_whole(world):
    found = walked(world.lake)
    assert found.findings == []
    assert found.notes == []
    assert {one.as_of: one.rows.scored for one in found.published} == SCORED
    assert [one.label for one in found.versions] == ["readings/0001"]
    assert {one.keys for one in found.windows} == {KEYS}


def second_published(hand):
    other = hand.workspace.with_name("aaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb")
    shutil.copytree(hand.workspace, other)
    record = other / "manifest.json"
    record.write_text(record.read_text().replace(hand.part().stem.removeprefix("part-"), other.name))


def model_swapped_with_its_manifest(hand):
    hand.register_file("card.json", b'{"title": "another"}')


def without_row(table):
    return table.slice(1)


TAMPERINGS = {
    # what was done: (how, the link that is named, in which file, words of the finding)
    "a bit of the partition": (lambda h: h.flip(h.part()), "partition", "predictions/", "its SHA-256 is"),
    "a bit of the quarantine": (lambda h: h.flip(h.part("quarantine")), "partition", "quarantine/", "its SHA-256 is"),
    "a bit of the metrics": (lambda h: h.flip(h.part("metrics")), "partition", "metrics/", "its SHA-256 is"),
    "the partition cut": (lambda h: h.part().write_bytes(h.part().read_bytes()[:-9]), "partition", "predictions/", "SHA"),
    "the partition gone": (lambda h: shutil.rmtree(h.part().parent), "partition", "predictions/", "the file is missing"),
    "another file beside": (
        lambda h: h.part().with_name("part-x.parquet").write_bytes(b"x"), "stray", "part-x.parquet", "one that its manifest does not know"),
    "a partition of nobody": (
        lambda h: shutil.copytree(h.part().parent, h.part().parents[1] / "as_of=2024-05-09"),
        "stray", "as_of=2024-05-09", "manifests of the window do not know"),
    "a file in the table": (
        lambda h: (h.part().parents[1] / "x.parquet").write_bytes(b"x"), "stray", "readings/x.parquet", "no partition"),
    "in shadow too": (
        lambda h: shutil.copytree(h.part().parent, h.root / "shadow/readings" / f"as_of={SECOND}"),
        "stray", "shadow/", "manifests of the window do not know"),
    "the manifest gone": (lambda h: h.manifest.unlink(), "stray", "predictions/", "manifests of the window do not know"),
    "the manifest cut": (
        lambda h: h.manifest.write_bytes(h.manifest.read_bytes()[:99]), "manifest", "manifest.json", "no manifest ("),
    "the manifest edited": (
        lambda h: h.edit(lambda m: m.update(reasons=["all was well"]), reseal=False),
        "manifest", "manifest.json", "the digest of what it says is"),
    "the manifest of another window": (
        lambda h: h.edit(lambda m: m.update(as_of=THIRD)), "manifest", "manifest.json", f"its as_of is {THIRD}"),
    "two that are published": (second_published, "manifest", "as_of=", "what counts as published is the runs"),
    "a count": (
        lambda h: h.edit(lambda m: m["rows"].update(duplicates=1)), "rows", "manifest.json", "is 61, and must be 60"),
    "a key digest": (
        lambda h: h.edit(lambda m: m["key_digests"].update(scored="0" * 32)), "rows", "manifest.json", "digests of keys"),
    "the definition": (lambda h: h.edit(lambda m: m.update(job_digest="0" * 64)), "run", "manifest.json", "its plan_key"),
    "the code": (
        lambda h: h.edit(lambda m: m["code"].update(digest="0" * 64)), "run", "manifest.json", "its plan_key"),
    "the snapshot's digest": (
        lambda h: h.edit(lambda m: m["snapshot"].update(digest="0" * 32)), "run", "manifest.json", "the run_id that follows"),
    "a row less": (lambda h: h.rewrite(without_row), "rows", "predictions/", "its number of rows scored is 59, and must be 60"),
    "another key": (lambda h: h.rewrite(put("sensor", "s99999")), "rows", "predictions/", "the digest of its keys scored"),
    "a row of another run": (lambda h: h.rewrite(put("run_id", "x")), "rows", "predictions/", "run_id of a row is x"),
    "a row of another model": (
        lambda h: h.rewrite(put("model_version", "readings/0009")), "rows", "predictions/", "model_version of a row"),
    "a key in quarantine": (
        lambda h: h.rewrite(put("sensor", "s0", row=0), "quarantine"), "rows", "quarantine/", "the digest of its keys quar"),
    "the metadata": (
        lambda h: h.rewrite(lambda rows: rows, says='{"run_id": "x"}'), "metadata", "predictions/", "what its metadata says of"),
    "no metadata": (lambda h: h.rewrite(lambda rows: rows, says="{}"), "metadata", "predictions/", "of as_of (and of"),
    "a bit of the snapshot": (
        lambda h: h.flip(h.workspace / "snapshot.parquet"), "snapshot", "snapshot.parquet", "its SHA-256 is"),
    "the snapshot gone": (
        lambda h: (h.workspace / "snapshot.parquet").unlink(), "snapshot", "snapshot.parquet", "the file is missing"),
    "the snapshot's record gone": (
        lambda h: (h.workspace / "snapshot.json").unlink(), "snapshot", "snapshot.json", "the file is missing"),
    "a value of the snapshot": (
        lambda h: h.rewrite_snapshot(put("x", 9.0)), "snapshot", "snapshot.parquet", "the digest of its rows"),
    "a repetition": (
        lambda h: h.rewrite_snapshot(lambda rows: rows.slice(1), "duplicates.parquet"),
        "snapshot", "snapshot.parquet", "its number of rows that repeat another is 0, and must be 1"),
    "the model's file": (
        lambda h: h.flip(h.version / "model.joblib"), "model", "model.joblib", "as it was registered"),
    "the model's file gone": (lambda h: (h.version / "model.joblib").unlink(), "model", "model.joblib", "missing"),
    "a file more in the version": (
        lambda h: (h.version / "notes.txt").write_text("x"), "model", "notes.txt", "one that its manifest does not know"),
    "the model and its manifest": (model_swapped_with_its_manifest, "model", "0001/manifest.json", "as the manifests of"),
    "the model's manifest": (
        lambda h: (h.version / "manifest.json").write_text("{}"), "model", "0001/manifest.json", "no manifest of a version"),
    "the version gone": (lambda h: shutil.rmtree(h.version), "model", "0001/manifest.json", "missing"),
}  # fmt: skip
ON_THE_FIRST_DAY = ("a key in quarantine", "a repetition")


@pytest.mark.parametrize("name", TAMPERINGS)
def test_what_was_changed_is_named(world, name):
    tamper, link, file, words = TAMPERINGS[name]
    as_of = FIRST if name in ON_THE_FIRST_DAY else SECOND
    tamper(Hand(world.lake, as_of))

    found = walked(world.lake).findings

    hits = [one for one in found if one.link == link and file in one.file and words in one.sentence]
    assert hits, [one.sentence for one in found]
    assert all(one.next_step for one in found)
    # What is whole is not blamed.
    assert {one.as_of for one in found} <= {as_of, "", "2024-05-09"}
    assert "\n" not in " ".join(one.sentence for one in found)


def test_a_manifest_of_before_seals_is_a_note(world):
    hand = Hand(world.lake)
    hand.edit(lambda said: said.pop("digest"), reseal=False)
    found = walked(world.lake)
    assert found.findings == []
    assert found.notes == ["1 manifests were written before manifests had a digest: an edit of these shows less"]


def test_a_window_that_a_run_is_changing_is_left_out(world):
    hand = Hand(world.lake)
    with world.lake.lock(layout.lock("readings", SECOND), holder="a run"):
        hand.part().unlink()
        found = walked(world.lake)
    assert found.findings == []
    assert [(one.as_of, "at work" in one.why) for one in found.left_out] == [(SECOND, True)]
    assert {one.as_of for one in found.published} == {FIRST, THIRD}


def test_a_window_that_was_changed_between_two_looks_is_looked_at_again(world, monkeypatch):
    from tasks.core.auditing import chain

    path, plain = Hand(world.lake).part(), chain.check
    right = path.read_bytes()
    path.write_bytes(b"")

    def check_as_it_is_mended(lake, job, seen, keys):
        found = plain(lake, job, seen, keys)
        if seen.as_of == SECOND and path.read_bytes() != right:
            # What stood there was replaced while it was looked at: another state of the window.
            path.write_bytes(right)
            Hand(lake).edit(lambda said: said["timings"].clear())
        return found

    monkeypatch.setattr(chain, "check", check_as_it_is_mended)
    found = walked(world.lake)
    assert (found.findings, found.left_out) == ([], [])


def test_a_run_that_was_killed_as_it_published_is_no_break(world):
    hand = Hand(world.lake)
    hand.edit(lambda said: said.update(state="publishing"))
    found = walked(world.lake)
    assert found.findings == []
    assert "was killed as it changed the window" in found.left_out[0].why


def test_what_retention_took_is_no_break(world, here):
    hand = Hand(world.lake)
    taken = {"at": "2024-05-20T00:00:00Z", "kind": "snapshots", "policy": "10d", "what": ["snapshot.parquet"]}
    hand.edit(lambda said: said.update(pruned=[taken]))
    for name in ("snapshot.parquet", "snapshot.json", "rejects.parquet", "duplicates.parquet"):
        (hand.workspace / name).unlink()
    record = audited(world)
    assert record.findings == ()
    assert {one.as_of for one in record.rescored} == {FIRST, THIRD}
    assert {(one.as_of, one.is_retention) for one in record.not_rescored} == {(SECOND, True)}
    assert "retention" in record.not_rescored[0].why


# -- scored again ---------------------------------------------------------------------------------------------------


def test_all_rows_come_out_again_to_the_last_bit_and_nothing_is_left(world, here):
    before = bytes_below(world.folder / "lake")
    record = audited(world)
    assert (record.findings, record.not_rescored) == ((), ())
    assert record.rows_compared == sum(SCORED.values())
    assert {
        one.as_of: sum(each.rows for each in record.rescored if each.as_of == one.as_of) for one in record.rescored
    } == SCORED
    assert all(one.is_exact and not one.differing for one in record.rescored)
    assert bytes_below(world.folder / "lake") == before


def test_the_same_seed_draws_the_same_and_rows_are_a_bound(world, here):
    draws = [
        [(one.as_of, one.batch) for one in audited(world, rows=30, seed=seed).rescored] for seed in (1, 1, 2, 3, 4)
    ]
    assert draws[0] == draws[1]
    assert len({tuple(one) for one in draws}) > 1
    assert all(2 <= len(one) <= 3 for one in draws)


@pytest.mark.parametrize(
    ("column", "value"),
    [("probability", 0.123), ("kind", "lukewarm"), ("at", None), ("probability", None), ("probability", math.nan)],
)
def test_a_forger_who_mends_every_hash_is_found_by_the_model(world, here, column, value):
    Hand(world.lake).rewrite(put(column, value))
    assert walked(world.lake).findings == []

    record = audited(world)

    (found,) = record.findings
    assert (found.link, found.as_of, found.batch) == ("scores", SECOND, 1)
    assert f"1 of 25 rows of batch 1, in {column} (1)" in found.what
    (example,) = record.examples
    assert (example.key, example.column) == ({"sensor": "s000052"}, column)
    assert example.published in (str(value), "null", "nan")
    assert f"lamplighter score readings --as-of {SECOND} --rescore" in found.next_step


def test_one_unit_in_the_last_place_is_found_and_let_be_where_the_environment_is_another(world, here):
    hand = Hand(world.lake)
    (right,) = hand_value(hand)
    hand.rewrite(put("probability", math.nextafter(right, 1)))
    assert audited(world).rows_differing == 1

    hand.edit(lambda said: said["environment"].update(numpy="1.0.0"))

    record = audited(world)
    assert record.findings == ()
    (of_day,) = {one.other_than_then for one in record.rescored if one.as_of == SECOND}
    assert len(of_day) == 1
    assert of_day[0].startswith("numpy (1.0.0 then, ")
    # More than that is found in any case, and what has changed is said.
    hand.rewrite(put("probability", right + 1e-9))
    (found,) = audited(world).findings
    assert "within 1e-12" in found.expected
    assert "other than then: numpy (1.0.0 then" in found.expected


def hand_value(hand):
    import pyarrow.parquet as pq

    return pq.read_table(hand.part(), columns=["probability"], partitioning=None)["probability"].to_pylist()[5:6]


def test_a_row_that_went_into_quarantine_behind_everybody_s_back_is_missed(world, here):
    hand = Hand(world.lake, THIRD)

    def swap_keys(table):
        # Two rows under each other's keys: the digest of keys is the same.
        names = table["sensor"].to_pylist()
        names[1], names[2] = names[2], names[1]
        return table.set_column(0, table.schema.field(0), pa.array(names))

    hand.rewrite(swap_keys)
    record = audited(world, scope=(THIRD,))
    assert record.rows_differing == 2
    assert {one.key["sensor"] for one in record.examples} == {"s000013", "s000023"}


def test_of_a_damaged_partition_the_rows_that_were_changed_are_named(world, here):
    hand = Hand(world.lake)
    records = json.loads(hand.manifest.read_bytes())
    hand.rewrite(put("probability", 0.123, row=40))
    # The manifest is as it was: the file's hash tells, and scoring again tells which row.
    hand.manifest.write_text(json.dumps(records))
    record = audited(world, rows=100, seed=3)
    assert [one.link for one in record.findings] == ["partition"]
    assert [(one.column, one.published) for one in record.examples] == [("probability", "0.123")]


def test_what_cannot_be_read_is_said_and_keeps_nothing_else_from_being_audited(world, here):
    Hand(world.lake).flip(Hand(world.lake).part())
    Hand(world.lake).flip(Hand(world.lake, FIRST).part("quarantine"))
    record = audited(world)
    assert {one.as_of for one in record.not_rescored} >= {FIRST}
    assert {one.as_of for one in record.rescored} >= {THIRD}
    assert {one.as_of for one in record.findings} == {FIRST, SECOND}


def test_a_swapped_model_scores_nothing(world, here):
    Hand(world.lake).flip(Hand(world.lake).version / "model.joblib")
    record = audited(world)
    assert record.rescored == ()
    assert {one.why for one in record.not_rescored} == {"its model readings/0001 is not what was registered"}


def test_a_recalled_version_is_audited_all_the_same(world, here):
    Registry(world.lake).recall("readings", 1, at=AT, actor="test", reason="a test")
    record = audited(world)
    assert (record.findings, record.rows_compared) == ((), sum(SCORED.values()))


def test_a_history_without_its_end_is_found_by_the_record_of_a_recall(world, here):
    """Without it the version could score and be promoted again, and nobody would know."""
    registry = Registry(world.lake)
    event = registry.recall("readings", 1, at=AT, actor="test", reason="a test")
    record = Recall(model="readings", version=1, at=AT)
    world.lake.write_bytes(layout.recall_record("readings", 1), record.model_dump_json().encode())
    assert audited(world).findings == ()
    world.lake.path(f"models/readings/events/{event.sequence:06d}.json").unlink()
    (found,) = audited(world).findings
    assert (found.link, found.what, found.found) == ("model", "that version 1 was recalled", "not in the history")
    assert found.next_step.startswith("restore models/readings/events/ from a backup")


def test_a_gap_in_a_history_is_a_finding(world, here):
    Registry(world.lake).recall("readings", 1, at=AT, actor="test", reason="a test")
    world.lake.path("models/readings/events/000001.json").unlink()
    (found,) = audited(world).findings
    assert (found.link, found.what) == ("model", "the history")
    assert "000001.json must be" in found.found


def test_a_superseded_partition_that_was_damaged_is_a_note(world):
    """A window that was mended leaves there what was damaged: that is no alarm for ever."""
    hand = Hand(world.lake)
    kept = layout.superseded("readings", SECOND, hand.workspace.name)
    manifest = load_manifest(world.lake, layout.workspace("readings", SECOND, hand.workspace.name))
    write_manifest(world.lake, kept, manifest.but(state="superseded"))
    (world.lake.path(kept) / "predictions").mkdir()
    (world.lake.path(kept) / "predictions" / hand.part().name).write_bytes(b"damaged")
    found = walked(world.lake)
    assert found.findings == []
    assert [("a recall could not bring it back" in note) for note in found.notes] == [True]


# -- told and kept --------------------------------------------------------------------------------------------------


@pytest.fixture
def told(monkeypatch):
    """A server that stays, and what it was told."""
    sent = []
    monkeypatch.setattr(stages.events, "has_server", lambda: True)
    monkeypatch.setattr(stages.events, "tell", lambda *a, **k: sent.append((a, k)) or True)
    return sent


def kept(world, record):
    keeping.keep(world.lake, record)
    return stages.tell_found(asked(world), record)


def test_the_same_findings_are_told_once_and_again_when_they_come_again(world, here, told):
    hand = Hand(world.lake)
    right = hand.part().read_bytes()
    hand.flip(hand.part())
    assert [kept(world, audited(world)) for _ in range(2)] == [True, False]
    ((_, sent),) = told
    assert sent["payload"]["next_step"].startswith("restore the file from a backup")
    hand.part("metrics").write_bytes(b"")
    assert kept(world, audited(world))
    hand.part().write_bytes(right)
    assert not kept(world, audited(world))
    hand.flip(hand.part())
    assert kept(world, audited(world))
    assert len(told) == 3


def test_an_audit_of_one_window_leaves_what_is_known_of_the_others(world, here):
    hand = Hand(world.lake)
    right = hand.part().read_bytes()
    hand.flip(hand.part())
    keeping.keep(world.lake, audited(world))
    other = audited(world, scope=(THIRD,))
    assert (other.findings, [one.as_of for one in other.carried]) == ((), [SECOND])
    keeping.keep(world.lake, other)
    hand.part().write_bytes(right)
    mended = audited(world, scope=(SECOND,))
    assert mended.standing == ()


def test_rows_that_differed_are_scored_again_whatever_is_drawn(world, here):
    Hand(world.lake).rewrite(put("probability", 0.123))
    keeping.keep(world.lake, audited(world))
    # A seed that draws another window.
    for seed in range(20):
        record = audited(world, rows=1, seed=seed)
        assert [(one.as_of, one.batch) for one in record.findings] == [(SECOND, 1)]


# -- the whole flow, and the command --------------------------------------------------------------------------------


def test_the_command_proves_in_a_child_process_and_names_what_was_changed(world, lamplighter, told, monkeypatch):
    monkeypatch.setattr("tasks.core.runs.shards.worker_count", lambda *_: 0)
    code, out, err = lamplighter("audit", "readings", "--rows", "1")
    assert (code, err) == (0, "")
    assert "readings: what readers see is what the records say." in out
    assert "bit by bit" in out
    hand = Hand(world.lake)
    hand.flip(hand.part())
    # One child is enough.
    monkeypatch.setattr(stages, "Workers", lambda _count, seconds, pool: Workers(0, seconds, pool))

    code, out, err = lamplighter("audit", "readings", "--as-of", SECOND, "--rows", "1")

    assert code == 3
    assert str(hand.part()) in out
    assert str(hand.part()) in err
    assert f'lamplighter score readings --as-of {SECOND} --rescore "its partition was damaged" --from-snapshot' in err
    (((event, job, as_of), _),) = told
    assert (event, job, as_of) == ("lamplighter.audit.failed", "readings", SECOND)
    index = (world.folder / "lake/reports/readings/index.html").read_text()
    assert "break found by the audit of" in index
    assert "audit: 1 break" in (world.folder / "lake/reports/index.html").read_text()
    code, out, _ = lamplighter("status", "readings", "--json")
    (said,) = json.loads(out)
    assert (code, said["exit_code"], said["audit_findings_count"]) == (3, 3, 1)

    # What the error says to type mends it.
    code, _, err = lamplighter("score", "readings", "--as-of", SECOND, "--rescore", "damaged", "--from-snapshot")
    assert (code, err) == (0, "")
    assert walked(world.lake).findings == []


def test_the_flow_ends_in_a_state_of_its_own(world, here):
    from flows.audit import audit

    assert (audit("readings", return_state=True).type.value, audit("readings", return_state=True).name) == (
        "COMPLETED",
        "Proven",
    )
    Hand(world.lake).flip(Hand(world.lake).part())
    state = audit("readings", return_state=True)
    assert (state.type.value, state.name) == ("FAILED", "Differs")
    assert "Nothing was changed, and readers see what they saw" in state.message
    assert isinstance(state.result(raise_on_failure=False), Differs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("audit", "nobody"), "there is no job 'nobody'"),
        (("audit", "readings", "--as-of", "2024-13-01"), "2024-13-01"),
        (("audit", "readings", "--as-of", "2031-01-01"), "there is nothing to audit"),
    ],
)
def test_what_is_not_there_is_refused(world, lamplighter, arguments, words):
    code, _, err = lamplighter(*arguments)
    assert code == 2
    assert words in err


def test_what_is_mended_by_scoring_again_is_whole(world, here):
    """The same rows, model and code are the same run: it takes its own place, and nothing of it is taken up that was changed."""
    first, second, third = (Hand(world.lake, day) for day in DAYS)
    first.flip(first.part("quarantine"))
    second.flip(second.workspace / "snapshot.parquet")
    third.edit(lambda said: said.update(reasons=["all was well"]), reseal=False)
    assert {one.as_of for one in walked(world.lake).findings} == {*DAYS}
    runs = [hand.workspace.name for hand in (first, second, third)]

    assert [world.score(day, rescore="it was damaged").name for day in DAYS] == ["Published"] * 3

    assert walked(world.lake).findings == []
    assert [hand.workspace.name for hand in (first, second, third)] == runs


def test_a_window_without_rows_is_whole(world, here):
    world.change_job(on_empty="publish")
    assert world.score("2024-05-04").name == "Published"
    record = audited(world, scope=("2024-05-04",))
    assert (record.findings, record.windows, record.rows, record.rescored, record.not_rescored) == ((), 1, 0, (), ())


def test_a_job_in_shadow_is_audited_where_it_shows(world, here):
    world.change_job(output__shadow=True)
    for table in (layout.TABLES, ("runs", "audits")):
        for name in table:
            shutil.rmtree(world.folder / "lake" / name, ignore_errors=True)
    assert world.score(SECOND).name == "Published"
    record = audited(world)
    assert (record.findings, record.rows_compared) == ((), 60)
    (part,) = (world.folder / "lake/shadow/readings").rglob("*.parquet")
    Hand(world.lake).flip(part)
    assert [(one.link, str(part) in one.file) for one in walked(world.lake).findings] == [("partition", True)]


def test_an_older_run_of_another_definition_is_told_by_its_own_columns(world, here):
    """Keys, pass-through columns and the job's digest are of now; the file says which they were."""
    world.change_job(keys=["sensor", "kind"], output__pass_through=["kind", "y"], description="another")
    found = walked(world.lake)
    assert found.findings == []
    from tasks.core.auditing.walking import walk

    now = walk(world.lake, "readings", ("sensor", "kind"))
    assert (now.findings, {one.keys for one in now.windows}) == ([], {KEYS})
    record = audited(world)
    assert (record.findings, record.rows_compared) == ((), sum(SCORED.values()))
    Hand(world.lake).rewrite(put("probability", 0.123))
    assert [one.link for one in audited(world).findings] == ["scores"]
    assert "the job's definition is another than the run's" in audited(world).notes[0]


def test_a_model_that_takes_its_process_with_it_costs_its_window_and_is_no_break(world, here, monkeypatch):
    def dies(_task, _batch):
        raise WorkerError("the process that worked on it died")

    monkeypatch.setattr(stages, "audit_batch", dies)
    record = audited(world)
    assert (record.findings, record.rescored) == ((), ())
    assert {one.as_of for one in record.not_rescored} == {*DAYS}
    # After some deaths in a row nobody is asked any more.
    assert sum("died" in one.why for one in record.not_rescored) == 5


def reshape(hand, **record):
    """Other numbers in both records of a snapshot."""
    path = hand.workspace / "snapshot.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | record))
    hand.edit(lambda said: said["snapshot"].update(record))


HOSTILE = {
    "no rows a batch": lambda h: reshape(h, batch_rows=0),
    "endless batches": lambda h: reshape(h, batches=10**15, rows=10**15, batch_rows=1),
    "rows below none": lambda h: reshape(h, rows=-5),
    "fewer rows than none": lambda h: h.edit(lambda said: said["rows"].update(pulled=-60, scored=-60)),
    "a model out of the lake": lambda h: h.edit(lambda said: said["model"].update(name="../../../etc")),
    "a model of no name": lambda h: h.edit(lambda said: said["model"].update(name="")),
    "a version below none": lambda h: h.edit(lambda said: said["model"].update(version=-3)),
    "key digests of letters": lambda h: h.edit(lambda said: said["key_digests"].update(pulled="zzz")),
    "a file out of the lake": lambda h: h.edit(lambda said: said["files"]["predictions"].update(key="../../x")),
    "a schema of nothing": lambda h: h.rewrite(lambda rows: rows.select([])),
    "without keys": lambda h: h.rewrite(lambda rows: rows.drop_columns(["sensor"])),
    "a snapshot of one column": lambda h: h.rewrite_snapshot(lambda rows: rows.select(["x"])),
    "text for parquet": lambda h: (h.part().write_text("x"), h.edit(
        lambda said: said["files"]["predictions"].update(bytes=1, sha256=sha256(h.part())))),
    "a folder for a file": lambda h: (h.part().unlink(), h.part_folder.joinpath(f"part-{h.workspace.name}.parquet").mkdir()),
    "a file of the version out of it": lambda h: h.register_file("../0001/card.json", b"{}"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_was_written_there_is_a_finding_and_keeps_nothing_else_from_being_audited(world, name):
    HOSTILE[name](Hand(world.lake))
    found = walked(world.lake)
    assert found.findings
    drawn = rescoring.to_score(asked(world), found, None)
    assert {as_of for as_of, _ in drawn} >= {FIRST, THIRD}
    assert len(drawn) < 20


@pytest.mark.parametrize("name", ["without keys", "a snapshot of one column", "fewer rows than none"])
def test_what_cannot_be_scored_again_costs_no_other_window(world, here, name):
    HOSTILE[name](Hand(world.lake))
    record = audited(world)
    assert {one.as_of for one in record.rescored} >= {FIRST, THIRD}
    assert len(record.model_dump_json()) < 200_000


def test_a_window_whose_partition_is_gone_is_published_by_another_run_and_by_no_other(world, here):
    """Whose code or definition is another than then: the lost run counts as published no more."""
    hand = Hand(world.lake)
    shutil.rmtree(hand.part().parent)
    lost = hand.workspace.name
    world.change_job(limits__quarantine_share=0.6)
    assert world.score(SECOND, rescore="it was lost").name == "Published"
    assert walked(world.lake).findings == []
    said = load_manifest(world.lake, layout.workspace("readings", SECOND, lost))
    assert (said.state, said.superseded_by) == ("superseded", world.published(SECOND).run_id)


def test_two_at_once_are_one_after_the_other(world, monkeypatch):
    from tasks.core.errors import WindowBusy

    monkeypatch.setattr(stages, "_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(stages, "scheduled_at", lambda: AT)
    with stages.auditing("readings", (), 0, "") as first:
        assert first.day == "2024-06-01"
        with (
            pytest.raises(WindowBusy, match="the audit of readings on 2024-06-01"),
            stages.auditing("readings", (), 0, ""),
        ):
            pass
    with stages.auditing("readings", (SECOND,), 7, "42") as again:
        assert (again.scope, again.rows, again.seed) == ((SECOND,), 7, 42)
