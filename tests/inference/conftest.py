"""A scene for the tests of the runner."""

import numpy as np
import pytest


@pytest.fixture
def scene(rng):
    """before, after uint8 (2, 300, 500), valid with a large hole at the right and specks."""
    before = rng.integers(0, 256, (2, 300, 500), dtype=np.uint8)
    after = rng.integers(0, 256, (2, 300, 500), dtype=np.uint8)
    valid = rng.random((300, 500)) > 0.02
    valid[:, 380:] = False
    valid[250:, 380:400] = True
    return before, after, valid
