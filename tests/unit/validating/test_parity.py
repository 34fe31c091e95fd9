"""Every supported expectation, both ways: stock Great Expectations on the whole table, and ours in random batches.

Stock sees the table as each kind of data frame that a user may have; ours sees Arrow. What differs is listed, with the
reason, and must really differ: a line that is no longer needed fails the test.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import json
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tasks.shards.validating import (
    conclude,
    duplicates,
    load_suite,
    measure_batch,
    measure_whole,
    quantiles,
    whole_table_columns,
)
from tasks.shards.validating import gx as door
from tasks.shards.validating.catalogue import ROWS, ROWS_OF_WHOLE, SCHEMA, SUMS, WHOLE

_spec = importlib.util.spec_from_file_location("parity_cases", Path(__file__).with_name("parity_cases.py"))
cases = importlib.util.module_from_spec(_spec)
sys.modules["parity_cases"] = cases
_spec.loader.exec_module(cases)

TABLE = cases.table()
CASES = cases.expectations()
TEXT = ("s", "s2", "text", "json", "empty_s")


# ── both ways ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def as_default(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas()


def as_object(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas().astype(dict.fromkeys(TEXT, object))


def as_category(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas().astype(dict.fromkeys(("s", "s2", "empty_s"), "category"))


def as_nullable(table: pa.Table) -> pd.DataFrame:
    kinds = {
        "int64": "Int64",
        "int32": "Int32",
        "uint8": "UInt8",
        "double": "Float64",
        "bool": "boolean",
        "string": "string",
    }
    frame = table.to_pandas()
    for field in table.schema:
        if kind := kinds.get(str(field.type)):
            frame[field.name] = pd.array(table[field.name].to_pylist(), dtype=kind)
    return frame


def as_arrow(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas(types_mapper=pd.ArrowDtype)


def stock(frame: pd.DataFrame, expectations: list[dict]) -> list[dict]:
    """GX's own results, by its public API, in the order asked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gx = door.great_expectations()
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        source = context.data_sources.add_pandas("pandas").add_dataframe_asset("frame")
        batch = source.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
        found = {}
        for start in range(0, len(expectations), 60):
            tagged = [{**case, "meta": {"n": start + n}} for n, case in enumerate(expectations[start : start + 60])]
            suite = gx.ExpectationSuite(name="parity", expectations=tagged)
            assert len(suite.expectations) == len(tagged)
            result = batch.validate(
                suite, result_format={"result_format": "SUMMARY", "return_unexpected_index_query": False}
            )
            found |= {one["expectation_config"]["meta"]["n"]: one for one in result.to_json_dict()["results"]}
    return [found[n] for n in range(len(expectations))]


def ours(table: pa.Table, expectations: list[dict], cuts: list[int]) -> list[dict]:
    suite = load_suite(json.dumps({"name": "parity", "expectations": expectations}), name="parity", schema=table.schema)
    edges = [0, *sorted(cuts), table.num_rows]
    parts = [(table.slice(low, high - low), np.arange(low, high)) for low, high in itertools.pairwise(edges)]
    measures = [measure_batch(suite, part, rows) for part, rows in parts]

    def read(columns):
        for part, rows in parts:
            yield part.select(columns), rows

    whole = measure_whole(suite, read) if whole_table_columns(suite) else None
    # The order in which batches come back is not that of the table.
    return list(conclude(suite, measures[::-1], whole).gx_json["results"])


# ── comparing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def plain(value):
    """JSON as we write it: numpy's numbers as Python's, no NaN and NaT, an infinity by its name."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value == "NaT" or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def counted(entries: list[dict]) -> dict[str, int]:
    """Counts by value. GX lists a null as often as it meets one, since NaN is not NaN."""
    counts: dict[str, int] = {}
    for entry in entries:
        value = entry["value"] if isinstance(entry["value"], list) else [entry["value"]]
        key = repr([float(item) if isinstance(item, int | float) else item for item in value])
        counts[key] = counts.get(key, 0) + entry["count"]
    return counts


def comparable(result: dict) -> dict:
    found = plain(result["result"])
    if "partial_unexpected_counts" in found:
        found["partial_unexpected_counts"] = counted(found["partial_unexpected_counts"])
    return {"success": result["success"], "raised": raised(result), **({} if raised(result) else found)}


def raised(result: dict) -> bool:
    info = result["exception_info"]
    return any(one.get("raised_exception") for one in ([info] if "raised_exception" in info else info.values()))


def alike(one, other, tolerance: float) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key], tolerance) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(alike(a, b, tolerance) for a, b in zip(one, other, strict=True))
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    if numbers and not (isinstance(one, bool) or isinstance(other, bool)):
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=1e-12)
    return one == other


def differences(theirs: list[dict], mine: list[dict], expectations: list[dict], tolerance: float = 1e-9) -> list[dict]:
    pairs = zip(theirs, mine, expectations, strict=True)
    return [case for one, other, case in pairs if not alike(of_case(one, case), of_case(other, case), tolerance)]


def of_case(result: dict, case: dict) -> dict:
    """What is compared. A set of pairs with a null among them is ordered by addresses in memory: of it, the counts."""
    found = comparable(result)
    if case["type"] != "expect_column_pair_values_to_be_in_set":
        return found
    return {key: found.get(key) for key in ("success", "raised", "element_count", "unexpected_count")}


# ── what differs, and why ─────────────────────────────────────────────────────────────────────────────────────────────

Known = Callable[[str, dict], bool]
ORDER = ("expect_column_values_to_be_increasing", "expect_column_values_to_be_decreasing")
AGGREGATES = tuple(f"expect_column_{name}_to_be_between" for name in ("mean", "sum", "stdev", "median"))


def unsigned_order(kind: str, kwargs: dict) -> bool:
    """pandas' diff of unsigned integers wraps around, or overflows; ours compares."""
    return kind in ORDER and kwargs.get("column") == "u8"


def beyond_float(kind: str, kwargs: dict) -> bool:
    """pandas' default for integers with nulls is float64, which cannot tell those above 2**53 apart."""
    told_apart = ("in_set", "unique_value_count", "proportion_of_unique_values")
    return kwargs.get("column") == "big" and any(part in kind for part in told_apart)


def decimal_nulls(kind: str, kwargs: dict) -> bool:
    """GX raises on the nulls of a decimal column."""
    return kwargs.get("column") == "money" and kind in AGGREGATES[:3]


def single_precision(kind: str, kwargs: dict) -> bool:
    """pandas sums float32 in float32; ours in float64."""
    return kwargs.get("column") == "f32" and kind in AGGREGATES


def nullable_pairs(kind: str, kwargs: dict) -> bool:
    """On nullable columns stock raises where one side is NA, or takes NA for neither failing nor passing."""
    several = "column_A" in kwargs or "column_list" in kwargs
    some_null = {"i_null", "i32", "s", "f"} & {
        kwargs.get("column_A"),
        kwargs.get("column_B"),
        *kwargs.get("column_list", []),
    }
    lenient = kwargs.get("ignore_row_if", "both_values_are_missing") not in (
        "either_value_is_missing",
        "any_value_is_missing",
    )
    shown = kind != "expect_compound_columns_to_be_unique" or "i_null" in kwargs["column_list"]
    return several and bool(some_null) and lenient and shown


def nan_is_a_value(kind: str, kwargs: dict) -> bool:
    """In pandas' Arrow columns NaN is not null; for us, as in its other columns, it is."""
    return kwargs.get("column") == "f"


def big_bound(kind: str, kwargs: dict) -> bool:
    """Examples beyond 2**53 go through float64 in pandas' row-by-row map over a column with nulls."""
    return kwargs.get("column") == "big" and kind == "expect_column_values_to_be_between"


def na_statistics(kind: str, kwargs: dict) -> bool:
    """On an empty nullable column the statistics are NA, and GX raises."""
    without = ("z_scores", "outliers", "quantile")
    return kwargs.get("column") == "empty" and any(part in kind for part in without)


def na_partitions(kind: str, kwargs: dict) -> bool:
    """On a nullable column with nulls GX cannot count what lies outside a partition, and raises."""
    return kind == "expect_column_kl_divergence_to_be_less_than" and "bins" in kwargs["partition_object"]


def of_declared_type(kind: str, kwargs: dict) -> bool:
    """A type is that of the declared column, as pandas has it by default."""
    return "type" in kind


FLAVOURS: dict[str, tuple[Callable[[pa.Table], pd.DataFrame], tuple[Known, ...]]] = {
    "default": (as_default, (unsigned_order, beyond_float, decimal_nulls, single_precision)),
    "object": (as_object, ()),
    "category": (as_category, ()),
    "nullable": (as_nullable, (nullable_pairs, na_statistics, na_partitions, big_bound)),
    "arrow": (as_arrow, (nullable_pairs, na_statistics, na_partitions, big_bound, nan_is_a_value)),
}


def touches(case: dict, columns: tuple[str, ...]) -> bool:
    kwargs = case["kwargs"]
    named = [kwargs.get("column"), kwargs.get("column_A"), kwargs.get("column_B"), *kwargs.get("column_list", [])]
    return any(name in columns for name in named)


def wanted(flavour: str) -> list[int]:
    """Which cases tell something about a flavour: those on columns that it changes."""
    if flavour == "default":
        return list(range(len(CASES)))
    if flavour in ("object", "category"):
        return [n for n, case in enumerate(CASES) if touches(case, TEXT) and not of_declared_type(case["type"], {})]
    skipped = ("f32", "money", "u8", "t_naive")
    return [
        n
        for n, case in enumerate(CASES)
        if touches(case, ("i_null", "i32", "f", "f_finite", "b_null", "big", "empty", "s"))
        and not touches(case, skipped)
        and not of_declared_type(case["type"], {})
        and "row_condition" not in case["kwargs"]
    ]


@functools.cache
def ours_in_batches() -> list[dict]:
    rng = np.random.default_rng()
    cuts = rng.integers(0, TABLE.num_rows + 1, 5).tolist()
    print(f"batch boundaries: {sorted([*cuts, cuts[0]])}")
    # A boundary twice makes a batch without rows.
    return ours(TABLE, CASES, [*cuts, cuts[0]])


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_results_equal_those_of_stock_great_expectations(flavour):
    frame_of, known = FLAVOURS[flavour]
    chosen = wanted(flavour)
    expectations = [CASES[n] for n in chosen]
    if flavour == "category":
        table = TABLE
        for name in ("s", "s2", "empty_s"):
            table = table.set_column(table.schema.get_field_index(name), name, table[name].dictionary_encode())
        mine = ours(table, expectations, [100])
    else:
        mine = [ours_in_batches()[n] for n in chosen]
    differing = differences(stock(frame_of(TABLE), expectations), mine, expectations)
    listed = [[case for case in differing if is_known(case["type"], case["kwargs"])] for is_known in known]
    unlisted = [case for case in differing if not any(case in found for found in listed)]
    assert unlisted == []
    assert all(listed), (
        f"no longer differs: {[is_known.__doc__ for is_known, found in zip(known, listed, strict=True) if not found]}"
    )


@pytest.mark.parametrize("bound", [1, 40])
def test_a_smaller_memory_bound_changes_nothing(bound, monkeypatch):
    """Tables beyond the bound are read in parts and narrowed down; here 240 rows are beyond it."""
    monkeypatch.setattr(duplicates, "ROWS_AT_ONCE", bound)
    monkeypatch.setattr(quantiles, "IN_MEMORY_VALUES", bound)
    chosen = [n for n, case in enumerate(CASES) if case["type"] in WHOLE | ROWS_OF_WHOLE]
    expectations = [CASES[n] for n in chosen][:: 1 if bound > 1 else 5]
    wide = [ours_in_batches()[n] for n in chosen][:: 1 if bound > 1 else 5]
    assert differences(wide, ours(TABLE, expectations, [100]), expectations, tolerance=0) == []


def test_float32_aggregates_equal_within_single_precision():
    chosen = [n for n, case in enumerate(CASES) if single_precision(case["type"], case["kwargs"])]
    expectations = [CASES[n] for n in chosen]
    theirs = stock(as_default(TABLE), expectations)
    assert differences(theirs, [ours_in_batches()[n] for n in chosen], expectations, tolerance=1e-5) == []


def test_every_supported_type_is_compared():
    assert {case["type"] for case in CASES} == ROWS | ROWS_OF_WHOLE | SUMS | SCHEMA | WHOLE


def test_a_lost_batch_is_seen():
    """The comparison itself: with the last rows left out most results must differ (a maximum may not)."""
    expectations = [case for case in CASES if case["type"] in ROWS and "column" in case["kwargs"]][::6]
    short = ours(TABLE.slice(0, 200), expectations, [50])
    whole = [ours_in_batches()[CASES.index(case)] for case in expectations]
    assert len(differences(whole, short, expectations)) > len(expectations) * 0.75
