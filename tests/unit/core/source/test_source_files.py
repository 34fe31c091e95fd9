import datetime as dt
import errno
import gzip

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.core.definitions.column_types import parse_type
from tasks.core.definitions.source import FilesSource
from tasks.core.definitions.window import Window
from tasks.core.errors import DefinitionError, SchemaBlocked, SourceError
from tasks.core.rows.conform import conform
from tasks.core.source import SourceUnavailable, open_source, problems
from tasks.core.storage import Folder

DAY = Window("2013-07-01", dt.datetime(2013, 7, 1, 4, tzinfo=dt.UTC), dt.datetime(2013, 7, 2, 4, tzinfo=dt.UTC))
KNOWN_AT = dt.datetime(2013, 7, 2, 6, 30, tzinfo=dt.UTC)
SNAPSHOT = Window("2013-07-01", DAY.start, DAY.start)
# One second before the window, its first and its last second, its end, and none.
TIMES = [
    dt.datetime(2013, 7, 1, 3, 59, 59, tzinfo=dt.UTC),
    dt.datetime(2013, 7, 1, 4, tzinfo=dt.UTC),
    dt.datetime(2013, 7, 2, 3, 59, 59, tzinfo=dt.UTC),
    dt.datetime(2013, 7, 2, 4, tzinfo=dt.UTC),
    None,
]


def opened(folder, columns, *, path="data", window=DAY, event_time=None, batch_rows=1_000, naive_zone=None, **fields):
    schema = pa.schema([(name, parse_type(kind)) for name, kind in columns.items()])
    return open_source(
        FilesSource(type="files", path=path, **{"retries": 0, **fields}),
        query=None,
        window=window,
        known_at=KNOWN_AT,
        columns=schema,
        event_time=event_time,
        project=Folder(folder),
        batch_rows=batch_rows,
        naive_zone=naive_zone,
    )


def rows(folder, columns, *, naive_zone=None, **options):
    """The rows in the declared types, and row, column and value of each rejection."""
    schema = pa.schema([(name, parse_type(kind)) for name, kind in columns.items()])
    found, rejected, first = [], [], 0
    with opened(folder, columns, naive_zone=naive_zone, **options) as stream:
        for batch in stream:
            assert 0 < batch.num_rows <= options.get("batch_rows", 1_000)
            result, reasons = conform(batch, schema, first, naive_zone=naive_zone)
            found += result.to_pylist()
            rejected += [(row, reason.column, reason.value) for row, reason in reasons]
            first += batch.num_rows
    return found, rejected


def write(path, columns, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)


# --- Parquet


def test_only_declared_columns_are_read_in_the_order_of_names(tmp_path):
    write(tmp_path / "data/b.parquet", {"n": [3], "other": ["x"]})
    write(tmp_path / "data/a.parquet", {"n": [1, 2], "other": ["x", "y"]})
    write(tmp_path / "data/sub/c.parquet", {"n": [4], "other": ["x"]})
    write(tmp_path / "data/_tmp/d.parquet", {"n": [5]})
    write(tmp_path / "data/.hidden.parquet", {"n": [6]})
    (tmp_path / "data/_SUCCESS").touch()
    with opened(tmp_path, {"n": "int64"}) as stream:
        assert stream.extra == ("other",)
        batches = list(stream)
    assert [batch.schema.names for batch in batches] == [["n"]] * 3
    assert [value for batch in batches for value in batch["n"].to_pylist()] == [1, 2, 3, 4]


def test_one_file_may_be_the_source_and_batches_are_no_longer_than_asked(tmp_path):
    write(tmp_path / "data.parquet", {"n": list(range(2_500))})
    with opened(tmp_path, {"n": "int64"}, path="data.parquet") as stream:
        lengths = [batch.num_rows for batch in stream]
    assert sum(lengths) == 2_500
    assert max(lengths) <= 1_000


@pytest.mark.parametrize("path", ["{}/data", "file://{}/data", "./data", "data/"])
def test_a_path_is_relative_absolute_or_a_uri(tmp_path, path):
    write(tmp_path / "data/a.parquet", {"n": [1]})
    assert rows(tmp_path, {"n": "int64"}, path=path.format(tmp_path))[0] == [{"n": 1}]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_a_window_takes_its_rows_and_those_without_event_time(tmp_path, unit, zone):
    write(tmp_path / "data/a.parquet", {"at": pa.array(TIMES, pa.timestamp(unit, zone)), "n": range(5)})
    found, _ = rows(tmp_path, {"n": "int64", "at": "timestamp"}, event_time="at")
    assert [row["n"] for row in found] == [1, 2, 4]
    assert [row["at"] for row in found] == [TIMES[1], TIMES[2], None]


def test_row_groups_outside_the_window_are_not_read(tmp_path, monkeypatch):
    first = dt.datetime(2013, 6, 1, tzinfo=dt.UTC)
    hours = [first + dt.timedelta(hours=hour) for hour in range(24 * 60)]
    write(tmp_path / "data/a.parquet", {"at": pa.array(hours, pa.timestamp("us", "UTC"))}, row_group_size=24)
    with opened(tmp_path, {"at": "timestamp"}, event_time="at") as stream:
        assert sum(batch.num_rows for batch in stream) == 24
    # The first half of the file is not even there: the window lies in the second.
    raw = bytearray((tmp_path / "data/a.parquet").read_bytes())
    end = pq.ParquetFile(tmp_path / "data/a.parquet").metadata.row_group(20).column(0).data_page_offset
    raw[4:end] = bytes(end - 4)
    (tmp_path / "data/a.parquet").write_bytes(raw)
    with opened(tmp_path, {"at": "timestamp"}, event_time="at") as stream:
        assert sum(batch.num_rows for batch in stream) == 24


def test_a_snapshot_takes_every_row(tmp_path):
    write(tmp_path / "data/a.parquet", {"at": pa.array(TIMES, pa.timestamp("us", "UTC")), "n": range(5)})
    assert len(rows(tmp_path, {"n": "int64"}, window=SNAPSHOT)[0]) == 5
    assert len(rows(tmp_path, {"n": "int64"})[0]) == 5


def test_an_event_time_that_is_text_is_read_before_the_window_is_taken(tmp_path):
    texts = [
        "2013-07-01 03:59:59",
        "2013-07-01T00:00:00-04:00",
        "2013-07-02T03:59:59Z",
        "2013-07-02 04:00",
        "soon",
        None,
    ]
    write(tmp_path / "data/a.parquet", {"at": texts, "n": range(6)})
    found, rejected = rows(tmp_path, {"n": "int64", "at": "timestamp"}, event_time="at")
    assert [row["n"] for row in found] == [1, 2, 4, 5]
    assert rejected == [(2, "at", "'soon'")]


def test_an_event_time_without_zone_blocks_unless_a_zone_is_given(tmp_path):
    local = [time and time.replace(tzinfo=None) - dt.timedelta(hours=4) for time in TIMES]
    write(tmp_path / "data/a.parquet", {"at": pa.array(local, pa.timestamp("us")), "n": range(5)})
    with pytest.raises(SchemaBlocked, match="instant without zone"):
        rows(tmp_path, {"n": "int64", "at": "timestamp"}, event_time="at")
    found, _ = rows(tmp_path, {"n": "int64", "at": "timestamp"}, event_time="at", naive_zone="America/New_York")
    assert [row["n"] for row in found] == [1, 2, 4]
    assert found[0]["at"] == TIMES[1]


def test_files_may_differ_in_type_but_not_in_columns(tmp_path):
    write(tmp_path / "data/a.parquet", {"n": pa.array([1], pa.int32())})
    write(tmp_path / "data/b.parquet", {"n": ["2"]})
    assert rows(tmp_path, {"n": "int64"})[0] == [{"n": 1}, {"n": 2}]
    write(tmp_path / "data/c.parquet", {"m": [3]})
    with pytest.raises(SchemaBlocked, match=r"c\.parquet lacks declared columns: 'n'; found: 'm'"):
        rows(tmp_path, {"n": "int64"})


def test_the_values_of_hive_paths_are_text_until_they_are_declared(tmp_path):
    for day, code in (("2013-07-01", "007"), ("2013-07-02", "__HIVE_DEFAULT_PARTITION__"), ("2013-07-03", "a%2Fb")):
        write(tmp_path / f"data/day={day}/code={code}/x.parquet", {"n": [1]})
    columns = {"day": "date", "code": "string", "n": "int64"}
    found, _ = rows(tmp_path, columns, partitioning="hive")
    assert [row["day"].day for row in found] == [1, 2, 3]
    assert [row["code"] for row in found] == ["007", None, "a/b"]
    with pytest.raises(SchemaBlocked, match="lacks declared columns: 'day', 'code'"):
        rows(tmp_path, columns)


def test_dictionaries_of_parquet_are_text(tmp_path):
    write(tmp_path / "data/a.parquet", {"c": pa.array(["EWR", None, "EWR"]).dictionary_encode()})
    assert [row["c"] for row in rows(tmp_path, {"c": "string"})[0]] == ["EWR", None, "EWR"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"",
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:-8] + b"\xff" * 4 + raw[-4:],
        lambda raw: b"this is no Parquet file at all" * 10,
        lambda raw: raw[:4] + b"\xff" * 60 + raw[64:],
    ],
    ids=["empty", "truncated", "footer", "other", "pages"],
)
def test_a_spoilt_parquet_file_is_named(tmp_path, spoil):
    write(tmp_path / "data/a.parquet", {"n": list(range(1_000))})
    spoilt = tmp_path / "data/b.parquet"
    write(spoilt, {"n": list(range(1_000))})
    spoilt.write_bytes(spoil(spoilt.read_bytes()))
    with pytest.raises(SourceError, match=r"could not read .*/data/b\.parquet: .+ Next: ") as error:
        rows(tmp_path, {"n": "int64"})
    assert not isinstance(error.value, SourceUnavailable)
    assert error.value.__cause__ is None


def test_a_path_without_files_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"there is no .*/data"):
        rows(tmp_path, {"n": "int64"})
    (tmp_path / "data").mkdir()
    (tmp_path / "data/_SUCCESS").touch()
    with pytest.raises(SourceError, match=r"there is no file in .*/data"):
        rows(tmp_path, {"n": "int64"})


def test_paths_do_not_leave_the_project_nor_hold_secrets(tmp_path):
    with pytest.raises(DefinitionError, match="not a path inside"):
        rows(tmp_path, {"n": "int64"}, path="../data")
    # A person's YAML with this is refused by parse_job, whose message leaves the value out.
    with pytest.raises(ValidationError, match="holds a secret"):
        rows(tmp_path, {"n": "int64"}, path="s3://KEY:canary@bucket/data")
    with pytest.raises(SourceError, match="could not read nosuch://x"):
        rows(tmp_path, {"n": "int64"}, path="nosuch://x/y")


def test_a_network_that_fails_is_tried_again(tmp_path, monkeypatch):
    write(tmp_path / "data/a.parquet", {"n": [1]})
    failures = [OSError(errno.ECONNRESET, "reset"), OSError("AWS Error NETWORK_CONNECTION during HeadObject")]
    really, naps = pyarrow.dataset.dataset, []

    def flaky(*args, **kwargs):
        if failures:
            raise failures.pop()
        return really(*args, **kwargs)

    monkeypatch.setattr(pyarrow.dataset, "dataset", flaky)
    monkeypatch.setattr(problems, "_sleep", naps.append)
    assert rows(tmp_path, {"n": "int64"}, retries=2)[0] == [{"n": 1}]
    assert len(naps) == 2


def test_a_failure_after_the_first_batch_is_for_the_caller_to_restart(tmp_path, monkeypatch):
    for name in "ab":
        write(tmp_path / f"data/{name}.parquet", {"n": [1]})
    really = pyarrow.dataset.dataset

    def flaky(path, **kwargs):
        if path.endswith("b.parquet"):
            raise OSError(errno.ETIMEDOUT, "timed out")
        return really(path, **kwargs)

    monkeypatch.setattr(pyarrow.dataset, "dataset", flaky)
    with opened(tmp_path, {"n": "int64"}, retries=5) as stream:
        assert next(stream).num_rows == 1
        with pytest.raises(SourceUnavailable, match=r"b\.parquet.*timed out") as error:
            next(stream)
    assert error.value.transient


# --- CSV


def csv(tmp_path, text, name="data/a.csv"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_csv_is_text_until_the_declared_types_decide(tmp_path):
    csv(tmp_path, 'id,code,temp,day,extra\n1,007,80.5,2013-07-01,x\n2,,,,\n3,"a, ""b""\nc",1e1,2013-07-02,y\n')
    columns = {"code": "string", "id": "int64", "temp": "float64", "day": "date"}
    found, rejected = rows(tmp_path, columns, format="csv")
    assert found == [
        {"code": "007", "id": 1, "temp": 80.5, "day": dt.date(2013, 7, 1)},
        {"code": None, "id": 2, "temp": None, "day": None},
        {"code": 'a, "b"\nc', "id": 3, "temp": 10.0, "day": dt.date(2013, 7, 2)},
    ]
    assert rejected == []
    with opened(tmp_path, columns, format="csv") as stream:
        assert stream.extra == ("extra",)


def test_a_missing_value_in_csv_is_an_empty_field_and_na_where_it_cannot_be_text(tmp_path):
    csv(tmp_path, 'n,code\nNA,NA\nNULL,""\n\\N,\n,x\nN/A,nan\n5,null\n')
    found, rejected = rows(tmp_path, {"n": "int64", "code": "string"}, format="csv")
    assert [row["n"] for row in found] == [None, None, None, None, None, 5]
    assert [row["code"] for row in found] == ["NA", "", None, "x", "nan", "null"]
    assert rejected == []


def test_one_bad_field_of_csv_costs_its_row(tmp_path):
    csv(tmp_path, b"n,name\n1,good\nx,fine\n3,caf\xe9\n")
    found, rejected = rows(tmp_path, {"n": "int64", "name": "string"}, format="csv")
    assert [row["n"] for row in found] == [1, None, 3]
    assert rejected == [(1, "n", "'x'"), (2, "name", "b'caf\\xe9'")]


def test_the_window_of_csv(tmp_path):
    csv(tmp_path, "at,n\n2013-07-01 03:59:59,0\n2013-07-01 04:00,1\n2013-07-02T04:00:00Z,2\n,3\nNA,4\nlater,5\n")
    found, rejected = rows(tmp_path, {"at": "timestamp", "n": "int64"}, format="csv", event_time="at")
    assert [row["n"] for row in found] == [1, 3, 4, 5]
    assert rejected == [(3, "at", "'later'")]
    assert len(rows(tmp_path, {"at": "string", "n": "int64"}, format="csv", window=SNAPSHOT)[0]) == 6


def test_compressed_csv_with_a_byte_order_mark_in_hive_folders(tmp_path):
    (tmp_path / "data/day=2013-07-01").mkdir(parents=True)
    (tmp_path / "data/day=2013-07-01/a.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbfn\n1\n"))
    found, _ = rows(tmp_path, {"n": "int64", "day": "date"}, format="csv", partitioning="hive")
    assert found == [{"n": 1, "day": dt.date(2013, 7, 1)}]


def test_large_csv_comes_in_bounded_batches(tmp_path):
    csv(tmp_path, "n\n" + "".join(f"{n}\n" for n in range(30_000)))
    found, _ = rows(tmp_path, {"n": "int64"}, format="csv")
    assert [row["n"] for row in found] == list(range(30_000))


def test_a_line_break_in_quotes_may_fall_between_two_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.core.source.files._CSV_BLOCK_BYTES", 64)
    csv(tmp_path, "n,text\n" + "".join(f'{n},"a\nb\nc"\n' for n in range(100)))
    found, _ = rows(tmp_path, {"n": "int64", "text": "string"}, format="csv")
    assert found == [{"n": n, "text": "a\nb\nc"} for n in range(100)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Empty CSV"),
        ("n,m\n1,2\n3\n", "Expected 2 columns"),
    ],
)
def test_csv_that_is_not_csv_is_named(tmp_path, text, message):
    csv(tmp_path, text)
    with pytest.raises(SourceError, match=rf"could not read .*/a\.csv: .*{message}"):
        rows(tmp_path, {"n": "int64"}, format="csv")


def test_a_column_that_is_missing_or_twice_in_csv_blocks(tmp_path):
    csv(tmp_path, "fligth,b\n1,2\n")
    with pytest.raises(SchemaBlocked, match=r"a\.csv lacks.*'flight'.*nearest: 'fligth'"):
        rows(tmp_path, {"flight": "int64"}, format="csv")
    csv(tmp_path, "n,n\n1,2\n")
    with pytest.raises(SchemaBlocked, match="more than once: 'n'"):
        rows(tmp_path, {"n": "int64"}, format="csv")


def test_csv_with_a_header_alone_has_no_rows(tmp_path):
    csv(tmp_path, "n,m\n")
    assert rows(tmp_path, {"n": "int64"}, format="csv") == ([], [])
