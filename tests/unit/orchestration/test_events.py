"""Events: what a server that does not answer may cost."""

import contextlib

import pytest
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from tasks.orchestration import events


@pytest.mark.parametrize(("allowed", "asked"), [(5, 1), (0, 0)])
def test_a_server_that_hangs_is_asked_once_more_and_no_oftener_than_is_allowed(monkeypatch, allowed, asked):
    retries = []

    @contextlib.contextmanager
    def refusing(**_):
        retries.append(PREFECT_CLIENT_MAX_RETRIES.value())
        raise TimeoutError
        yield

    monkeypatch.setattr(events, "get_client", refusing)
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: allowed}):
        assert not events.tell("lamplighter.data.drifted", "late", "2026-03-04", owner="ann", payload={})
        assert PREFECT_CLIENT_MAX_RETRIES.value() == allowed
    assert retries == [asked]
