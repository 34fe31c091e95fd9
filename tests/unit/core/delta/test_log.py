"""The log of a Delta table: what it says is what its commits say, in their order, whoever wrote them."""

import datetime as dt
import json
import shutil

import pytest

from tasks.core.delta import actions, log, upkeep
from tasks.core.errors import LakeCorrupt, LakeError
from tests import delta_scenes
from tests.delta_scenes import MADE_AT, TABLE
from tests.recall_scenes import write_part

DAY, NEXT = "2013-07-01", "2013-07-02"


@pytest.fixture
def table(lake):
    delta_scenes.begin(lake)
    return lake


def add(lake, label, name):
    """A commit that replaces what a partition shows by a file of three rows."""
    write_part(lake, f"{TABLE}/as_of={label}/{name}", 1, 3)
    new = actions.added(lake, TABLE, label, name, MADE_AT)

    def changes(found):
        old = [one for one in found.files.values() if log.label_of(one) == label]
        if new["add"]["path"] in [one["path"] for one in old]:
            return []
        return [*(actions.removed(one, MADE_AT) for one in old), new]

    return log.commit(lake, TABLE, changes)


def test_a_folder_without_a_commit_is_no_table(lake):
    assert log.read(lake, TABLE) is None
    lake.path(f"{TABLE}/_delta_log").mkdir(parents=True)
    lake.path(f"{TABLE}/_delta_log/.tmp-killed").write_bytes(b"{")
    assert log.read(lake, TABLE) is None


def test_a_replaced_file_is_no_longer_shown_and_stays(table):
    add(table, DAY, "a.parquet")
    add(table, NEXT, "b.parquet")
    found = add(table, DAY, "c.parquet")

    assert found.by_label() == {DAY: ["c.parquet"], NEXT: ["b.parquet"]} == delta_scenes.shown(table.root)
    assert log.read(table, TABLE) == found
    assert list(found.removed) == [f"as_of={DAY}/a.parquet"]
    assert table.exists(f"{TABLE}/as_of={DAY}/a.parquet")
    assert [len(one) for one in delta_scenes.commits(table.root)] == [3, 1, 1, 2]


def test_of_two_commits_at_once_both_are_there(table, monkeypatch):
    """The other one comes between what is read and what is written."""
    create = type(table).create

    def others_first(self, key, data):
        monkeypatch.undo()
        add(table, NEXT, "theirs.parquet")
        return create(self, key, data)

    write_part(table, f"{TABLE}/as_of={DAY}/mine.parquet", 1, 3)
    monkeypatch.setattr(type(table), "create", others_first)
    add(table, DAY, "mine.parquet")

    assert delta_scenes.shown(table.root) == {DAY: ["mine.parquet"], NEXT: ["theirs.parquet"]}
    assert len(delta_scenes.commits(table.root)) == 3


def test_a_commit_whose_answer_was_lost_is_not_done_twice(table, monkeypatch):
    create = type(table).create

    def answer_lost(self, key, data):
        monkeypatch.undo()
        assert create(self, key, data)
        return False

    monkeypatch.setattr(type(table), "create", answer_lost)
    found = add(table, DAY, "a.parquet")

    assert (found.version, found.by_label()) == (1, {DAY: ["a.parquet"]})
    assert len(delta_scenes.commits(table.root)) == 2


def test_who_never_comes_first_gives_up(table, monkeypatch):
    monkeypatch.setattr(type(table), "create", lambda *_: False)
    with pytest.raises(LakeError, match="100 commits of others came before"):
        add(table, DAY, "a.parquet")


def test_a_table_that_was_put_back_is_read_as_it_is(table, tmp_path):
    add(table, DAY, "a.parquet")
    shutil.copytree(table.root, tmp_path / "before")
    add(table, DAY, "b.parquet")
    assert log.read(table, TABLE).names(DAY) == ["b.parquet"]
    shutil.rmtree(table.root)
    shutil.copytree(tmp_path / "before", table.root)
    assert log.read(table, TABLE).names(DAY) == ["a.parquet"]
    # As many commits as were read before, and another last one.
    add(table, DAY, "c.parquet")
    assert log.read(table, TABLE).names(DAY) == ["c.parquet"]


def test_a_checkpoint_says_what_the_commits_before_it_said(table):
    for number in range(4):
        add(table, DAY if number % 2 else NEXT, f"{number}.parquet")
    whole = log.read(table, TABLE)
    upkeep.write_checkpoint(table, TABLE, whole)
    for version in range(whole.version + 1):
        table.remove(log.commit_key(TABLE, version))
    log._read_before.clear()

    found = log.read(table, TABLE)

    assert (found.version, found.by_label()) == (4, {DAY: ["3.parquet"], NEXT: ["2.parquet"]})
    assert (found.checkpoint, whole.checkpoint) == (4, 0)
    assert (found.files, found.removed) == (whole.files, whole.removed)
    assert (found.metadata, found.protocol) == (whole.metadata, whole.protocol)
    assert add(table, DAY, "5.parquet").version == 5


@pytest.mark.parametrize(
    ("number", "data", "said"),
    [
        (1, None, "000001.json is missing"),
        (2, b"", "commit 2 of the Delta table .* is empty"),
        (2, b'{"add": {"pa', "commit 2 of the Delta table .* cannot be read"),
        (2, b'{"add": {"size": 1}}', "commit 2 of the Delta table .* cannot be read: 'path'"),
    ],
)
def test_a_log_that_is_damaged_is_named(table, number, data, said):
    for name in "abc":
        add(table, DAY, f"{name}.parquet")
    path = table.path(log.commit_key(TABLE, number))
    path.unlink() if data is None else path.write_bytes(data)
    log._read_before.clear()
    with pytest.raises(LakeCorrupt, match=said) as raised:
        log.read(table, TABLE)
    assert "backup" in raised.value.next_step


@pytest.mark.parametrize("raised_to", [{"minReaderVersion": 3, "minWriterVersion": 7}, {"minWriterVersion": 4}])
def test_a_table_that_another_program_has_raised_is_left_alone(table, raised_to):
    protocol = {"minReaderVersion": 1, "minWriterVersion": 2} | raised_to
    table.write_bytes(log.commit_key(TABLE, 1), json.dumps({"protocol": protocol}).encode() + b"\n")
    with pytest.raises(LakeError, match=f"writer version {protocol['minWriterVersion']}: another program has raised"):
        add(table, DAY, "a.parquet")
    assert len(delta_scenes.commits(table.root)) == 2


def test_a_table_without_columns_is_not_begun_by_a_file(lake):
    with pytest.raises(LakeCorrupt, match="nothing of the table's columns"):
        add(lake, DAY, "a.parquet")
    assert not lake.exists(log.folder(TABLE))


def test_a_path_may_be_written_as_a_uri(table):
    """As Spark writes what is no plain name."""
    write_part(table, f"{TABLE}/as_of={DAY}/a b.parquet", 1, 3)
    one = actions.added(table, TABLE, DAY, "a b.parquet", MADE_AT)
    assert one["add"]["path"] == f"as_of={DAY}/a%20b.parquet"
    assert log.commit(table, TABLE, lambda _: [one]).names(DAY) == ["a b.parquet"]


def test_a_commit_says_who_when_and_what(table):
    (said,) = [
        one["commitInfo"]
        for one in [actions.said("WRITE", dt.datetime(2013, 7, 2, 0, 0, 1, tzinfo=dt.UTC), label=DAY, run_id="r")]
    ]
    assert (said["timestamp"], said["engineInfo"], said["lamplighter"]) == (
        1372723201000,
        "lamplighter",
        {"as_of": DAY, "run_id": "r"},
    )
    assert said["operationParameters"]["predicate"] == f"as_of = '{DAY}'"
