"""Stationary random textures that wrap around: made once per size, cut out wherever a scene needs one."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft

Array = np.ndarray[Any, np.dtype[Any]]
SIZE = 1024
# Exponent of the power spectrum in spatial frequency, and the longest wavelength in pixels.
KINDS: dict[str, tuple[float, float]] = {"fine": (0.4, 8), "middle": (1.8, 40), "coarse": (3.0, 400)}


@lru_cache(maxsize=1)
def bank() -> dict[str, Array]:
    """Zero-mean, unit-variance float32 textures of SIZE × SIZE pixels by kind; they wrap at their borders."""
    rng = np.random.default_rng(7)
    fy = np.fft.fftfreq(SIZE)[:, None]
    fx = np.fft.rfftfreq(SIZE)[None, :]
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = 1.0
    made = {}
    for kind, (slope, longest) in KINDS.items():
        amplitude = frequency ** (-slope / 2) / (1 + (1 / (frequency * longest)) ** 4)
        amplitude[0, 0] = 0.0
        spectrum = scipy.fft.rfft2(rng.standard_normal((SIZE, SIZE), dtype=np.float32)) * amplitude
        texture = scipy.fft.irfft2(spectrum, (SIZE, SIZE)).astype(np.float32)
        made[kind] = texture / texture.std()
        made[kind].setflags(write=False)
    return made


def cut(kind: str, row: int, col: int, height: int, width: int) -> Array:
    """(height, width) of the endless texture whose first pixel is (row, col)."""
    texture = bank()[kind]
    row, col = row % SIZE, col % SIZE
    if row + height <= SIZE and col + width <= SIZE:
        return texture[row : row + height, col : col + width]
    rows = np.arange(row, row + height) % SIZE
    cols = np.arange(col, col + width) % SIZE
    return texture[rows[:, None], cols[None, :]]
