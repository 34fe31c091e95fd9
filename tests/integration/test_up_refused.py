"""What `lamplighter up` refuses, and `deploy`: one paragraph, at once, and nothing is started."""

import socket
import subprocess

import pytest

from tests.integration.conftest import LAMPLIGHTER
from tests.integration.up_tools import plain_environment


def typed(folder, *arguments, **variables):
    """The command, typed in a folder by somebody who has set nothing else."""
    return subprocess.run(
        [LAMPLIGHTER, *arguments],
        cwd=folder,
        env=plain_environment(PREFECT_HOME=str(folder / ".prefect"), **variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def listening():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_port_that_is_taken_is_one_paragraph_and_nothing_is_started(tmp_path, listening):
    done = typed(tmp_path, "up", "--port", str(listening))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"lamplighter: port {listening} of 127.0.0.1 cannot be used")
    assert done.stderr.endswith(f"lamplighter up --port {listening + 1}.\n")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / ".prefect/server.log").exists()


def test_without_an_address_there_is_nothing_to_deploy_to(tmp_path):
    done = typed(tmp_path, "deploy")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lamplighter: PREFECT_API_URL is not set")
    assert done.stderr.count("\n") == 1


def test_a_server_that_does_not_answer_is_one_paragraph(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/api"
    done = typed(tmp_path, "deploy", PREFECT_API_URL=address)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"lamplighter: the Prefect server at {address} did not answer")
    assert done.stderr.count("\n") == 1
