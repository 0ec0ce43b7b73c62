"""Fixtures shared by all tests: the real imagery beside the checkout, and a fixed seed."""

from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real imagery; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real imagery is not beside this checkout ({SHARED} does not exist)")
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260101)
