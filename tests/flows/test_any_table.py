"""Whatever the source gives: every row is scored, quarantined or declared a duplicate, or one paragraph says why not.

What must become of each row is reckoned from the values alone (tests.any_table_truth), and what became of it is read
from the files by pyarrow. Each example is a whole run, from pull to publication, on a project of its own.
"""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.any_table import EVERY_FATE, Table, tables
from tests.any_table_runs import Bench, bench
from tests.any_table_truth import check_published, check_same_bytes, check_same_rows, model_in, truth_of
from tests.crash.harness import DONE
from tests.flows.conftest import COLUMNS, as_table, readings

# Shrinking whole runs would take minutes: an example is small enough to be read.
FEW = settings(
    max_examples=4,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
FEWER, MANY = settings(FEW, max_examples=1), settings(FEW, max_examples=300)
BATCHES = st.sampled_from([1, 2, 3, 4, 1000])


@pytest.fixture(scope="module")
def scoring(tmp_path_factory):
    with bench(tmp_path_factory.mktemp("any")) as made:
        yield made


def check_conserved(scoring: Bench, table: Table) -> None:
    truth = truth_of(table, model_in(scoring.lake))
    ended, left = scoring.run(table)
    assert (ended.outcome != DONE) == truth.is_blocked, ended
    if not truth.is_blocked:
        check_published(table, truth, left)


def check_equal(scoring: Bench, table: Table, shards: int, batch_rows: int, order: list[int]) -> None:
    ended, left = scoring.run(table)
    other, in_shards = scoring.run(table, shards)
    assert (other.outcome, other.text) == (ended.outcome, ended.text)
    if ended.outcome == DONE:
        check_same_bytes(left, in_shards)
    other, in_batches = scoring.run(replace(table, batch_rows=batch_rows))
    assert other.outcome == ended.outcome
    reordered, in_order = scoring.run(table.reordered(order))
    assert reordered.outcome == ended.outcome
    if ended.outcome == DONE:
        check_same_rows(table, left, in_batches)
        check_same_rows(table, left, in_order)
        assert in_order.manifest["run_id"] == left.manifest["run_id"]


ordered_tables = tables().flatmap(lambda one: st.tuples(st.just(one), st.permutations(range(len(one.rows)))))


def test_the_reckoning_itself_by_hand(scoring):
    truth = truth_of(EVERY_FATE, model_in(scoring.lake))
    assert (truth.pulled, truth.duplicates, len(truth.scored), truth.quarantined.total()) == (11, 1, 4, 6)
    assert len(set(truth.scored.values())) > 1
    reasons = sorted(kind for _, why in truth.quarantined.elements() for kind, _ in why)
    assert reasons == [*["duplicate_key"] * 2, "no_event_time", "not_convertible", "null_key", "predict_raised"]


@FEW
@example(EVERY_FATE)
@given(tables())
def test_every_row_is_where_it_must_be_once(scoring, table):
    check_conserved(scoring, table)


@pytest.mark.slow
@MANY
@given(tables(most_rows=30))
def test_every_row_of_many_tables_is_where_it_must_be_once(scoring, table):
    check_conserved(scoring, table)


@FEWER
@example((EVERY_FATE, list(range(12))[::-1]), 2, 3)
@given(ordered_tables, st.integers(2, 3), BATCHES)
def test_neither_workers_nor_batches_nor_the_order_of_rows_count(scoring, ordered, shards, batch_rows):
    table, order = ordered
    check_equal(scoring, table, shards, batch_rows, order)


@pytest.mark.slow
@MANY
@given(ordered_tables, st.integers(2, 3), BATCHES)
def test_neither_workers_nor_batches_nor_the_order_of_rows_of_many_tables_count(scoring, ordered, shards, batch_rows):
    table, order = ordered
    check_equal(scoring, table, shards, batch_rows, order)


# -- what a stranger would try ---------------------------------------------------------------------------------------


ROWS = as_table(readings(20))
AWKWARD = (" ", "a\nb", "a\x00b", "a.b", "__index_level_0__", "é", "e\u0301", "'", '"', "index", "row", "reason", "0")
OURS = (
    "run_id",
    "window_start",
    "model_version",
    "scored_at",
    "as_of",
    "reasons",
    "probability",
    "z",
    "z",
    "SENSOR",
    "",
)
SECONDS = 1_714_521_600
FIVE_THOUSAND = {f"c{number:04d}": "int64" for number in range(4995)}


def with_column(name: str, values: object, rows: pa.Table = ROWS) -> pa.Table:
    """The rows with another column, or with other values in one of theirs."""
    array = values if isinstance(values, pa.Array) else pa.array(values)
    place = rows.schema.get_field_index(name)
    return rows.append_column(name, array) if place < 0 else rows.set_column(place, name, array)


def ended_on(scoring: Bench, rows: pa.Table | bytes, *, row_group_size: int = 1000, suffix: str = "parquet", **changes):
    """How a run on one file ends, and the counts of its manifest: pulled, scored, quarantined, duplicates."""

    def prepare(world):
        world.change_job(**({"limits__quarantine_share": 1.0, "suite": None} | changes))
        file = world.folder / f"data/a.{suffix}"
        if isinstance(rows, bytes):
            file.write_bytes(rows)
        else:
            pq.write_table(rows, file, row_group_size=row_group_size)

    ended, left = scoring.run_on(prepare)
    if ended.outcome != DONE:
        return ended.outcome, ended.text
    counts = left.manifest["rows"]
    assert (len(left.rows("predictions")), len(left.rows("quarantine"))) == (counts["scored"], counts["quarantined"])
    assert counts["pulled"] == counts["scored"] + counts["quarantined"] + counts["duplicates"]
    return ended.outcome, tuple(counts[name] for name in ("pulled", "scored", "quarantined", "duplicates"))


def test_columns_of_any_name_may_be_keys(scoring):
    rows = ROWS
    for name in AWKWARD:
        rows = with_column(name, range(20), rows)
    rows = with_column("a", [{"b": number} for number in range(20)], rows)
    columns = COLUMNS | dict.fromkeys(AWKWARD, "int64")

    found = ended_on(scoring, rows, columns=columns, keys=["sensor", *AWKWARD])

    assert found == (DONE, (20, 20, 0, 0))


def test_columns_that_nobody_asked_for_may_be_called_as_ours_and_stand_there_twice(scoring):
    rows = ROWS
    for name in OURS:
        rows = rows.append_column(name, pa.array(range(20)))

    assert ended_on(scoring, rows) == (DONE, (20, 20, 0, 0))


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["missing first", "unreadable first"])
@pytest.mark.parametrize("other", [None, "def"], ids=["missing", "unreadable"])
def test_a_value_that_cannot_be_read_repeats_neither_a_missing_one_nor_another(scoring, order, other):
    twice = pa.concat_tables([ROWS.slice(0, 1), ROWS.slice(0, 1), ROWS.slice(1)])
    texts = [other, "abc"]
    rows = with_column("x", [texts[order[0]], texts[order[1]], *["1"] * 19], twice)

    assert ended_on(scoring, rows) == (DONE, (21, 19, 2, 0))


def test_keys_that_are_all_missing(scoring):
    rows = with_column("sensor", pa.nulls(20, pa.string()))
    assert ended_on(scoring, rows) == (DONE, (20, 0, 20, 0))

    outcome, said = ended_on(scoring, rows, limits__quarantine_share=0.1)

    assert outcome == "Blocked"
    assert said.startswith("20 of 20 rows are quarantined; limit 10 %: 20 x null_key(sensor).")


def test_whole_numbers_at_the_end_of_64_bits(scoring):
    keys = pa.array([2**63 - 1, 2**63, 2**64 - 1, *range(17)], pa.uint64())
    assert ended_on(scoring, with_column("sensor", keys), columns__sensor="int64") == (DONE, (20, 18, 2, 0))


@pytest.mark.slow
def test_text_of_ten_megabytes(scoring):
    long = "x" * 10_000_000
    rows = with_column("sensor", [long, f"{long}y", *map(str, range(18))])
    rows = with_column("x", [long, *["1"] * 19], rows)
    assert ended_on(scoring, rows) == (DONE, (20, 19, 1, 0))


def test_text_and_identifiers_of_extension_types(scoring):
    rows = with_column("sensor", pa.array([bytes(15) + bytes([number]) for number in range(20)], pa.uuid()))
    rows = with_column("kind", ROWS["kind"].combine_chunks().cast(pa.json_()), rows)
    assert ended_on(scoring, rows) == (DONE, (20, 20, 0, 0))


def test_text_in_views_and_lists_of_coded_text_in_many_row_groups(scoring):
    rows = with_column("sensor", ROWS["sensor"].combine_chunks().cast(pa.string_view()))
    rows = with_column("kind", ROWS["kind"].combine_chunks().dictionary_encode(), rows)
    coded, viewed = pa.list_(pa.dictionary(pa.int8(), pa.string())), pa.list_(pa.string_view())
    for name, kind in (("coded", coded), ("viewed", viewed)):
        rows = with_column(name, pa.array([["a", None, str(number)] for number in range(20)], kind), rows)
    columns = COLUMNS | {"coded": "list<string>", "viewed": "list<string>"}

    found = ended_on(scoring, rows, row_group_size=3, columns=columns, output__pass_through=["coded", "viewed"])

    assert found == (DONE, (20, 20, 0, 0))


@pytest.mark.parametrize(
    ("unit", "extremes"),
    [("ns", [2**63 - 1, -(2**63) + 1]), ("us", [2**63 - 1, -(2**63) + 1]), ("s", [253402300800, -62135596801])],
)
def test_instants_beyond_the_calendar_are_in_no_window(scoring, unit, extremes):
    of_a_second = {"ns": 10**9, "us": 10**6, "s": 1}[unit]
    ticks = [*extremes, *((SECONDS + number) * of_a_second for number in range(18))]
    assert ended_on(scoring, with_column("at", pa.array(ticks, pa.timestamp(unit, "UTC")))) == (DONE, (18, 18, 0, 0))


def test_row_groups_of_one_row_and_none_at_all(scoring):
    assert ended_on(scoring, ROWS, row_group_size=1, limits__batch_rows=3) == (DONE, (20, 20, 0, 0))
    nothing = ROWS.slice(0, 0)
    assert ended_on(scoring, nothing, on_empty="publish") == (DONE, (0, 0, 0, 0))
    assert ended_on(scoring, nothing)[0] == "WindowBlocked"


@pytest.mark.slow
def test_five_thousand_columns_all_of_them_keys(scoring):
    arrays = dict.fromkeys(FIVE_THOUSAND, pa.array(range(20)))
    rows = pa.table(dict(zip(ROWS.column_names, ROWS.columns, strict=True)) | arrays)
    columns, passed = COLUMNS | FIVE_THOUSAND, ["kind", *FIVE_THOUSAND]

    found = ended_on(scoring, rows, columns=columns, keys=["sensor", *FIVE_THOUSAND], output__pass_through=passed)

    assert found == (DONE, (20, 20, 0, 0))


REFUSED_TYPES = {
    "duration": ("x", pa.array([1] * 20, pa.duration("s"))),
    "time": ("x", pa.array([1] * 20, pa.time64("us"))),
    "list": ("x", pa.array([[1.0]] * 20)),
    "struct": ("x", pa.array([{"a": 1.0}] * 20)),
    "map": ("x", pa.array([[("a", 1.0)]] * 20, pa.map_(pa.string(), pa.float64()))),
    "clock": ("at", pa.array([SECONDS] * 20, pa.timestamp("s"))),
    "date": ("at", pa.array([19844] * 20, pa.date32())),
    "number": ("at", pa.array([SECONDS] * 20)),
}


@pytest.mark.parametrize("case", REFUSED_TYPES)
def test_a_type_that_can_never_be_the_declared_one_is_refused(scoring, case):
    name, array = REFUSED_TYPES[case]
    outcome, said = ended_on(scoring, with_column(name, array))
    assert outcome == "SchemaBlocked"
    assert said.startswith(f"the source gives column '{name}' as")


REFUSED_COLUMNS = {
    "a declared one twice": (ROWS.append_column("x", ROWS["y"]), {}, "SchemaBlocked", "more than once: 'x'"),
    "none": (
        pa.table({}),
        {},
        "SchemaBlocked",
        "lacks declared columns: 'sensor', 'at', 'kind', 'x', 'y'; found: none",
    ),
    "as_of as a key": (ROWS, {"columns__as_of": "int64"}, "JobError", "['as_of'] are written by Lamplighter"),
    "no name": (ROWS, {"keys": [""]}, "JobError", "at least 1 character"),
    "a long name": (ROWS, {"keys": ["n" * 201]}, "JobError", "at most 200 characters"),
    "case alone": (ROWS, {"columns__X": "float64"}, "JobError", "upper and lower case count as the same"),
}


@pytest.mark.parametrize("case", REFUSED_COLUMNS)
def test_columns_that_cannot_be_told_apart_are_refused(scoring, case):
    rows, changes, kind, sentence = REFUSED_COLUMNS[case]
    outcome, said = ended_on(scoring, rows, **changes)
    assert outcome == kind
    assert sentence in said


HEADER, LINE = b"sensor,at,kind,x,y\n", b"a,2024-05-01,hot,1,1\n"
REFUSED_FILES = {
    "csv of no bytes": b"",
    "csv with a short line": HEADER + LINE + b"b,2024-05-01\n",
    "csv with a long line": HEADER + LINE + b"b,2024-05-01,hot,1,1,5\n",
    "csv with an open quote": HEADER + LINE + b'"b,2024-05-01,hot,1,1\n' + LINE,
    "csv in another coding": (HEADER + LINE).decode().encode("utf-16"),
    "csv whose header is no text": HEADER[:-1] + b",\xff\n" + LINE[:-1] + b",1\n",
    "csv with a row of ten megabytes": HEADER + b"a" * 10_000_000 + LINE,
    "parquet of no bytes": b"",
    "parquet of other bytes": b"PAR1" * 4,
}


@pytest.mark.parametrize("case", REFUSED_FILES)
def test_a_file_that_cannot_be_read_is_refused(scoring, case):
    suffix = case.split()[0]
    outcome, said = ended_on(scoring, REFUSED_FILES[case], suffix=suffix, source__format=suffix)
    assert outcome == "SourceError"
    assert "could not read" in said
