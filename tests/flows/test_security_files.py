"""Whatever the umask of whoever runs a flow or types a command: nothing that is made may be written by the world."""

import os
import stat

import pytest

from flows.audit import audit
from flows.monitor import monitor
from flows.promote import promote
from flows.prune import prune
from flows.recall import recall
from flows.rollback import rollback
from flows.train import train
from tasks.core.workers import stop_children
from tests.flows.conftest import make_project, make_warehouse, open_world

DAYS = ("2024-05-01", "2024-05-02", "2024-05-03")


@pytest.fixture
def careless(tmp_path, monkeypatch):
    """A world whose owner has a umask of nothing, and children that were born under it."""
    world = open_world(make_project(tmp_path / "project", batch_rows=60).folder, monkeypatch)
    make_warehouse(world).close()
    world.change_job(limits__quarantine_share=0.5, retention={"snapshots": "7d"})
    stop_children()
    before = os.umask(0)
    yield world
    os.umask(before)
    stop_children()


def what_the_world_may_write(*places):
    """Files and folders of which everybody may change the content."""
    every = [path for place in places for path in (place, *place.rglob("*"))]
    assert len(every) > 5
    return [str(path) for path in every if not path.is_symlink() and path.stat().st_mode & stat.S_IWOTH]


def made_since(known, folder):
    return [path for path in folder.rglob("*") if path not in known]


@pytest.mark.slow
def test_no_flow_makes_what_the_world_may_write(careless, tmp_path, monkeypatch, lamplighter):
    known = set((tmp_path / "project").rglob("*")) | {tmp_path / "project"}
    # A lake, and all above it, that is not there yet.
    lake = tmp_path / "srv/lakes/lake"
    (careless.folder / "lake").rename(tmp_path / "old")
    os.umask(0o022)
    (tmp_path / "srv").mkdir()
    os.umask(0)
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(lake))
    done = [train("readings", return_state=True)]
    done.append(promote("readings", 1, "the first", return_state=True))
    done += [careless.score(day) for day in DAYS]
    done.append(careless.score(DAYS[0], "once more"))
    done += [lamplighter(*command) for command in (
        ("score", "readings", "--as-of", DAYS[1], "--dry-run"),
        ("backfill", "readings", "--from", DAYS[0], "--to", DAYS[2], "--rescore", "to see that it is so", "--reason", "a test"),
        ("suggest", "readings", "--as-of", DAYS[0]),
        ("release", "readings", "--version", "1", "--output", str(tmp_path / "srv/readings-1.tar.gz")),
        ("init", str(tmp_path / "srv/new/churn")),
    )]  # fmt: skip
    train("readings", return_state=True)
    promote("readings", 2, "the second", force=True, return_state=True)
    monitor("readings", "2024-06-01", return_state=True)
    audit("readings", return_state=True)
    rollback("readings", "to see that it is so", return_state=True)
    recall("readings", 2, "to see that it is so", return_state=True)
    prune("readings", "yes", return_state=True)

    made = [path for path in made_since(known, tmp_path) if tmp_path / "old" not in (path, *path.parents)]
    tables = {path.relative_to(lake).parts[0] for path in made if lake in path.parents}
    assert {"models", "predictions", "runs", "reports", "metrics", "audits", "monitoring", "locks"} <= tables, (
        tables,
        done,
    )
    assert (tmp_path / "srv/new/churn/.gitignore").exists(), done[-1]
    assert (tmp_path / "srv/readings-1.tar.gz").exists(), done[-2]
    assert what_the_world_may_write(tmp_path / "srv") == []
    assert [str(path) for path in made if path.stat().st_mode & stat.S_IWOTH] == []


def test_the_check_finds_what_is_wrong(tmp_path):
    for name in "abcdef":
        (tmp_path / name).touch(0o644)
    (tmp_path / "a").chmod(0o666)
    assert what_the_world_may_write(tmp_path) == [str(tmp_path / "a")]
