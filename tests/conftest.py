"""What tests of every kind share."""

import pytest

from tasks.core.storage import Lake


@pytest.fixture
def lake(tmp_path):
    """An empty lake, of which not even the folder is there."""
    return Lake(tmp_path / "lake")
