"""The same twelve checks, by five tools: CPU seconds, and how many rows each check found to fail.

    python -m tests.bench.validating make PATH ROWS
    python -m tests.bench.validating lamplighter|pyarrow|stock_gx|polars|pandera PATH

The data: 12 columns, from a fixed seed, with a few bad values and nulls in each.
"""

import json
import resource
import sys
import time

BATCH_ROWS = 250_000
COLUMNS = ("key", "amount", "count", "kind", "code", "at", "low", "high", "share", "note", "level", "flag")
KINDS = ["a", "b", "c", "d"]
# The twelve, in order: GX's type, its kwargs.
CHECKS = [
    ("expect_column_values_to_not_be_null", {"column": "key"}),
    ("expect_column_values_to_be_between", {"column": "amount", "min_value": 0, "max_value": 1000}),
    ("expect_column_values_to_be_between", {"column": "count", "min_value": 0, "max_value": 100}),
    ("expect_column_values_to_be_in_set", {"column": "kind", "value_set": KINDS}),
    ("expect_column_values_to_match_regex", {"column": "code", "regex": "^[A-Z]{2}[0-9]{4}$"}),
    (
        "expect_column_values_to_be_between",
        {"column": "at", "min_value": "2024-01-01T00:00:00+00:00", "max_value": "2024-12-31T23:59:59+00:00"},
    ),
    (
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "high", "column_B": "low", "or_equal": True, "ignore_row_if": "either_value_is_missing"},
    ),
    ("expect_column_values_to_be_between", {"column": "share", "min_value": 0, "max_value": 1}),
    ("expect_column_value_lengths_to_be_between", {"column": "note", "min_value": 1, "max_value": 12}),
    ("expect_column_values_to_not_be_in_set", {"column": "level", "value_set": [-1, -999]}),
    ("expect_column_mean_to_be_between", {"column": "amount", "min_value": 0, "max_value": 1000}),
    ("expect_table_row_count_to_be_between", {"min_value": 1}),
]


def make(path: str, rows: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(20240501)
    start = 1_704_067_200_000_000

    def spoil(values, bad, share=0.0005):
        return np.where(random.random(len(values)) < share, bad, values)

    def batch(first: int, count: int) -> pa.Table:
        number = np.arange(first, first + count)
        codes = np.array(["AB1234", "CD0042", "EF9999", "GH0001"])[number % 4]
        low = random.random(count)
        nulls = random.random(count) < 0.02
        return pa.table(
            {
                "key": pa.array(number, mask=random.random(count) < 0.0003),
                "amount": pa.array(spoil(random.gamma(2, 50, count), -5.0), mask=nulls),
                "count": pa.array(spoil(random.integers(0, 101, count), 500)),
                "kind": pa.array(spoil(np.array(KINDS)[number % 4], "z")),
                "code": pa.array(spoil(codes, "bad")),
                "at": pa.array(start + random.integers(0, 300 * 86_400, count) * 1_000_000, pa.timestamp("us", "UTC")),
                "low": pa.array(low),
                "high": pa.array(spoil(low + 0.5, -1.0), mask=random.random(count) < 0.01),
                "share": pa.array(spoil(random.random(count), 1.5).astype("float32")),
                "note": pa.array(
                    spoil(np.array(["short", "a note", "longer note"])[number % 3], "much too long a note")
                ),
                "level": pa.array(spoil(random.integers(0, 9, count), -999).astype("int32")),
                "flag": pa.array(random.random(count) < 0.5),
            }
        )

    writer = None
    for first in range(0, rows, BATCH_ROWS):
        table = batch(first, min(BATCH_ROWS, rows - first))
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def lamplighter(path: str):
    import great_expectations  # noqa: F401
    import numpy as np
    import pyarrow.parquet as pq

    from tasks.shards import validating
    from tasks.shards.validating import measure, merge, suite  # noqa: F401

    def work() -> list[int]:
        file = pq.ParquetFile(path)
        expectations = [
            {
                "type": kind,
                "kwargs": kwargs,
                "severity": "critical",
                "meta": {"on_failure": "quarantine"} if "values" in kind or "lengths" in kind else {},
            }
            for kind, kwargs in CHECKS
        ]
        text = json.dumps({"name": "bench", "expectations": expectations, "meta": {}})
        checks = validating.load_suite(text, name="bench", schema=file.schema_arrow)
        measures, first = [], 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            measures.append(validating.measure_batch(checks, table, np.arange(first, first + len(table))))
            first += len(table)
        result = validating.conclude(checks, measures)
        return [one.unexpected_count or 0 for one in result.results]

    return work


def pyarrow(path: str):
    import datetime as dt

    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    def between(column, low, high):
        return pc.invert(pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high)))

    bounds = [
        pa.scalar(dt.datetime(2024, *day, tzinfo=dt.UTC), pa.timestamp("us", "UTC"))
        for day in ((1, 1), (12, 31, 23, 59, 59))
    ]

    def masks(table):
        yield pc.is_null(table["key"])
        yield between(table["amount"], 0.0, 1000.0)
        yield between(table["count"], 0, 100)
        yield pc.invert(pc.is_in(table["kind"], pa.array(KINDS)))
        yield pc.invert(pc.match_substring_regex(table["code"], "^[A-Z]{2}[0-9]{4}$"))
        yield between(table["at"], *bounds)
        yield pc.less(table["high"], table["low"])
        yield between(table["share"], pa.scalar(0, pa.float32()), pa.scalar(1, pa.float32()))
        yield between(pc.utf8_length(table["note"]), 1, 12)
        yield pc.is_in(table["level"], pa.array([-1, -999], pa.int32()))

    def work() -> list[int]:
        file = pq.ParquetFile(path)
        failing = [[] for _ in range(10)]
        total, count, rows = 0.0, 0, 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            for found, mask in zip(failing, masks(table), strict=True):
                found.append(
                    np.flatnonzero(
                        mask.fill_null(False).to_numpy(zero_copy_only=False)
                        if isinstance(mask, pa.Array)
                        else pc.fill_null(mask, False).to_numpy()
                    )
                    + rows
                )
            total += pc.sum(table["amount"]).as_py()
            count += pc.count(table["amount"]).as_py()
            rows += len(table)
        assert 0 <= total / count <= 1000
        assert rows >= 1
        return [sum(map(len, found)) for found in failing] + [0, 0]

    return work


def stock_gx(path: str):
    import great_expectations as gx
    import pandas as pd
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    def work() -> list[int]:
        frame = pd.read_parquet(path)
        frame["row"] = range(len(frame))
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        batch = context.data_sources.add_pandas("p").add_dataframe_asset("a").add_batch_definition_whole_dataframe("b")
        suite = context.suites.add(gx.ExpectationSuite(name="bench"))
        for kind, kwargs in CHECKS:
            # Stock GX compares instants with instants only.
            of_instants = kwargs.get("column") == "at"
            given = {k: pd.Timestamp(v) if of_instants and k != "column" else v for k, v in kwargs.items()}
            suite.add_expectation(ExpectationConfiguration(type=kind, kwargs=given).to_domain_obj())
        validation = context.validation_definitions.add(gx.ValidationDefinition(name="v", data=batch, suite=suite))
        checkpoint = context.checkpoints.add(
            gx.Checkpoint(
                name="c",
                validation_definitions=[validation],
                result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["row"]},
            )
        )
        result = next(iter(checkpoint.run(batch_parameters={"dataframe": frame}).run_results.values()))
        # It gives its results in an order of its own.
        found = {(one.expectation_config.type, _columns(one.expectation_config.kwargs)): one for one in result.results}
        return [found[kind, _columns(kwargs)].result.get("unexpected_count", 0) for kind, kwargs in CHECKS]

    return work


def _columns(kwargs: dict) -> tuple:
    return kwargs.get("column"), kwargs.get("column_A")


def polars(path: str):
    import datetime as dt

    import polars as pl

    col = pl.col

    def between(name, low, high):
        return ~col(name).is_between(low, high)

    def work() -> list[int]:
        checks = [
            col("key").is_null(),
            between("amount", 0, 1000),
            between("count", 0, 100),
            ~col("kind").is_in(KINDS),
            ~col("code").str.contains("^[A-Z]{2}[0-9]{4}$"),
            between("at", dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.datetime(2024, 12, 31, 23, 59, 59, tzinfo=dt.UTC)),
            col("high") < col("low"),
            between("share", 0, 1),
            ~col("note").str.len_chars().is_between(1, 12),
            col("level").is_in([-1, -999]),
        ]
        lazy = pl.scan_parquet(path)
        found = lazy.select(
            [check.fill_null(False).arg_true().implode().alias(str(n)) for n, check in enumerate(checks)]
            + [col("amount").mean(), pl.len().alias("rows")]
        ).collect()
        assert 0 <= found["amount"][0] <= 1000
        return [len(found[str(n)][0]) for n in range(len(checks))] + [0, 0]

    return work


def pandera(path: str):
    import pandas as pd
    import pandera.pandas as pa

    def work() -> list[int]:
        frame = pd.read_parquet(path)
        bounds = [pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-12-31 23:59:59", tz="UTC")]
        nullable = {"nullable": True, "coerce": False}
        schema = pa.DataFrameSchema(
            {
                "key": pa.Column(nullable=False),
                "amount": pa.Column(
                    checks=[pa.Check.between(0, 1000), pa.Check(lambda s: 0 <= s.mean() <= 1000)], **nullable
                ),
                "count": pa.Column(checks=pa.Check.between(0, 100)),
                "kind": pa.Column(checks=pa.Check.isin(KINDS)),
                "code": pa.Column(checks=pa.Check.str_matches("^[A-Z]{2}[0-9]{4}$")),
                "at": pa.Column(checks=pa.Check.between(*bounds)),
                "share": pa.Column(checks=pa.Check.between(0, 1)),
                "note": pa.Column(checks=pa.Check.str_length(1, 12)),
                "level": pa.Column(checks=pa.Check.notin([-1, -999])),
            },
            checks=pa.Check(lambda f: (f["high"] >= f["low"]) | f["high"].isna(), name="pair"),
        )
        try:
            schema.validate(frame, lazy=True)
            cases = pd.DataFrame({"column": [], "index": []})
        except pa.errors.SchemaErrors as errors:
            cases = errors.failure_cases
        # A frame-wide check reports every column of a failing row: rows are counted once.
        per = cases.groupby(cases["column"].where(cases["check"] != "pair", "pair"))["index"].nunique()
        order = ("key", "amount", "count", "kind", "code", "at", "pair", "share", "note", "level")
        return [int(per.get(name, 0)) for name in order] + [0, 0]

    return work


def main() -> None:
    name, path = sys.argv[1:3]
    if name == "make":
        make(path, int(sys.argv[3]))
        return
    work = globals()[name](path)
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    failing = work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"cpu_s": cpu, "wall_s": time.perf_counter() - started, "failing": failing}))


if __name__ == "__main__":
    main()
