"""What tests of every kind share."""

import pytest

from tasks.core.storage import Lake


@pytest.fixture
def lake(tmp_path):
    """An empty lake, of which not even the folder is there."""
    return Lake(tmp_path / "lake")


@pytest.fixture(scope="session")
def prefect_harness():
    """A Prefect server for flows that run in this process: one for all tests that ask for it, never one within another."""
    from tasks.core.settings import prepare_prefect

    prepare_prefect(quiet=True)
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield
