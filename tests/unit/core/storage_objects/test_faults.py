"""An object store that fails: in passing it is tried again, and for good it is an error in our words, in bounded time."""

import datetime as dt
import pickle
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.errors import DefinitionError, LakeCorrupt, LakeError
from tasks.core.storage import Folder, Lake, object_store
from tests.lake_tools import SCHEMA, Killed, rows, table_in, write
from tests.object_store_server import (
    CUT_ANSWER,
    CUT_REQUEST,
    HOLD,
    LOSE_ANSWER,
    SLOW_ANSWER,
    STATUS,
    Fault,
    forget_stores,
    unfinished_uploads,
)

pytestmark = pytest.mark.extras

SECRET = "a-secret-that-nobody-may-see"
FAULTS = [
    Fault(STATUS, 500),
    Fault(STATUS, 503, "SlowDown"),
    Fault(CUT_REQUEST),
    Fault(LOSE_ANSWER),
    Fault(CUT_ANSWER),
    Fault(SLOW_ANSWER),
]


@pytest.fixture
def impatient(monkeypatch):
    """Gives up after one more attempt."""
    monkeypatch.setattr(
        object_store, "_RETRY", object_store._RETRY | {"max_retries": 1, "retry_timeout": dt.timedelta(seconds=5)}
    )
    monkeypatch.setattr(object_store, "_CLIENT", {"connect_timeout": "1s", "read_timeout": "500ms", "timeout": "2s"})
    forget_stores()
    yield
    forget_stores()


def first_of_each(proxy, fault, kinds=("GET", "PUT", "HEAD", "LIST", "COPY", "DELETE", "POST")):
    """Spoils the first request for each key and of each kind."""
    met = set()

    def spoil(asked):
        known = (asked.kind, asked.path)
        if asked.kind not in kinds or known in met:
            return None
        met.add(known)
        return fault

    proxy.spoil = spoil
    return met


def large(count: int = 3_000_000) -> pa.Table:
    """24 MB that do not compress: three parts and a rest."""
    return pa.table({"x": np.random.default_rng(1).normal(size=count)}, schema=SCHEMA)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: f"{one.kind} {one.status}")
def test_what_fails_in_passing_is_done_all_the_same(lake, proxy, fault):
    met = first_of_each(proxy, fault)
    lake.write_bytes("a/1", b"1" * 100_000)
    assert lake.create("a/2", b"2") is True
    assert lake.create("a/2", b"3") is False
    write(lake, "a/3", rows(5))
    assert lake.read_bytes("a/1") == b"1" * 100_000
    assert lake.read_bytes("a/2") == b"2"
    assert lake.sha256("a/2") == "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"
    assert lake.names("a") == ["1", "2", "3"]
    assert table_in(lake, "a/3").num_rows == 5
    with lake.parquet("a/3") as file:
        assert file.read()["x"].to_pylist() == [1.0] * 5
    lake.rename("a", "b")
    assert lake.swap("b", "c") is False or lake.names("c") == ["1", "2", "3"]
    lake.remove("c")
    assert lake.files() == []
    assert {kind for kind, _ in met} >= {"GET", "PUT", "HEAD", "LIST", "COPY"}


@pytest.mark.parametrize("fault", FAULTS[:4], ids=lambda one: f"{one.kind} {one.status}")
def test_an_upload_in_parts_survives_what_fails_in_passing(lake, proxy, bucket, fault):
    first_of_each(proxy, fault, kinds=("PUT", "POST"))
    table = large()
    write(lake, "t", table)
    assert {one.kind for one in proxy.asked} >= {"POST", "PUT"}
    assert table_in(lake, "t").equals(table)
    if fault.kind != LOSE_ANSWER:
        # An upload whose beginning was answered to nobody is one more that the lifecycle rule takes.
        assert unfinished_uploads(proxy, bucket) == 0


@pytest.mark.parametrize("raised", [ValueError("mine"), Killed(), KeyboardInterrupt()])
def test_an_upload_whose_block_fails_is_aborted(lake, proxy, bucket, raised):
    write(lake, "t", rows(value=7.0))

    def body():
        with lake.parquet_writer("t", SCHEMA) as writer:
            writer.write_table(large())
            raise raised

    with pytest.raises(type(raised)):
        body()
    assert table_in(lake, "t")["x"].to_pylist() == [7, 7, 7]
    assert any("uploads" in one.path for one in proxy.asked)
    assert unfinished_uploads(proxy, bucket) == 0


def test_an_upload_that_the_store_ends_is_an_error_and_aborted(lake, proxy, bucket, impatient):
    proxy.spoil = lambda one: Fault(STATUS, 500) if "partNumber=2" in one.path else None
    with pytest.raises(LakeError, match=r"could not write s3://.*/t: it answered 500 .*InternalError"):
        write(lake, "t", large())
    assert lake.files() == []
    assert unfinished_uploads(proxy, bucket) == 0


def test_a_file_on_its_way_is_seen_by_nobody_and_a_small_one_is_one_put(lake, proxy):
    with lake.parquet_writer("t", SCHEMA) as writer:
        writer.write_table(large(2_000_000))
        assert lake.files() == []
    assert lake.files() == ["t"]
    proxy.asked.clear()
    write(lake, "small", rows())
    assert [one.kind for one in proxy.asked] == ["PUT"]


def test_a_table_is_read_by_the_ranges_that_are_asked_for(lake, proxy):
    table = pa.table({name: np.random.default_rng(1).normal(size=400_000) for name in "abcdef"})
    with lake.parquet_writer("t", table.schema) as writer:
        for start in range(0, 400_000, 100_000):
            writer.write_table(table.slice(start, 100_000))
    proxy.asked.clear()
    with lake.parquet("t") as file:
        assert file.read_row_group(2, columns=["d"])["d"].equals(table["d"].slice(200_000, 100_000))
    fetched = sum(_length(one) for one in proxy.asked if one.kind == "GET")
    # Its end, and one column of one group: 1/24 of 19 MB.
    assert 700_000 < fetched < 1_200_000
    assert len(proxy.asked) <= 4
    proxy.asked.clear()
    with lake.parquet("t") as file:
        assert sum(batch.num_rows for batch in file.iter_batches(50_000)) == 400_000
    assert len(proxy.asked) < 15
    assert sum(_length(one) for one in proxy.asked if one.kind == "GET") < 25_000_000


def _length(asked) -> int:
    first, _, last = asked.headers["range"].removeprefix("bytes=").partition("-")
    return int(last) - int(first) + 1 if first else int(last)


def test_a_table_that_is_replaced_as_it_is_read_is_an_error_and_no_mixture(lake):
    table = large(400_000)
    write(lake, "t", table)
    with lake.parquet("t") as file:
        write(lake, "t", large(400_001))
        with pytest.raises(LakeError, match="replaced meanwhile"):
            file.read()


def test_a_read_that_is_cut_each_time_is_an_error(lake, proxy, impatient):
    lake.write_bytes("a", b"x" * 1000)
    proxy.spoil = lambda one: Fault(CUT_ANSWER) if one.kind == "GET" else None
    with pytest.raises(LakeError, match=r"could not read s3://.*/a: .*[Nn]ext: see that the object store answers"):
        lake.read_bytes("a")


def test_of_two_that_create_one_wins_and_lost_answers_make_nobody_wrong(lake, proxy):
    spoilt = first_of_each(proxy, Fault(LOSE_ANSWER), kinds=("PUT",))
    assert lake.create("a", b"same") is True
    # The very same bytes of somebody else are not ours.
    assert lake.create("a", b"same") is False
    assert len(spoilt) == 1
    # The answer of the conditional request is always lost.
    proxy.spoil = lambda one: Fault(LOSE_ANSWER) if one.is_conditional and one.key.endswith("b") else None
    assert lake.create("b", b"ours") is True
    assert lake.create("b", b"ours") is False


def refused(lake, use, *says):
    with pytest.raises(LakeError) as failed:
        use(lake)
    text = str(failed.value)
    for one in says:
        assert one in text
    assert "\n" not in text
    assert SECRET not in text
    assert "a-key" not in text


USES = {
    "read": lambda lake: lake.read_bytes("a"),
    "exists": lambda lake: lake.exists("a/b"),
    "names": lambda lake: lake.names("a"),
    "write": lambda lake: lake.write_bytes("a", b"1"),
    "create": lambda lake: lake.create("a", b"1"),
    "table": lambda lake: write(lake, "a", rows()),
    "lock": lambda lake: lake.lock("a", holder="me").__enter__(),
    "swap": lambda lake: lake.swap("a", "b"),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_credentials_that_are_refused(lake, proxy, impatient, use):
    proxy.spoil = lambda _one: Fault(STATUS, 403, "AccessDenied")
    refused(
        lake,
        use,
        "the object store refuses these credentials",
        "403",
        "Next: let them list, read, write and delete there",
    )


@pytest.mark.parametrize("use", [name for name in USES if name not in ("exists", "swap", "lock", "read")])
def test_a_bucket_that_is_not_there(proxy, impatient, use):
    refused(
        Lake("s3://nobody-made-this/lake"),
        USES[use],
        "there is no bucket s3://nobody-made-this",
        "Next: make the bucket",
    )


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_store_that_throttles_for_good(lake, proxy, impatient, use):
    proxy.spoil = lambda _one: Fault(STATUS, 503, "SlowDown")
    refused(lake, use, "503", "Next: see that the object store answers")


@pytest.mark.parametrize("use", ["read", "write", "lock"])
def test_a_store_that_nobody_answers_for(lake, monkeypatch, impatient, use):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    forget_stores()
    started = time.monotonic()
    refused(lake, USES[use], "nobody answers at the object store's address", "AWS_ENDPOINT_URL")
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("use", ["read", "write", "names"])
def test_a_store_that_never_answers_is_not_waited_for(lake, proxy, impatient, use):
    proxy.spoil = lambda _one: Fault(HOLD)
    started = time.monotonic()
    refused(lake, USES[use], "did not answer in time")
    assert time.monotonic() - started < 20


def test_http_is_for_those_who_allow_it(lake, monkeypatch, impatient):
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    forget_stores()
    refused(lake, USES["read"], "AWS_ALLOW_HTTP=true")


# Addresses


def test_an_address_is_one_place_however_it_is_written():
    assert Lake("s3://b/x/") == Lake("s3://b/x")
    assert Lake("s3://b").address("a/b") == "s3://b/a/b"
    assert Lake("s3://b/x").address() == "s3://b/x"
    assert Lake("s3://b/x").below("y").address("z") == "s3://b/x/y/z"
    assert Folder("s3://b/x") != Lake("s3://b/x")
    assert pickle.loads(pickle.dumps(Lake("gs://b/x"))) == Lake("gs://b/x")
    assert len({Lake("abfs://c@account/x"), Lake("abfs://c@account/x"), Folder("abfs://c@account/x")}) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        "ftp://b/x",
        "http://b/x",
        "s3://",
        "s3:///x",
        "s3://key:word@b/x",
        "s3://b/../x",
        "s3://b/x?secret=1",
        "s3://b/x//y",
    ],
)
def test_an_address_that_is_none_is_refused_without_its_secrets(wrong):
    with pytest.raises(DefinitionError) as refused:
        Lake(wrong)
    assert "word" not in str(refused.value)
    assert "secret=1" not in str(refused.value)


@pytest.mark.parametrize("key", ["..", "../x", "a/../x", "/a", "a//b", "a/", "a\0b", "a\\b", "a\nb"])
def test_a_key_that_would_leave_the_prefix_is_refused(lake, key):
    for use in (lake.exists, lake.read_bytes, lake.remove, lake.names, lambda one: lake.write_bytes(one, b"")):
        with pytest.raises(DefinitionError):
            use(key)
    assert lake.files() == []


def test_odd_but_harmless_names_are_kept_as_they_are(lake):
    names = ["a...", "a..b", "as_of=2013-07-01T10:00", "ünïcode", "a b", "-rf", "*", "a%20b", "a#b", "a?b", "a+b"]
    for name in names:
        lake.write_bytes(f"t/{name}", name.encode())
    assert lake.names("t") == sorted(names)
    assert [lake.read_text(f"t/{name}") for name in names] == names


def test_two_lakes_of_one_bucket_know_nothing_of_each_other(lake, bucket):
    other = Lake(f"s3://{bucket}/some/lake2")
    other.write_bytes("a", b"")
    assert (lake.files(), lake.exists("a"), lake.names()) == ([], False, [])


@pytest.mark.parametrize(
    "address",
    [
        "gs://bucket/x",
        "abfs://box@account.dfs.core.windows.net/x",
        "abfss://box@account.dfs.core.windows.net/x",
        "az://box/x",
    ],
)
def test_stores_of_other_kinds_are_opened_by_the_same_door(address, monkeypatch):
    """None of theirs is asked here."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    lake = Lake(address)
    assert lake.address("a/b") == f"{address}/a/b"
    assert type(lake._store._store).__name__ == ("GCSStore" if address.startswith("gs") else "AzureStore")


def test_a_store_that_lacks_what_it_needs_says_so(monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    forget_stores()
    with pytest.raises(DefinitionError, match=r"az://box cannot be used: .*Account must be specified.*AZURE_\*"):
        Lake("az://box/x").names()


def test_a_lake_without_the_extra_says_what_to_install():
    code = (
        "import sys; sys.modules['obstore'] = None\n"
        "from tasks.core.storage import Lake\n"
        "try: Lake('s3://b/x').names()\n"
        "except Exception as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "needs the package 'obstore'" in said
    assert "Next: pip install 'lamplighter[object-store]'" in said


def test_keys_in_the_project_s_env_file_count(proxy, bucket, monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in _taken(monkeypatch).items()))
    monkeypatch.chdir(tmp_path)
    forget_stores()
    lake = Lake(f"s3://{bucket}/x")
    lake.write_bytes("a", b"1")
    assert lake.read_bytes("a") == b"1"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP"):
        monkeypatch.delenv(name)


def _taken(monkeypatch) -> dict[str, str]:
    import os

    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP")
    found = {name: os.environ[name] for name in names}
    for name in names:
        monkeypatch.delenv(name)
    return found


def test_what_is_appended_to_is_scratch_of_this_machine(lake, proxy):
    lake.append("scratch/log", b"1")
    lake.append("scratch/log", b"22")
    assert (lake.read_bytes("scratch/log"), lake.size_bytes("scratch/log")) == (b"122", 3)
    assert lake.read_range("scratch/log", 1, 5) == b"22"
    assert lake.exists("scratch/log")
    assert pickle.loads(pickle.dumps(lake)).read_bytes("scratch/log") == b"122"
    assert not [one for one in proxy.asked if one.kind == "PUT"]
    assert lake.names("scratch") == ["log"]
    lake.remove("scratch")
    assert not lake.exists("scratch/log")


def test_a_copy_on_this_machine_is_there_for_as_long_as_it_is_needed(lake):
    write(lake, "t/a", rows())
    with lake.local("t/a") as path:
        assert pq.read_table(path).num_rows == 3
    assert not path.exists()
    with lake.local("t") as folder:
        assert [one.name for one in folder.iterdir()] == ["a"]
    with pytest.raises(LakeError, match="is no file of this machine"):
        lake.path("t/a")
    lake.write_bytes("t/b", b"no table")
    with pytest.raises(LakeCorrupt, match="/t/b"):
        lake.parquet("t/b")
