"""`lamplighter pages` as a process: it serves a lake's reports, and Ctrl-C ends it without a word too many."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

LAMPLIGHTER = str(Path(sys.executable).with_name("lamplighter"))


@pytest.fixture
def pages(tmp_path):
    """The running command, and the address that it printed."""
    (tmp_path / "lake/reports").mkdir(parents=True)
    (tmp_path / "lake/reports/index.html").write_text("<h1>home</h1>")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAMPLIGHTER_")}
    process = subprocess.Popen(
        [LAMPLIGHTER, "pages", "--port", "0"],
        env=kept | {"LAMPLIGHTER_LAKE": str(tmp_path / "lake"), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, re.search(r"http://\S+", process.stdout.readline())[0]
    finally:
        process.kill()
        process.communicate()


def test_it_serves_until_ctrl_c(pages):
    process, address = pages

    # The socket listens already: who asks at once waits for the first answer.
    with urllib.request.urlopen(address, timeout=60) as answer:
        assert answer.read() == b"<h1>home</h1>"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, out.splitlines(), err) == (0, ["Stopped."], "")


def test_an_open_connection_does_not_keep_it(pages):
    process, address = pages
    with urllib.request.urlopen(address, timeout=60):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


def test_a_port_that_is_taken_is_a_paragraph(pages):
    _, address = pages
    port = address.rstrip("/").rpartition(":")[2]

    done = subprocess.run(
        [LAMPLIGHTER, "pages", "--port", port], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 2
    assert "already in use" in done.stderr
    assert "Traceback" not in done.stderr
