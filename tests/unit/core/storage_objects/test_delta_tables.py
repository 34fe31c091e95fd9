"""A Delta table in an object store: one conditional PUT a publication, whatever becomes of its answer; read by the package."""

import pyarrow as pa
import pytest

from tasks.core import layout
from tasks.core.auditing import second_opinion
from tasks.core.delta import log, schema
from tasks.core.runs import formats
from tasks.core.runs.publication import visible_run
from tasks.core.runs.recalling import recalls
from tasks.core.runs.showing import live_runs
from tests import recall_scenes as scenes
from tests.object_store_server import LOSE_ANSWER, STATUS, Fault

pytestmark = pytest.mark.extras

TABLE, NEXT = "predictions/late", "2013-07-02"


@pytest.fixture
def delta(lake):
    pytest.importorskip("deltalake")
    scenes.add_versions(lake, 2)
    formats.begin(lake, TABLE, schema.fields_of(pa.schema([("x", pa.int64())]), table=TABLE), at=scenes.MIDNIGHT)
    return lake


def seen(lake, proxy):
    """What the package reads, by window; its keys come from the environment, as ours do."""
    import deltalake

    options = {"AWS_ALLOW_HTTP": "true", "AWS_ENDPOINT_URL": proxy.address}
    rows = deltalake.DeltaTable(lake.address(TABLE), storage_options=options).to_pandas()
    return {label: sorted(some) for label, some in rows.groupby("as_of")["x"]}


def test_the_audit_asks_the_package_there_too(delta, proxy):
    scenes.publish(delta, "one", 1)
    log.read(delta, TABLE)
    proxy.asked.clear()
    assert list(second_opinion.differences(delta, scenes.JOB)) == []
    agents = [
        one.headers.get("user-agent", "") for one in proxy.asked if f"/{log.LOG}/" in one.path or log.LOG in one.path
    ]
    assert len(agents) > 3


def commits_asked(proxy):
    return [
        one for one in proxy.asked if one.method == "PUT" and one.key.endswith(".json") and f"/{log.LOG}/" in one.key
    ]


def test_it_is_published_replaced_and_recalled_as_on_a_disk(delta, proxy):
    scenes.publish(delta, "good", 1)
    scenes.publish(delta, "next", 2, rows=2, day=NEXT)
    proxy.asked.clear()
    scenes.publish(delta, "bad", 2, rows=4, hour=1)
    (commit,) = commits_asked(proxy)
    assert commit.is_conditional
    assert (seen(delta, proxy), live_runs(delta, scenes.JOB)) == (
        {scenes.DAY: [2] * 4, NEXT: [2] * 2},
        {scenes.DAY: "bad", NEXT: "next"},
    )

    recalls.recall(delta, scenes.order(2), wait_seconds=0)

    assert (seen(delta, proxy), live_runs(delta, scenes.JOB)) == ({scenes.DAY: [1] * 3}, {scenes.DAY: "good"})
    assert delta.names(f"{layout.withdrawn(scenes.JOB, scenes.DAY, 'bad')}/predictions") == ["part-bad.parquet"]
    assert delta.exists(f"{TABLE}/as_of={scenes.DAY}/part-bad.parquet")


@pytest.mark.parametrize("fault", [Fault(LOSE_ANSWER), Fault(STATUS, 503, "SlowDown")], ids=["lost answer", "503"])
def test_a_commit_that_goes_wrong_once_is_done_once(delta, proxy, fault):
    scenes.publish(delta, "old", 1)
    proxy.asked.clear()
    proxy.spoil = lambda asked: fault if asked in commits_asked(proxy)[:1] else None
    scenes.publish(delta, "new", 2, hour=1)
    assert len(commits_asked(proxy)) > 1
    proxy.spoil = lambda _asked: None
    assert visible_run(delta, scenes.JOB, scenes.DAY) == "new"
    assert (log.read(delta, TABLE).version, seen(delta, proxy)) == (2, {scenes.DAY: [2] * 3})


def test_the_log_gets_its_checkpoint_there_too(delta, proxy):
    for number in range(10):
        scenes.publish(delta, f"r{number}", 1, rows=number + 1, hour=number)
    for version in range(10):
        delta.remove(log.commit_key(TABLE, version))
    log._read_before.clear()
    assert visible_run(delta, scenes.JOB, scenes.DAY) == "r9"
    assert seen(delta, proxy) == {scenes.DAY: [1] * 10}
