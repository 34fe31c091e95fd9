"""Files in an object store as a job's source: read as they are on this machine, through cut connections, and errors named."""

import os
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.errors import SourceError
from tasks.core.storage import Lake
from tests.object_store_server import (
    CUT_ANSWER,
    CUT_REQUEST,
    LOSE_ANSWER,
    STATUS,
    Fault,
    make_bucket,
    proxy_to,
    s3_server,
    set_environment,
)
from tests.unit.core.source.test_source_files import opened, rows

pytestmark = pytest.mark.extras


@pytest.fixture(scope="module")
def s3():
    pytest.importorskip("moto.server")
    with s3_server() as address:
        yield address


@pytest.fixture
def proxy(s3, monkeypatch):
    with proxy_to(s3) as proxy:
        set_environment(monkeypatch, proxy)
        yield proxy


@pytest.fixture
def place(proxy, tmp_path):
    """Two Parquet files and one that is hidden."""
    address = f"s3://{make_bucket(proxy)}/in/coming"
    lake = Lake(address)
    for name, numbers in {"b.parquet": [3], "day=1/a.parquet": [1, 2], "_c.parquet": [4]}.items():
        pq.write_table(pa.table({"n": numbers}), tmp_path / "one")
        lake.write_bytes(name, (tmp_path / "one").read_bytes())
    return address


def test_a_folder_of_an_object_store_is_read_as_one_of_this_machine(place, tmp_path):
    assert rows(tmp_path, {"n": "int64"}, path=place)[0] == [{"n": 3}, {"n": 1}, {"n": 2}]
    assert rows(tmp_path, {"n": "int64"}, path=f"{place}/b.parquet")[0] == [{"n": 3}]
    Lake(place).remove("b.parquet")
    assert rows(tmp_path, {"n": "int64", "day": "int64"}, path=place, partitioning="hive")[0] == [
        {"n": 1, "day": 1},
        {"n": 2, "day": 1},
    ]


def test_csv_and_packed_csv_of_an_object_store(proxy, tmp_path):
    import gzip

    address = f"s3://{make_bucket(proxy)}/in"
    Lake(address).write_bytes("a.csv", b"n,t\n1,x\n2,y\n")
    Lake(address).write_bytes("b.csv.gz", gzip.compress(b"n,t\n3,z\n"))
    found, _ = rows(tmp_path, {"n": "int64", "t": "string"}, path=address, format="csv")
    assert found == [{"n": 1, "t": "x"}, {"n": 2, "t": "y"}, {"n": 3, "t": "z"}]


@pytest.mark.parametrize(
    "fault",
    [Fault(STATUS, 503, "SlowDown"), Fault(STATUS), Fault(CUT_REQUEST), Fault(LOSE_ANSWER), Fault(CUT_ANSWER)],
    ids=lambda one: f"{one.kind} {one.status}",
)
def test_what_fails_in_passing_is_read_all_the_same(proxy, place, tmp_path, fault):
    met = set()

    def spoil(asked):
        if asked.path in met:
            return None
        met.add(asked.path)
        return fault

    proxy.spoil = spoil
    assert rows(tmp_path, {"n": "int64"}, path=place, retries=5)[0] == [{"n": 3}, {"n": 1}, {"n": 2}]
    assert len(met) >= 3


def test_a_large_file_whose_connection_is_cut_in_the_middle_gives_every_row_once(proxy, tmp_path):
    numbers = np.random.default_rng(1).permutation(400_000)
    address = f"s3://{make_bucket(proxy)}/in"
    with Lake(address).parquet_writer("a.parquet", pa.schema([("n", pa.int64())])) as writer:
        for start in range(0, 400_000, 100_000):
            writer.write_table(pa.table({"n": numbers[start : start + 100_000]}))
    cut = []

    def spoil(asked):
        """Each third answer, in its middle."""
        if asked.method == "GET" and asked.key.endswith("a.parquet") and asked.number % 3 == 0:
            cut.append(asked)
            return Fault(CUT_ANSWER)
        return None

    proxy.spoil = spoil
    with opened(tmp_path, {"n": "int64"}, path=address, batch_rows=50_000, retries=5) as stream:
        found = np.concatenate([batch["n"].to_numpy() for batch in stream])
    assert cut
    assert (found == numbers).all()


def test_credentials_that_are_refused_and_a_bucket_that_is_not_there_are_named(proxy, place, tmp_path):
    with pytest.raises(SourceError, match=r"s3://nobody-made-this/in"):
        rows(tmp_path, {"n": "int64"}, path="s3://nobody-made-this/in")
    proxy.spoil = lambda _asked: Fault(STATUS, 403, "AccessDenied")
    with pytest.raises(SourceError, match=r"could not read s3://.*(ACCESS_DENIED|AccessDenied|403)") as refused:
        rows(tmp_path, {"n": "int64"}, path=place)
    assert "a-secret-that-nobody-may-see" not in str(refused.value)


def test_a_store_that_nobody_answers_for_is_named_in_bounded_time(place, tmp_path):
    """In a process of its own: Arrow reads the address once."""
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from tests.unit.core.source.test_source_files import rows\n"
        f"try: rows({str(tmp_path)!r}, {{'n': 'int64'}}, path={place!r})\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    started = time.monotonic()
    environment = os.environ | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    said = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment, timeout=120
    ).stdout
    assert "could not read s3://" in said
    assert time.monotonic() - started < 90


@pytest.mark.parametrize("address", ["gs://bucket/in", "abfss://box@account.dfs.core.windows.net/in"])
def test_other_stores_are_known_by_their_address(address):
    """Their file systems can be made; no server of theirs is asked here."""
    import pyarrow.fs

    system, path = pyarrow.fs.FileSystem.from_uri(address)
    assert system.type_name in ("gcs", "abfs")
    assert path.endswith("/in")
