"""Runs as they might stand in a lake, for the tests of the pages that show them."""

import datetime as dt
from html.parser import HTMLParser

from tasks.core.pages import PublishedColumn, QuarantineExample, WindowPage
from tasks.core.profiles.differences import ColumnDifferences, Move, RowApart
from tasks.core.profiles.figures import Distribution, Figures
from tasks.core.runs.challenger import Beside, Challenge
from tasks.core.runs.manifest import (
    CodeRecord,
    ExpectationRecord,
    FeatureDriftRecord,
    FileRecord,
    KeyDigests,
    Manifest,
    ModelRecord,
    RowCounts,
    SnapshotRecord,
    StageTiming,
    SuiteRecord,
    WindowRecord,
)

DIGEST = "9f2c4b7a81e3d5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e"
TOO_SHORT = "expectation expect_column_values_to_be_between on distance"


SCRIPT = "<script>alert(1)</script>"
HOSTILE = [
    SCRIPT,
    "\"><img src=x onerror=alert(1)>'",
    "</style></title></svg><b>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "\N{RIGHT-TO-LEFT OVERRIDE}مرحبا &amp; \N{LEFT-TO-RIGHT MARK}",
    "x" * 300,
    "a\x00b\x1bc\x7f\ufffe",
]
VOID = {"meta", "link", "br", "img"}


class Page(HTMLParser):
    """A page taken apart: its elements with their attributes, its text, and whether every element was closed."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.words, self._open = [], [], []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs)), f"an attribute stands twice in {tag}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    @property
    def structure(self):
        return [(tag, tuple(attributes)) for tag, attributes in self.elements]

    def values(self, attribute):
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]


def utc(*parts):
    return dt.datetime(*parts, tzinfo=dt.UTC)


def expectation(**changes):
    values = {
        "type": "expect_column_values_to_be_between",
        "columns": ("distance",),
        "kwargs": {"min_value": 50},
        "severity": "critical",
        "on_failure": None,
        "consequence": "passed",
        "success": True,
        "element_count": 940,
        "unexpected_count": 0,
        "sentence": "distance is at least 50 miles",
    }
    return ExpectationRecord(**values | changes)


def drift(column, psi, **changes):
    values = {
        "jensen_shannon": 0.01,
        "missing_share_reference": 0.02,
        "missing_share": 0.03,
        "new_category_share": None,
    }
    return FeatureDriftRecord(column=column, psi=psi, **values | changes)


def numeric(column, role="feature", **changes):
    values = {
        "labels": ("< 10", "10 to 20", "20 to 40", "≥ 40"),
        "edges": (10.0, 20.0, 40.0),
        "observed": (0.4, 0.3, 0.2, 0.05),
        "observed_missing": 0.05,
        "reference": (0.25, 0.25, 0.25, 0.25),
        "reference_missing": 0.0,
    }
    return Distribution(column=column, role=role, kind="numeric", **values | changes)


def categorical(column, **changes):
    values = {
        "labels": ("EWR", "JFK", "LGA"),
        "observed": (0.5, 0.25, 0.25),
        "observed_missing": 0.0,
        "reference": (0.4, 0.3, 0.3),
        "reference_missing": 0.0,
    }
    return Distribution(column=column, role="feature", kind="categorical", **values | changes)


FIGURES = Figures(
    distributions=(numeric("p_late", "prediction", observed_missing=0.0), numeric("temp"), categorical("origin"))
)


def manifest(**changes):
    failing = expectation(
        on_failure="quarantine", consequence="quarantines", success=False, unexpected_count=1, examples=("17",)
    )
    values = {
        "job": "flight_delays",
        "as_of": "2013-07-27",
        "run_id": "5d3a0c9be17f4421-9f2c4b7a81e3d5f6",
        "plan_key": DIGEST,
        "job_digest": DIGEST,
        "window": WindowRecord(
            kind="interval", start=utc(2013, 7, 27, 4), end=utc(2013, 7, 28, 4), timezone="America/New_York"
        ),
        "state": "concluded",
        "verdict": "published",
        "rows": RowCounts(pulled=1_234, scored=1_200, quarantined=30, duplicates=4),
        "quarantine_reasons": {TOO_SHORT: 30},
        "key_digests": KeyDigests(pulled="0a", scored="07", quarantined="02", duplicates="01"),
        "snapshot": SnapshotRecord(
            digest=DIGEST,
            rows=1_234,
            batches=1,
            batch_rows=100_000,
            bytes=48_213,
            sha256=DIGEST,
            complete_at=utc(2013, 7, 28, 5, 0, 7),
            columns={"distance": "float64"},
        ),
        "model": ModelRecord(name="flight_delays", version=3, digest=DIGEST, alias="production", format="joblib"),
        "suite": SuiteRecord(
            name="flights", digest=DIGEST, success=True, expectations=(failing, expectation(columns=("temp",)))
        ),
        "drift": (drift("origin", 0.05), drift("temp", 0.31)),
        "code": CodeRecord(version="0.1.0", commit="3f2a9c1d", dirty=False, digest=DIGEST),
        "environment": {"python": "3.11.2", "pandas": "3.1.1"},
        "timings": (
            StageTiming(stage="pull", seconds=0.042, rows_per_second=29_381.0),
            StageTiming(stage="score", seconds=2.1, rows_per_second=587.6),
        ),
        "peak_memory_bytes": 412_345_678,
        "files": {
            "predictions": FileRecord(
                key="predictions/flight_delays/x.parquet", rows=1_200, bytes=31_234, sha256=DIGEST
            )
        },
        "started_at": utc(2013, 7, 28, 5, 0, 3),
        "finished_at": utc(2013, 7, 28, 5, 0, 6, 400_000),
    }
    return Manifest(**values | changes)


def blocked(**changes):
    never_empty = expectation(
        type="expect_column_values_to_not_be_null",
        columns=("carrier",),
        consequence="blocks",
        success=False,
        element_count=940,
        unexpected_count=94,
        sentence="carrier is never empty",
    )
    values = {
        "verdict": "blocked",
        "rows": RowCounts(pulled=940),
        "quarantine_reasons": {},
        "files": {},
        "suite": SuiteRecord(name="flights", digest=DIGEST, success=False, expectations=(never_empty,)),
        "reasons": ("carrier is never empty: 94 of 940 rows failed",),
        "next_step": "mend the feed, then: `lamplighter score flight_delays --as-of 2013-07-27`",
    }
    return manifest(**values | changes)


def failed(**changes):
    values = {
        "verdict": "failed",
        "rows": RowCounts(pulled=940),
        "quarantine_reasons": {},
        "files": {},
        "suite": None,
        "drift": (),
        "reasons": ("A child process was killed by signal 9.",),
        "next_step": "lower limits.batch_rows, and run it again",
    }
    return manifest(**values | changes)


EXAMPLE = QuarantineExample(
    reason=TOO_SHORT,
    row={"carrier": "US", "flight": "1632", "distance": "17", "tailnum": None},
    message="distance is at least 50 miles; found 17",
    column="distance",
)
COLUMNS = (
    PublishedColumn("carrier", "string", "key"),
    PublishedColumn("p_late", "double", "the model's predict_proba"),
)


def window_page(record=None, **changes):
    values = {
        "manifest": record or manifest(),
        "figures": FIGURES,
        "columns": COLUMNS,
        "table": "lake/predictions/flight_delays",
        "quarantine_table": "lake/quarantine/flight_delays",
        "quarantine_examples": (EXAMPLE,),
        "quarantine_limit": 0.05,
        "index_href": "index.html",
        "docs_href": "as_of=2013-07-27.expectations.html",
    }
    return WindowPage(**values | changes)


APART = ColumnDifferences(
    column="p_late",
    kind="probability",
    rows=1_197,
    threshold=0.5,
    flips=24,
    moves=(
        Move(production="at most 0.5", challenger="above 0.5", rows=20),
        Move(production="above 0.5", challenger="at most 0.5", rows=4),
    ),
    production_mean=0.25,
    challenger_mean=0.27,
    mean=0.02,
    std=0.11,
    lowest=-0.3,
    highest=0.71,
    spearman=0.93,
    top_moved=0.15,
    ranked_rows=1_197,
    largest=(RowApart(key={"carrier": "US", "flight": "1632"}, production=0.12, challenger=0.83),),
)


def challenge(**changes):
    values = {
        "job": "flight_delays",
        "as_of": "2013-07-27",
        "run_id": "5d3a0c9be17f4421-9f2c4b7a81e3d5f6",
        "model": "flight_delays",
        "version": 4,
        "verdict": "scored",
        "rows": 1_200,
        "scored": 1_197,
        "unscored": 3,
        "unscored_reasons": {"null_input(temp)": 3},
        "differences": (APART,),
        "distributions": (numeric("p_late", "prediction", observed_missing=0.0),),
        "code": CodeRecord(version="0.1.0", commit=None, dirty=None, digest=DIGEST),
        "started_at": utc(2013, 7, 28, 5, 1),
    }
    return Challenge(**values | changes)


def beside(stands=True, **changes):
    return Beside(challenge(**changes), stands=stands)
