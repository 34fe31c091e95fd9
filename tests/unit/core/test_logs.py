"""Log lines: each says which run it belongs to, in text and in JSON, and no value can end a line or forge one."""

import json
import logging
import re
import threading
from contextvars import copy_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core import logs

HOSTILE = 'x\n2026-11-21T10:32:01.123Z ERROR job=pay as_of=- run_id=- forged\r\x1b[2J\x85\u2028\u202e"\ud800\0'


@pytest.fixture(autouse=True)
def _nothing_decided(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("LOG_FORMAT", "LOG_LEVEL"):
        monkeypatch.delenv(f"LAMPLIGHTER_{name}", raising=False)
    before, propagate, level = list(logs.log.handlers), logs.log.propagate, logs.log.level
    # A flow that ran before in this process has left Prefect's.
    logs.log.handlers[:] = []
    yield
    logs.log.handlers[:] = before
    logs.log.propagate = propagate
    logs.log.setLevel(level)


@pytest.fixture
def lines(monkeypatch, capsys):
    """What a process prints that logs as the block says."""

    def of(block, *, usual_level="info", **settings):
        for name, value in settings.items():
            monkeypatch.setenv(f"LAMPLIGHTER_{name.upper()}", value)
        logs.show_lines(usual_level=usual_level)
        block()
        return capsys.readouterr().err.splitlines()

    return of


def a_run():
    with logs.run_fields(job="churn", as_of="2026-11-20"):
        logs.log.info("Pull the window: begins")
        logs.know(run_id="2ba0d3d4-6a9bd0cd")
        logs.log.info("%s: %d rows", "Pull the window", 929, extra={"rows": 929, "seconds": 0.2})


def test_each_line_has_the_job_the_window_and_the_run(lines):
    first, second = lines(a_run)

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO job=churn as_of=2026-11-20 run_id=- Pull the window: begins",
        first,
    )
    assert second.endswith("INFO job=churn as_of=2026-11-20 run_id=2ba0d3d4-6a9bd0cd Pull the window: 929 rows")


def test_json_on_request_is_one_object_a_line(lines):
    first, second = map(json.loads, lines(a_run, log_format="JSON"))

    assert (first["job"], first["as_of"], first["run_id"]) == ("churn", "2026-11-20", None)
    assert second["run_id"] == "2ba0d3d4-6a9bd0cd"
    assert (second["level"], second["message"], second["rows"], second["seconds"]) == (
        "info",
        "Pull the window: 929 rows",
        929,
        0.2,
    )


def test_a_command_that_is_typed_shows_no_line_unless_asked_to(lines):
    assert lines(a_run, usual_level=None) == []
    assert len(lines(a_run, usual_level=None, log_level="info")) == 2
    assert lines(a_run, usual_level="debug", log_level="error") == []


def test_after_a_run_lines_belong_to_none(lines):
    a_run()
    (line,) = lines(lambda: logs.log.warning("outside"))

    assert line.endswith("WARNING job=- as_of=- run_id=- outside")


def test_threads_of_a_run_have_its_fields_and_those_of_another_run_do_not(lines):
    def two_runs():
        with logs.run_fields(job="churn"):
            inside = copy_context()
            # Known only after the thread's context was copied, as the run's name is.
            logs.know(run_id="1-1")
            on_thread(lambda: inside.run(logs.log.info, "of a shard"))
            with logs.run_fields(job="other"):
                logs.log.info("of a run within")
            logs.log.info("again")
        on_thread(lambda: logs.log.info("of nobody"))

    assert [line.split(" ", 2)[2] for line in lines(two_runs)] == [
        "job=churn as_of=- run_id=1-1 of a shard",
        "job=other as_of=- run_id=- of a run within",
        "job=churn as_of=- run_id=1-1 again",
        "job=- as_of=- run_id=- of nobody",
    ]


def on_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_value_forges_a_line(lines, log_format):
    def hostile():
        with logs.run_fields(job=HOSTILE, as_of="a b=c"):
            logs.log.error("Blocked: %s", HOSTILE)

    (line,) = lines(hostile, log_format=log_format)

    assert line.isprintable()
    if log_format == "text":
        assert re.match(r'\S+ ERROR job="x\\\\n2026.*" as_of="a b=c" run_id=- Blocked: x\\n2026', line)
    else:
        assert json.loads(line)["message"].startswith("Blocked: x\\n2026")


@given(st.text(st.characters(exclude_categories=()), max_size=300))
def test_one_line_is_one_line_of_utf_8(text):
    safe = logs.one_line(text)

    assert len(safe.splitlines()) <= 1
    assert "\x1b" not in safe
    safe.encode("utf-8")


def test_a_megabyte_is_cut(lines):
    (line,) = lines(lambda: logs.log.info("x" * 1_000_000))

    assert len(line) < 5000


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_forges_no_line_either(lines, log_format):
    # The test's own report, which pytest-xdist sends to another process, cannot carry half a character.
    hostile = HOSTILE.replace("\ud800", "")

    def crash():
        try:
            raise ValueError(hostile)
        except ValueError:
            logs.log.exception("Failed")

    first, *others = lines(crash, log_format=log_format)

    assert "Failed" in first
    assert all(line.startswith("  | ") for line in others)


def test_every_handler_gets_the_clean_line_with_its_run():
    seen = []
    handler = logging.Handler()
    handler.emit = seen.append
    logs.log.addHandler(handler)
    with logs.run_fields(job="churn"):
        logs.log.warning("a\nb")

    (record,) = seen
    assert (record.getMessage(), record.job, record.run_id) == ("a\\nb", "churn", "")
