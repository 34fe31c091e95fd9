"""A job says which format its table has: a plain one becomes a Delta table as it stands, and never the other way round."""

import pytest

from tasks.core import layout
from tasks.core.errors import DefinitionError, WindowBusy
from tasks.core.runs import formats
from tasks.core.runs.publication import staged
from tasks.core.runs.run import load_manifest, manifest_of, write_manifest
from tests import delta_scenes, publishing_scenes, recall_scenes
from tests.publishing_scenes import DAY, JOB, START

TABLE = f"predictions/{JOB}"
OTHER = "2024-04-30"


def job(**output):
    return publishing_scenes.job(output={"columns": {"p": {"type": "float64"}}, **output})


@pytest.fixture
def run(lake):
    return publishing_scenes.scored_run(lake, output={"columns": {"p": {"type": "float64"}}, "format": "delta"})


def put(run, label, *, without=()):
    """A plain partition, of the job's columns."""
    key = f"{TABLE}/as_of={label}/part-{label}.parquet"
    with run.lake.parquet(run.key(layout.checkpoint(0))) as file:
        rows = file.read().drop(list(without))
    with run.lake.parquet_writer(key, rows.schema) as writer:
        writer.write_table(rows)
    return key


def make_ready(run):
    formats.make_ready(run.lake, run.job, manifest_of(run), at=START)


def test_the_first_publication_finds_a_table_without_files(run):
    make_ready(run)
    assert delta_scenes.shown(run.lake.root, TABLE) == {}
    ((_, _, about),) = delta_scenes.commits(run.lake.root, TABLE)
    assert about["metaData"]["partitionColumns"] == ["as_of"]
    assert about["metaData"]["name"] == JOB
    make_ready(run)
    assert len(delta_scenes.commits(run.lake.root, TABLE)) == 1


def test_what_stands_becomes_a_delta_table_by_one_commit_and_no_file_is_written_again(run):
    keys = [put(run, OTHER), put(run, DAY, without=["scored_at"])]
    before = {key: (run.lake.path(key).stat().st_ino, run.lake.read_bytes(key)) for key in keys}
    make_ready(run)
    assert delta_scenes.shown(run.lake.root, TABLE) == {OTHER: [f"part-{OTHER}.parquet"], DAY: [f"part-{DAY}.parquet"]}
    assert {key: (run.lake.path(key).stat().st_ino, run.lake.read_bytes(key)) for key in keys} == before
    (commit,) = delta_scenes.commits(run.lake.root, TABLE)
    assert commit[0]["commitInfo"]["operation"] == "CONVERT"
    assert [one["add"]["dataChange"] for one in commit if "add" in one] == [False, False]


def test_of_two_that_begin_it_at_once_one_does(run, monkeypatch):
    put(run, OTHER)
    create = type(run.lake).create

    def other_first(self, key, data):
        # Of this change alone: the fixture's own stay.
        patched.undo()
        make_ready(run)
        return create(self, key, data)

    with monkeypatch.context() as patched:
        patched.setattr(type(run.lake), "create", other_first)
        make_ready(run)
    assert len(delta_scenes.commits(run.lake.root, TABLE)) == 1


@pytest.mark.parametrize(
    ("changes", "waits"), [({"job_digest": "another"}, True), ({}, False), ({"state": "concluded"}, True)]
)
def test_it_waits_for_what_began_before_the_job_said_so(run, changes, waits):
    """Another window of the same definition is no reason to."""
    put(run, OTHER)
    of_other = manifest_of(run).but(as_of=OTHER, run_id="other", **changes)
    write_manifest(run.lake, layout.workspace(JOB, OTHER, "other"), of_other)
    with run.lake.lock(layout.lock(JOB, OTHER), holder="a run"):
        if waits:
            with pytest.raises(WindowBusy, match=f"its window {OTHER} is being changed") as raised:
                make_ready(run)
            assert raised.value.next_step.endswith(f"lamplighter score {JOB} --as-of {DAY}")
            assert not run.lake.exists(f"{TABLE}/_delta_log")
        else:
            make_ready(run)
            assert delta_scenes.shown(run.lake.root, TABLE) == {OTHER: [f"part-{OTHER}.parquet"]}


def test_what_a_kill_left_of_a_plain_publication_is_ended_first(run):
    """It died between the two moves of a swap: what readers saw is beside the staged folder, and its folder is gone."""
    lake, workspace = run.lake, layout.workspace(JOB, OTHER, "new")
    recall_scenes.publish(lake, "old", 1, job=JOB, day=OTHER)
    intent = recall_scenes.stage(lake, "new", 2, job=JOB, day=OTHER, hour=1)
    write_manifest(lake, workspace, intent.but(state="publishing", replaces="old"))
    lake.rename(f"{TABLE}/as_of={OTHER}", f"{staged(workspace, layout.PREDICTIONS)}.old")

    make_ready(run)

    assert delta_scenes.shown(lake.root, TABLE) == {OTHER: ["part-old.parquet"]}
    assert load_manifest(lake, workspace).state == "running"


def test_plain_parquet_is_not_published_into_a_delta_table(run):
    formats.check_table(run.lake, job())
    make_ready(run)
    with pytest.raises(DefinitionError, match=f"{TABLE}/ is a Delta table") as raised:
        formats.check_table(run.lake, job())
    assert "output.format: delta" in raised.value.next_step
    # The shadow is another table.
    formats.check_table(run.lake, job(shadow=True))


@pytest.mark.parametrize("is_delta", [False, True])
def test_a_column_that_would_have_two_types_is_refused_before_anything_is_pulled(run, is_delta):
    put(run, OTHER)
    if is_delta:
        make_ready(run)
    retyped = job(format="delta", columns={"p": {"type": "string"}})
    with pytest.raises(DefinitionError, match="'p' as double, and the job would publish it as string"):
        formats.check_table(run.lake, retyped)
    formats.check_table(run.lake, job(format="delta", columns={"q": {"type": "string"}}))


def test_without_the_package_it_is_said_how_to_install_it(run, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda _: None)
    with pytest.raises(DefinitionError, match="needs the package 'deltalake'") as raised:
        formats.check_table(run.lake, run.job)
    assert raised.value.next_step == "pip install 'lamplighter[delta]'"
    formats.check_table(run.lake, job())


def test_a_column_of_a_type_that_delta_lacks_is_refused():
    with pytest.raises(DefinitionError, match="'p' of predictions/readings is time64"):
        formats.check_here(job(format="delta", columns={"p": {"type": "time"}}))
