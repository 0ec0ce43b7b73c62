"""The pair that every fault starts from."""

import fault_makers as makers
import pytest
from pairs import make_pair


@pytest.fixture
def folder(tmp_path):
    """before.tif and after.tif of three bands, and a place for outputs."""
    make_pair(tmp_path, size=makers.SIZE, bands=3, change=(40, 40, 20, 20))
    (tmp_path / "out").mkdir()
    return tmp_path
