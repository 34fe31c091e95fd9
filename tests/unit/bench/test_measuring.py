"""What the bench says that a command costs: wall and CPU seconds, and memory, of all that it starts."""

import sys

import pytest

from tests.bench.measuring import measured

BURN = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass\n"


def python(code, **options):
    return measured([sys.executable, "-c", code], **options)


def test_cpu_seconds_of_a_grandchild_count_also_when_its_parent_does_not_wait_for_it():
    child = f"{BURN}print('burnt', flush=True)\ntime.sleep(300)"
    starts = f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE)"
    found = python(f"import subprocess, sys\n{starts}\nchild.stdout.readline()")
    assert found["cpu_s"] >= 0.5
    assert found["wall_s"] < 100


def test_peak_memory_counts_all_processes_at_once():
    hold = "held = bytearray(80_000_000)\nimport time; time.sleep(1)"
    one = python(hold)["peak_mb"]
    both = python(
        f"import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', {hold!r}])\n{hold}\nchild.wait()"
    )
    assert one == pytest.approx(76 + 8, abs=8)
    assert both["peak_mb"] == pytest.approx(2 * one, abs=16)


def test_the_last_line_of_json_is_what_it_said():
    assert python("print('{\"rows\": 1}'); print('{\"rows\": 2}'); print('done')")["said"] == {"rows": 2}


def test_one_that_fails_says_why():
    assert "ZeroDivisionError" in python("1 / 0")["failed"]


def test_one_that_takes_too_long_is_ended_with_its_children():
    found = python("import subprocess; subprocess.run(['sleep', '300'])", limit=0.5)
    assert found["failed"] == "did not finish in 0.5 s"
    assert found["wall_s"] < 20
