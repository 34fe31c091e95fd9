"""A lake in an object store: moto's server behind a proxy that may spoil requests."""

import datetime as dt

import pytest

from tasks.core.storage import Lake, object_store
from tests.object_store_server import make_bucket, proxy_to, s3_server, set_environment


@pytest.fixture(scope="session")
def s3():
    pytest.importorskip("moto.server")
    with s3_server() as address:
        yield address


@pytest.fixture
def proxy(s3, monkeypatch):
    # The waits between attempts are the library's.
    quickly = {"init_backoff": dt.timedelta(milliseconds=5), "max_backoff": dt.timedelta(milliseconds=50), "base": 2}
    monkeypatch.setattr(object_store, "_RETRY", object_store._RETRY | {"backoff": quickly})
    with proxy_to(s3) as proxy:
        set_environment(monkeypatch, proxy)
        yield proxy


@pytest.fixture
def bucket(proxy):
    return make_bucket(proxy)


@pytest.fixture
def lake(proxy, bucket, tmp_path, monkeypatch):
    """An empty one."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    proxy.asked.clear()
    return Lake(f"s3://{bucket}/some/lake")
