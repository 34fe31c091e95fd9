"""Moves of folders in an object store, killed at every request: what is left is gone on with, and nothing is lost."""

import dataclasses

import pytest

from tasks.core.errors import LakeError
from tasks.core.storage import Lake, object_store, system
from tests.lake_tools import Killed
from tests.object_store_server import LOSE_ANSWER, Fault

pytestmark = pytest.mark.extras

OLD, NEW = {"part-old": b"old" * 100, "manifest.json": b"{1}"}, {"part-new": b"new" * 90, "manifest.json": b"{22}"}


def fill(lake: Lake, folder: str, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        lake.write_bytes(f"{folder}/{name}", content)


def held(lake: Lake) -> dict[str, bytes]:
    return {key: lake.read_bytes(key) for key in lake.files()}


def at(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in files.items()}


def killed_after(count: int, monkeypatch, act) -> bool:
    """Does it, and dies after so many changes; whether it came so far."""
    changes = []

    def die(change, key):
        changes.append(key)
        if len(changes) == count:
            raise Killed

    monkeypatch.setattr(system, "after_change", die)
    try:
        act()
    except Killed:
        return True
    finally:
        monkeypatch.setattr(system, "after_change", lambda *_: None)
    return False


def each_kill(monkeypatch, prepare, act, check) -> int:
    """Prepares, kills after the first change, the second and so on, and checks; how many there are."""
    count = 1
    while True:
        prepare()
        is_killed = killed_after(count, monkeypatch, act)
        check()
        if not is_killed:
            return count - 1
        count += 1


def test_a_first_publication_is_one_request_that_makes_it_visible(lake, proxy):
    lake.write_bytes("staged/part-1", b"1")
    proxy.asked.clear()
    assert lake.swap("staged", "table/w") is True
    changing = [(one.kind, one.key) for one in proxy.asked if one.kind not in ("GET", "LIST", "HEAD")]
    assert changing[0] == ("COPY", "some/lake/table/w/part-1")
    assert [kind for kind, _ in changing] == ["COPY", "DELETE"]
    assert held(lake) == {"table/w/part-1": b"1"}


def test_a_swap_says_that_it_was_not_atomic_and_never_shows_both(lake, monkeypatch):
    fill(lake, "staged", NEW)
    fill(lake, "table/w", OLD)
    seen = []
    monkeypatch.setattr(system, "after_change", lambda *_: seen.append(set(lake.names("table/w"))))
    assert lake.swap("staged", "table/w") is False
    assert not any({"part-old", "part-new"} <= names for names in seen)
    assert held(lake) == at("table/w", NEW) | at("staged", OLD)


def test_a_swap_of_the_same_bytes_takes_nothing_out_of_sight(lake, proxy):
    fill(lake, "staged", OLD)
    fill(lake, "table/w", OLD)
    proxy.asked.clear()
    assert lake.swap("staged", "table/w") is True
    assert {one.kind for one in proxy.asked} == {"LIST"}
    assert held(lake) == at("table/w", OLD) | at("staged", OLD)


@pytest.mark.parametrize(("old", "new"), [(OLD, NEW), ({"part-1": b"1"}, {"part-2": b"2"}), ({"p": b"1"}, {"p": b"2"})])
def test_a_kill_at_any_request_of_a_swap_is_mended_to_before_or_after(lake, monkeypatch, old, new):
    outcomes = []

    def prepare():
        lake.remove("staged")
        lake.remove("staged.old")
        lake.remove("table/w")
        fill(lake, "staged", new)
        fill(lake, "table/w", old)

    def check():
        lake.mend_swap("staged", "table/w")
        before, after = at("table/w", old) | at("staged", new), at("table/w", new) | at("staged", old)
        found = held(lake)
        assert found in (before, after)
        outcomes.append(found == after)
        lake.mend_swap("staged", "table/w")
        assert held(lake) == found

    assert each_kill(monkeypatch, prepare, lambda: lake.swap("staged", "table/w"), check) >= 6
    assert outcomes == sorted(outcomes)  # Undone up to one request, done from there on.
    assert set(outcomes) == {True, False}


def test_a_kill_at_any_request_of_mending_is_mended(lake, monkeypatch):
    def prepare():
        for key in ("staged", "staged.old", "table/w"):
            lake.remove(key)
        fill(lake, "staged", NEW)
        fill(lake, "table/w", OLD)
        assert killed_after(6, monkeypatch, lambda: lake.swap("staged", "table/w"))

    def check():
        lake.mend_swap("staged", "table/w")
        assert held(lake) in (at("table/w", OLD) | at("staged", NEW), at("table/w", NEW) | at("staged", OLD))

    assert each_kill(monkeypatch, prepare, lambda: lake.mend_swap("staged", "table/w"), check) >= 2


def test_a_kill_at_any_request_of_a_first_publication_is_mended(lake, monkeypatch):
    def prepare():
        lake.remove("staged")
        lake.remove("table/w")
        fill(lake, "staged", NEW)

    def check():
        lake.mend_swap("staged", "table/w")
        if lake.exists("staged"):
            lake.swap("staged", "table/w")
        assert held(lake) == at("table/w", NEW)

    assert each_kill(monkeypatch, prepare, lambda: lake.swap("staged", "table/w"), check) >= 4


def test_a_kill_at_any_request_of_a_move_is_gone_on_with(lake, monkeypatch):
    """And at no instant has a folder a manifest without the rest."""
    whole = set(OLD)

    def prepare():
        lake.remove("a")
        lake.remove("b")
        fill(lake, "a", OLD)

    def check():
        for folder in ("a", "b"):
            names = set(lake.names(folder))
            assert "manifest.json" not in names or names == whole
        lake.rename("a", "b")
        assert held(lake) == at("b", OLD)

    assert each_kill(monkeypatch, prepare, lambda: lake.rename("a", "b"), check) >= 4


def test_a_kill_at_any_request_of_taking_a_number_leaves_a_whole_version_or_none(lake, monkeypatch):
    def prepare():
        lake.remove("models")
        fill(lake, "models/.tmp-staged", OLD)

    def check():
        visible = lake.names("models")
        assert visible in ([], ["0001"])
        if visible:
            assert {name: lake.read_bytes(f"models/0001/{name}") for name in lake.names("models/0001")} == OLD
        # Who comes next finds the number taken, by all of it, or free.
        fill(lake, "models/.tmp-other", NEW)
        took = lake.try_rename("models/.tmp-other", "models/0001")
        assert took is not bool(visible) or lake.read_bytes("models/0001/manifest.json") == OLD["manifest.json"]
        assert lake.names("models") == ["0001"]
        assert {name: lake.read_bytes(f"models/0001/{name}") for name in lake.names("models/0001")} == (
            NEW if took else OLD
        )

    # A lease of this very process, which lives, would have to run out: it is as if the process were gone.
    monkeypatch.setattr("tasks.core.storage.leases.Record.is_of_a_dead_process_here", True)
    assert each_kill(monkeypatch, prepare, lambda: lake.try_rename("models/.tmp-staged", "models/0001"), check) >= 5


def test_what_something_else_stands_in_the_way_of_is_not_moved(lake):
    fill(lake, "a", OLD)
    fill(lake, "b", NEW)
    with pytest.raises(LakeError, match="File exists"):
        lake.rename("a", "b")
    assert held(lake) == at("a", OLD) | at("b", NEW)


def test_without_marks_two_objects_are_told_apart_by_their_bytes(lake, monkeypatch):
    """A store may give no ETag: the only copy of what is as long as another is not removed."""
    plain = object_store._found
    monkeypatch.setattr(object_store, "_found", lambda meta: dataclasses.replace(plain(meta), e_tag=""))
    fill(lake, "a", {"part": b"new"})
    fill(lake, "b", {"part": b"old"})
    with pytest.raises(LakeError, match="File exists"):
        lake.rename("a", "b")
    assert held(lake) == {"a/part": b"new", "b/part": b"old"}
    lake.write_bytes("b/part", b"new")
    lake.rename("a", "b")
    assert held(lake) == {"b/part": b"new"}


def test_a_copy_whose_answer_is_lost_is_made_again(lake, proxy):
    fill(lake, "a", OLD)
    lost = []
    proxy.spoil = lambda one: Fault(LOSE_ANSWER) if one.kind == "COPY" and not lost and not lost.append(one) else None
    lake.rename("a", "b")
    assert lost
    assert held(lake) == at("b", OLD)


def test_a_folder_is_removed_with_its_manifest_first(lake, monkeypatch):
    fill(lake, "runs/1", {"a": b"", "manifest.json": b"", "z": b""})
    seen = []
    monkeypatch.setattr(system, "after_change", lambda change, _key: seen.append((change, lake.files("runs"))))
    lake.remove("runs/1")
    assert seen == [("delete", ["runs/1/a", "runs/1/z"]), ("delete", []), ("remove", [])]
