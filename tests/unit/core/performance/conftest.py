"""Nothing here asks what a disk does when the power fails."""

import os

import pytest


@pytest.fixture(autouse=True)
def _without_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
