"""Who listens to a run's heartbeats."""

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from tasks.orchestration.heartbeats import heartbeats_where_heard


@pytest.mark.parametrize(("server", "found"), [("http://127.0.0.1:4200/api", 30), (None, None)])
def test_only_a_server_that_stays_hears_them(server, found):
    with temporary_settings({PREFECT_API_URL: server, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: 30}):
        with heartbeats_where_heard():
            assert PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() == found
        assert PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() == 30
