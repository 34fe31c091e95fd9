"""The door of records: whatever lies in the file, it is the record or one paragraph that names the file."""

import os

import pyarrow as pa
import pytest

from tasks.core.errors import LakeCorrupt, LakeError
from tasks.core.records import Record, parse_object, read_beside, read_record, said_by_file
from tasks.core.storage import Lake


class Entry(Record):
    name: str
    count: int = 0


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


def entry(lake, key="a.json"):
    return read_beside(lake, key, Entry, wrong="is not an entry", next_step="remove it")


def test_a_record_comes_back_and_one_that_is_not_there_is_none(lake):
    lake.write_bytes("a.json", b'{"name": "x", "count": 3}')
    assert entry(lake) == Entry(name="x", count=3)
    assert entry(lake, "b.json") is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "the file: Invalid JSON"),
        (b"\xff\xfe", "the file: Invalid JSON"),
        (b"[" * 100_000, "the file: Invalid JSON: recursion limit exceeded"),
        (b"[]", "the file: Input should be an object"),
        (b'{"name": 3}', "name: Input should be a valid string"),
        (b'{"name": "x", "count": ' + b"9" * 10_000 + b"}", "the file: Invalid JSON: number out of range"),
        (b'{"nome": "x", "count": "y"}', "name: Field required (2 more)"),
    ],
    ids=["empty", "no text", "deep", "a list", "a number", "a huge number", "three mistakes"],
)
def test_what_is_none_is_told_in_one_paragraph(lake, data, why):
    lake.write_bytes("a.json", data)
    with pytest.raises(LakeCorrupt) as told:
        entry(lake)
    assert str(told.value).startswith(f"{lake.path('a.json')} is not an entry: {why}")
    assert str(told.value).endswith(". It was left as it is. Next: remove it.")
    assert len(str(told.value)) < 1000


@pytest.mark.parametrize(
    "data",
    ["[" * 100_000, "9" * 10_000, "[1]", "nonsense", b"\xff"],
    ids=["deep", "huge", "a list", "words", "no text"],
)
def test_what_holds_no_object_is_told(data):
    with pytest.raises(LakeCorrupt, match=r"^it is none: "):
        parse_object(data, "it is none")


@pytest.mark.parametrize("said", [{}, {"lamplighter": '{"model": "late/0001"}'}])
def test_what_a_file_says_of_itself(lake, said):
    with lake.parquet_writer("a.parquet", pa.schema([("x", pa.int64())]), metadata=said):
        pass
    assert said_by_file(lake, "a.parquet") == ({"model": "late/0001"} if said else {})


def test_a_file_that_says_a_list_is_told(lake):
    with lake.parquet_writer("a.parquet", pa.schema([("x", pa.int64())]), metadata={"lamplighter": "[1]"}):
        pass
    with pytest.raises(LakeCorrupt, match="does not say what has written it: it holds no JSON object"):
        said_by_file(lake, "a.parquet")


@pytest.mark.timeout(20)
def test_nobody_waits_for_a_pipe(lake):
    lake.write_bytes("a.json", b"{}")
    lake.remove("a.json")
    os.mkfifo(lake.path("a.json"))
    reads = (lake.read_bytes, lake.read_text, lake.sha256, lake.parquet)
    for read in reads:
        with pytest.raises(LakeError, match="it is a pipe, a socket or a device, and no file"):
            read("a.json")
    with pytest.raises(LakeError, match="could not read"):
        read_record(lake, "a.json", Entry, wrong="is not an entry")
