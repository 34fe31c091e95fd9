"""What `lamplighter up` refuses, and `deploy`: one paragraph, at once, and nothing is started."""

import socket
import subprocess

import pytest

from tests.integration.conftest import LAMPLIGHTER
from tests.integration.up_tools import plain_environment


@pytest.fixture
def listening():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_port_that_is_taken_is_one_paragraph_and_nothing_is_started(tmp_path, listening):
    done = subprocess.run(
        [LAMPLIGHTER, "up", "--port", str(listening)],
        cwd=tmp_path,
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"lamplighter: port {listening} of 127.0.0.1 cannot be used")
    assert done.stderr.endswith(f"lamplighter up --port {listening + 1}.\n")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / ".prefect/server.log").exists()
