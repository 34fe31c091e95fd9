"""What tests of every kind share."""

import importlib.util
import os

import pytest

from tasks.core.storage import Lake
from tasks.shards.validating import gx

if "PYTEST_XDIST_WORKER" in os.environ and importlib.util.find_spec("pyspark"):
    # A worker's main module has no file. Tests that import GX themselves do so after its door, which knows what that means.
    gx.great_expectations()

# Nothing in these runs without the extras, and where those are left out there is nothing to skip.
OF_EXTRAS = {"test_lightgbm.py", "test_nnef_format.py", "test_onnx_format.py", "test_skops_format.py"}

IDLE_SERVICES = (
    "CANCELLATION_CLEANUP",
    "FOREMAN",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "REPOSSESSOR",
    "SCHEDULER",
    "TRIGGERS",
)


def pytest_ignore_collect(collection_path, config):
    if collection_path.name in OF_EXTRAS and "not extras" in config.option.markexpr:
        return True
    return None


@pytest.fixture
def lake(tmp_path):
    """An empty lake, of which not even the folder is there."""
    return Lake(tmp_path / "lake")


@pytest.fixture(scope="session")
def prefect_harness():
    """A Prefect server for flows that run in this process: one for all tests that ask for it, never one within another."""
    from tasks.core.settings import prepare_prefect

    prepare_prefect(quiet=True)
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        pytest.MonkeyPatch.context() as patch,
        # Nobody listens to the heartbeats, and a flow ends up to a second later for each thread that sends them.
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        # What schedules, watches and triggers has nothing to do here but to hold SQLite's lock: whoever meets that is told
        # to come again after two seconds.
        for name in IDLE_SERVICES:
            patch.setenv(f"PREFECT_SERVER_SERVICES_{name}_ENABLED", "false")
        with prefect_test_harness(server_startup_timeout=120):
            yield
