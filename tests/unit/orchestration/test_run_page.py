"""What a run's page shows: names that people read, no traceback of what is raised on purpose, and a link that leads somewhere."""

import logging
import sys

import pytest

from tasks.core.errors import Blocked
from tasks.orchestration import artifacts
from tasks.orchestration.quiet import say_it_once
from tasks.stage import batches_named


@pytest.mark.parametrize(
    ("batches", "total", "said"),
    [
        ((0,), 1, "batch 1 of 1"),
        ((0, 2), 4, "batches 1, 3 of 4"),
        ((1, 3, 5, 7), 8, "batches 2, 4, 6, 8 of 8"),
        (tuple(range(0, 24, 2)), 24, "batches 1, 3, 5 … 23 of 24"),
    ],
)
def test_a_shard_is_named_as_people_count(batches, total, said):
    assert batches_named(batches, total) == said


def test_an_artifact_s_name_is_what_prefect_takes():
    assert artifacts.artifact_name("flight_delays", "validate output") == "flight-delays-validate-output"


@pytest.mark.parametrize("address", ["http://127.0.0.1:8090", "http://127.0.0.1:8090/"])
def test_the_report_s_address_is_where_the_pages_are_served(monkeypatch, address):
    monkeypatch.setenv("LAMPLIGHTER_PAGES_URL", address)
    assert artifacts._link("reports/r/as_of=2024-05-01.html") == "http://127.0.0.1:8090/r/as_of=2024-05-01.html"
    monkeypatch.delenv("LAMPLIGHTER_PAGES_URL")
    assert artifacts._link("reports/r/as_of=2024-05-01.html") == ""


@pytest.fixture
def lines(monkeypatch):
    """What the run's logger lets through."""
    say_it_once()
    say_it_once()
    logger, kept = logging.getLogger("prefect.flow_runs"), []
    assert len([one for one in logger.filters if type(one).__name__ == "_SaidAlready"]) == 1
    handler = logging.Handler()
    handler.emit = kept.append
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "disabled", False)
    logger.setLevel(logging.INFO)
    yield logger, kept
    logger.setLevel(logging.NOTSET)


def raised(error):
    try:
        raise error
    except type(error):
        return sys.exc_info()


def test_what_was_raised_on_purpose_has_no_traceback(lines):
    logger, kept = lines
    logger.error("Engine execution exited with unexpected exception", exc_info=raised(Blocked("no")))
    logger.error("Task run failed with state: Blocked('no')", exc_info=True)
    assert kept == []


def test_what_nobody_foresaw_keeps_its_traceback(lines):
    logger, kept = lines
    logger.error("Engine execution exited with unexpected exception", exc_info=raised(ValueError("no")))
    logger.info("a line")
    assert [record.getMessage() for record in kept] == ["Engine execution exited with unexpected exception", "a line"]
