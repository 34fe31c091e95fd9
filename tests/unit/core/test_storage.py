"""The one door to files: what a kill, a full disk, a second process or a hostile name must not bring about."""

import errno
import os
import pickle
import re
import stat
import types
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.errors import DefinitionError, LakeCorrupt, LakeError, LakeFull
from tasks.core.storage import Folder, Lake, system
from tasks.core.storage import lake as lake_module
from tests.lake_tools import SCHEMA, Killed, everything_in, failing, open_files, processes, rows, table_in, write

# Names


@pytest.mark.parametrize(
    "key",
    [
        "..",
        "../x",
        "a/../x",
        "a/..",
        ".",
        "a/./b",
        "/etc/passwd",
        "//a",
        "a//b",
        "a/",
        "/",
        "a\0b",
        "a\\b",
        "..\\x",
        "\0",
    ],
)
def test_a_key_that_would_leave_the_folder_is_refused_by_all(lake, key):
    folder = Folder(lake.root)
    uses = [
        folder.path,
        folder.exists,
        folder.names,
        folder.files,
        folder.size_bytes,
        folder.read_bytes,
        folder.sha256,
        folder.parquet,
    ]
    uses += [lake.remove, lake.sweep, lambda bad: lake.rename(bad, "x"), lambda bad: lake.rename("x", bad)]
    uses += [
        lambda bad: lake.write_bytes(bad, b""),
        lambda bad: lake.create(bad, b""),
        lambda bad: lake.append(bad, b""),
    ]
    uses += [lambda bad: lake.swap(bad, "x"), lambda bad: lake.swap("x", bad), lambda bad: lake.mend_swap(bad, "x")]
    uses += [lambda bad: write(lake, bad, rows()), lambda bad: lake.lock(bad, holder="me").__enter__()]
    for use in uses:
        with pytest.raises(DefinitionError, match="is not a path inside"):
            use(key)
    assert not lake.root.exists()


def test_odd_but_harmless_names_are_kept_as_they_are(lake):
    names = ["a...", "a..b", "as_of=2013-07-01", "ünïcode", "a b", "-rf", "a\nb", "*"]
    for name in names:
        lake.write_bytes(f"t/{name}", name.encode())
    assert lake.names("t") == sorted(names)
    assert [lake.read_text(f"t/{name}") for name in names] == names


def test_a_name_too_long_is_the_lakes_error(lake):
    lake.write_bytes("a", b"")
    for use in (lake.exists, lake.read_bytes, lambda key: lake.write_bytes(key, b"")):
        with pytest.raises(LakeError, match="too long"):
            use("x" * 300)


# Reading


def test_what_is_not_there(lake):
    assert lake.names() == lake.names("a") == lake.files() == lake.files("a") == []
    assert not lake.exists("a")
    for read in (
        lake.read_bytes,
        lake.read_text,
        lake.size_bytes,
        lake.sha256,
        lake.parquet,
        lambda key: lake.read_range(key, 0, 1),
    ):
        with pytest.raises(LakeError, match=r"(?i)no such file"):
            read("a/b")
    lake.write_bytes("a", b"")
    assert lake.names("a") == lake.files("a") == lake.names("a/b") == []


def test_names_and_files_are_sorted_and_names_hides_what_is_hidden(lake):
    for key in ("b/2", "b/1", "a", "b/.tmp-1", ".hidden"):
        lake.write_bytes(key, b"x")
    assert lake.names() == ["a", "b"]
    assert lake.names("b") == ["1", "2"]
    assert lake.files() == [".hidden", "a", "b/.tmp-1", "b/1", "b/2"]
    assert lake.files("b") == ["b/.tmp-1", "b/1", "b/2"]


def test_a_folder_that_may_not_be_read_is_not_taken_for_an_empty_one(lake, monkeypatch):
    lake.write_bytes("a/b", b"x")
    monkeypatch.setattr(os, "scandir", failing(errno.EACCES))
    with pytest.raises(LakeError, match="Permission denied"):
        lake.files("a")


def test_ranges_text_and_digest(lake):
    lake.write_bytes("a", "größe".encode())
    assert lake.read_range("a", 2, 3) == "ö".encode() + b"\xc3"
    assert lake.read_range("a", 5, 100) == b"\x9fe"
    assert lake.read_range("a", 100, 1) == b""
    assert lake.size_bytes("a") == 7
    # sha256sum
    lake.write_bytes("abc", b"abc")
    assert lake.sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    lake.write_bytes("a", b"fine\xff")
    with pytest.raises(LakeCorrupt, match=r"is not UTF-8 text .* at byte 4"):
        lake.read_text("a")


def test_equal_folders_are_of_one_kind_and_place_and_survive_pickling(tmp_path):
    assert Lake(tmp_path) == Lake(str(tmp_path))
    assert Folder(tmp_path) != Lake(tmp_path)
    assert Lake(tmp_path) != Lake(tmp_path / "a")
    assert pickle.loads(pickle.dumps(Lake(tmp_path))) == Lake(tmp_path)
    assert len({Lake(tmp_path), Lake(tmp_path), Folder(tmp_path)}) == 2


# Writing


def test_writing_replaces_as_a_whole_and_leaves_nothing_else(lake):
    lake.write_bytes("a/b", b"old and long")
    lake.write_bytes("a/b", b"new")
    assert lake.read_bytes("a/b") == b"new"
    lake.append("a/log", b"1")
    lake.append("a/log", b"2")
    assert lake.read_bytes("a/log") == b"12"
    assert everything_in(lake) == ["a/b", "a/log"]


def test_the_file_is_flushed_before_it_has_its_name_and_the_folder_after(lake, monkeypatch):
    lake.write_bytes("a/before", b"")  # A folder that is new is flushed as well: see test_storage_flush.
    target = lake.path("a/b")
    seen = []
    fsync = os.fsync

    def note(descriptor):
        seen.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), target.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    for put in (
        lambda: lake.write_bytes("a/b", b"x"),
        lambda: lake.create("a/b", b"x"),
        lambda: write(lake, "a/b", rows()),
    ):
        put()
        assert seen == [(False, False), (True, True)]
        seen.clear()
        lake.remove("a/b")


def test_of_two_that_create_one_wins(lake):
    assert lake.create("a", b"first") is True
    assert lake.create("a", b"second") is False
    assert lake.read_bytes("a") == b"first"
    assert everything_in(lake) == ["a"]


def _create(root, barrier, count, number, won):
    for key in range(count):
        barrier.wait()
        if Lake(root).create(f"race/{key}", str(number).encode()):
            won.put((key, number))


def test_of_processes_that_create_at_once_one_wins(lake):
    count, racers = 30, 3
    barrier, won = processes.Barrier(racers), processes.Queue()
    racing = [
        processes.Process(target=_create, args=(lake.root, barrier, count, number, won)) for number in range(racers)
    ]
    for one in racing:
        one.start()
    winners = sorted(won.get(timeout=60) for _ in range(count))
    for one in racing:
        one.join(60)
    assert won.empty()
    assert [key for key, _ in winners] == list(range(count))
    assert [int(lake.read_bytes(f"race/{key}")) for key in range(count)] == [number for _, number in winners]
    assert len(everything_in(lake)) == count


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_rights_that_the_user_decided_and_no_more(lake, umask, mode):
    before = os.umask(umask)
    try:
        lake.write_bytes("t/bytes", b"")
        lake.create("t/created", b"")
        lake.append("t/appended", b"")
        write(lake, "t/table", rows())
        with lake.lock("t/lock", holder="me"):
            modes = {name: stat.S_IMODE(lake.path(f"t/{name}").stat().st_mode) for name in lake.names("t")}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["bytes", "created", "appended", "table"], mode) | {"lock": mode & 0o644}
    assert not stat.S_IMODE(lake.path("t").stat().st_mode) & stat.S_IWOTH


# Tables


def test_a_table_carries_its_metadata_and_appears_when_the_block_ends(lake):
    with lake.parquet_writer("t/a", SCHEMA, metadata={"lamplighter": "{}"}) as writer:
        writer.write_table(rows(3))
        writer.write_table(rows(2, value=2.0))
        assert not lake.exists("t/a")
    with lake.parquet("t/a") as file:
        assert file.metadata.metadata[b"lamplighter"] == b"{}"
        assert file.num_row_groups == 2
    assert table_in(lake, "t/a")["x"].to_pylist() == [1, 1, 1, 2, 2]
    assert everything_in(lake) == ["t/a"]


def test_a_table_without_rows_is_a_table(lake):
    write(lake, "t", rows(0))
    with lake.parquet_writer("u", SCHEMA):
        pass
    for key in ("t", "u"):
        assert table_in(lake, key).equals(SCHEMA.empty_table())


@pytest.mark.parametrize(
    "raised",
    [
        ValueError("mine"),
        OSError(errno.ENOSPC, "mine"),
        pa.ArrowInvalid("mine"),
        StopIteration("mine"),
        Killed(),
        KeyboardInterrupt(),
    ],
)
@pytest.mark.parametrize("written", [0, 2])
def test_what_the_body_raises_passes_unchanged_and_leaves_nothing(lake, raised, written):
    write(lake, "t/a", rows(value=7.0))

    def body():
        with lake.parquet_writer("t/a", SCHEMA) as writer:
            for _ in range(written):
                writer.write_table(rows())
            raise raised

    before = open_files()
    with pytest.raises(type(raised)) as passed:
        body()
    assert passed.value is raised
    # Not even for as long as somebody looks at the error.
    assert open_files() <= before
    assert table_in(lake, "t/a")["x"].to_pylist() == [7, 7, 7]
    assert everything_in(lake) == ["t/a"]


def test_a_table_of_other_columns_is_the_callers_error(lake):
    with pytest.raises(ValueError, match="schema"):
        write(lake, "t", pa.table({"y": [1]}))
    assert everything_in(lake) == []


def damaged(content: bytes) -> list[bytes]:
    middle = len(content) // 2
    flipped = bytes([content[middle] ^ 1])
    return [
        b"",
        b"PAR1",
        b"nonsense",
        content[:middle],
        content[:-1],
        content[:middle] + flipped + content[middle + 1 :],
    ]


@pytest.mark.parametrize("kind", range(6))
@pytest.mark.parametrize(
    "read",
    [
        lambda file: file.read(),
        lambda file: file.read_row_group(0),
        lambda file: file.read_row_groups([0]),
        lambda file: list(file.iter_batches(10)),
    ],
    ids=["read", "read_row_group", "read_row_groups", "iter_batches"],
)
def test_a_damaged_table_is_never_read_as_another(lake, kind, read):
    # Random numbers do not compress: a bit that flips in them decodes, and only the page's checksum tells.
    write(lake, "t", pa.table({"x": np.random.default_rng(1).normal(size=1000)}))
    lake.write_bytes("t", damaged(lake.read_bytes("t"))[kind])
    with pytest.raises(LakeCorrupt, match=re.escape(lake.address("t"))), lake.parquet("t") as file:
        read(file)


def test_who_takes_batches_keeps_their_own_errors(lake):
    write(lake, "t", rows(100, value=0.0))
    with lake.parquet("t") as file:
        with pytest.raises(ZeroDivisionError):
            [1 / batch["x"][9].as_py() for batch in file.iter_batches(10)]
        assert sum(batch.num_rows for batch in file.iter_batches(30)) == 100


# What the operating system refuses


@pytest.mark.parametrize(
    ("number", "kind", "says"),
    [
        (
            errno.ENOSPC,
            LakeFull,
            "No space left on device. What was published stands as it was. Next: free space, and run it again.",
        ),
        (errno.EDQUOT, LakeFull, "Next: free space, and run it again."),
        (
            errno.EACCES,
            LakeError,
            "Permission denied. What was published stands as it was. Next: let this user write there",
        ),
        (
            errno.EROFS,
            LakeError,
            "Read-only file system. What was published stands as it was. Next: let this user write there",
        ),
        (errno.EIO, LakeError, "Input/output error. What was published stands as it was."),
    ],
)
@pytest.mark.parametrize("call", ["open", "fsync", "replace", "folder"])
def test_a_write_that_fails_says_so_in_a_paragraph_and_leaves_what_was(lake, monkeypatch, number, kind, says, call):
    lake.write_bytes("t/a", b"old")
    write(lake, "t/b", rows(value=7.0))
    if call == "fsync":
        monkeypatch.setattr(os, "fsync", failing(number))
    elif call == "folder":
        monkeypatch.setattr(Path, "mkdir", failing(number))
    else:
        monkeypatch.setattr(Path, call, failing(number))
    uses = [("t/a", lambda: lake.write_bytes("t/a", b"new"))]
    uses += [("t/b", lambda: write(lake, "t/b", rows()))] if call != "open" else []
    uses += [("t/c", lambda: lake.create("t/c", b"new"))] if call != "replace" else []
    for key, use in uses:
        with pytest.raises(kind) as failed:
            use()
        assert type(failed.value) is kind
        assert f"ould not write {lake.path(key)}: " in str(failed.value)
        assert says in str(failed.value)
        assert "\n" not in str(failed.value)
        assert isinstance(failed.value.__cause__, OSError)
    monkeypatch.undo()
    assert lake.read_bytes("t/a") == b"old"
    assert table_in(lake, "t/b")["x"].to_pylist() == [7, 7, 7]
    assert everything_in(lake) == ["t/a", "t/b"]


def test_a_disk_that_fills_in_the_middle_of_a_file_leaves_no_part_of_it(lake, monkeypatch):
    lake.write_bytes("t/a", b"old")

    def half(path, data):
        path.write_bytes(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(system, "write_flushed", half)
    for use in (lambda: lake.write_bytes("t/a", b"new"), lambda: lake.create("t/c", b"new")):
        with pytest.raises(LakeFull):
            use()
    assert lake.read_bytes("t/a") == b"old"
    assert everything_in(lake) == ["t/a"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device on which nothing has room")
@pytest.mark.parametrize("count", [0, 1, 100_000])
def test_a_disk_that_is_full_leaves_no_part_of_a_table(lake, monkeypatch, count):
    write(lake, "t/a", rows(value=7.0))
    # What is written goes to a device that is full: the error is the operating system's own, through Arrow.
    monkeypatch.setattr(lake_module, "uuid", types.SimpleNamespace(uuid4=lambda: types.SimpleNamespace(hex="full")))
    lake.path("t/.tmp-full").symlink_to("/dev/full")
    with pytest.raises(LakeFull) as failed:
        write(lake, "t/a", rows(count))
    _was_full(lake, failed.value)


@pytest.mark.parametrize(("call", "times"), [("write_table", 2), ("close", 0), ("add_key_value_metadata", 0)])
def test_a_disk_that_fills_in_the_middle_of_a_table_leaves_no_part_of_it(lake, monkeypatch, call, times):
    write(lake, "t/a", rows(value=7.0))
    original = getattr(pq.ParquetWriter, call)
    left = [times]

    def fill(writer, *args):
        left[0] -= 1
        return original(writer, *args) if left[0] >= 0 else failing(errno.ENOSPC)()

    def write_three():
        with lake.parquet_writer("t/a", SCHEMA, metadata={"k": "v"}) as writer:
            for _ in range(3):
                writer.write_table(rows())

    monkeypatch.setattr(pq.ParquetWriter, call, fill)
    with pytest.raises(LakeFull) as failed:
        write_three()
    monkeypatch.undo()
    _was_full(lake, failed.value)


def _was_full(lake, error):
    assert f"ould not write {lake.path('t/a')}: " in str(error)
    assert "No space left on device" in str(error)
    assert str(error).endswith(". What was published stands as it was. Next: free space, and run it again.")
    assert table_in(lake, "t/a")["x"].to_pylist() == [7, 7, 7]
    assert everything_in(lake) == ["t/a"]


def test_a_disk_that_breaks_in_the_middle_of_a_table_leaves_no_part_of_it(lake, monkeypatch):
    write(lake, "t/a", rows(value=7.0))
    monkeypatch.setattr(pq.ParquetWriter, "write_table", failing(errno.EIO))
    with pytest.raises(LakeError, match="Input/output error"):
        write(lake, "t/a", rows())
    assert table_in(lake, "t/a")["x"].to_pylist() == [7, 7, 7]
    assert everything_in(lake) == ["t/a"]


def test_a_lake_below_a_file_cannot_be_written_and_says_where(tmp_path):
    (tmp_path / "file").write_text("mine")
    lake = Lake(tmp_path / "file" / "lake")
    uses = [
        lambda: lake.write_bytes("a", b""),
        lambda: lake.create("a", b""),
        lambda: lake.append("a", b""),
        lambda: write(lake, "a", rows()),
    ]
    uses += [
        lambda: lake.lock("a", holder="me").__enter__(),
        lambda: lake.rename("a", "b"),
        lambda: lake.swap("a", "b"),
    ]
    for use in uses:
        with pytest.raises(LakeError, match=re.escape(str(tmp_path / "file"))):
            use()
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("call", ["scandir", "read_bytes", "open", "exists"])
def test_a_read_that_fails_is_the_lakes_error(lake, monkeypatch, call):
    lake.write_bytes("a/b", b"x")
    monkeypatch.setattr(os if call == "scandir" else Path, call, failing(errno.EIO))
    use = {"scandir": lake.names, "read_bytes": lake.read_bytes, "open": lake.sha256, "exists": lake.exists}[call]
    with pytest.raises(LakeError, match="Input/output error"):
        use("a/b")


def test_a_range_that_cannot_be_read_is_named(lake):
    with pytest.raises(LakeError, match=f"could not read {re.escape(str(lake.path('a')))}: No such file"):
        lake.read_range("a", 0, 1)


def test_an_error_without_a_word_is_told_by_its_name(lake):
    with (
        pytest.raises(LakeCorrupt, match=r"could not read .*/a: ArrowInvalid\."),
        system.lake_errors("read", lake.path("a")),
    ):
        raise pa.ArrowInvalid("")


@pytest.mark.parametrize(
    "read",
    [Lake.read_bytes, Lake.sha256, Lake.parquet, lambda lake, key: lake.read_range(key, 0, 1)],
    ids=["bytes", "sha256", "parquet", "range"],
)
@pytest.mark.timeout(20)
def test_a_pipe_in_a_file_s_place_is_refused_and_nobody_waits_for_it(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LakeError, match="a pipe, a socket or a device, and no file"):
        read(Lake(tmp_path), "pipe")
