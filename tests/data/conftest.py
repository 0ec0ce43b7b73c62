"""Small data sets made by seeded code."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def save():
    """Writes an array as an image file, folders included: (H, W) or (H, W, 3 or 4) uint8."""

    def write(path: Path, array: np.ndarray, **options) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path, **options)
        return path

    return write


@pytest.fixture
def make_pairs(save, rng):
    """A data set in layout `pairs`: `names` with random images and a square of change; returns its root."""

    def make(root: Path, names, *, size=32, high=255, suffixes=("png", "png", "png"), label="label") -> Path:
        for name in names:
            mask = np.zeros((size, size), np.uint8)
            mask[4:12, 4:12] = high
            for folder, suffix in zip(("A", "B"), suffixes, strict=False):
                save(root / folder / f"{name}.{suffix}", rng.integers(0, 255, (size, size, 3), dtype=np.uint8))
            if label:
                save(root / label / f"{name}.{suffixes[2]}", mask)
        return root

    return make
