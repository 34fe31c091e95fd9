import os

import pytest

from tasks.core.runs import formats


@pytest.fixture(autouse=True)
def _no_disk_and_no_package(monkeypatch):
    """Nothing here is about what reaches the disk, nor does anything here read with the deltalake package."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    monkeypatch.setattr(formats, "find_spec", lambda _name: True)
