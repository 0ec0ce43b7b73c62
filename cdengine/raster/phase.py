"""Displacement of one image patch against another by phase correlation of gradient orientations, to sub-pixels.

Orientations instead of grey values make it blind to radiometric differences: gain, haze, season, sensor. Their
angles are doubled, so that an edge counts the same whichever of its sides is the brighter (Fitch et al. 2002,
"Orientation correlation", BMVC; the doubling after Granlund 1978). The peak is refined by a matrix-multiplication DFT
on a finer grid (Guizar-Sicairos, Thurman & Fienup 2008, Opt. Lett. 33, 156).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.fft import fft2, ifft2
from scipy.ndimage import binary_erosion, gaussian_filter

Array = np.ndarray[Any, np.dtype[Any]]

SMOOTHING = 1.0  # pixels, of the gradients: below it lies noise and what resampling does to the finest detail
PASS = 0.15  # cycles per pixel at which a frequency's weight has fallen to 1/e
FINE = 50  # steps per pixel of the refinement


def orientations(bands: Array, valid: Array) -> Array:
    """Edges of a patch as complex numbers: twice the gradient's angle, length near 1 on edges and near 0 elsewhere.

    Args:
        bands: (C, h, w), any real dtype; each band is scaled by its own spread, then they are averaged.
        valid: (h, w) bool.

    Returns:
        complex64 (h, w); 0 at and near pixels that are not valid, and everywhere if nothing varies.
    """
    grey = np.zeros(valid.shape, np.float32)
    for band in bands:
        data = band[valid].astype(np.float64)
        spread = data.std() if data.size else 0.0
        if spread > 0:
            grey += np.where(valid, (band.astype(np.float64) - data.mean()) / spread, 0).astype(np.float32)
    down = gaussian_filter(grey, SMOOTHING, order=(1, 0))
    right = gaussian_filter(grey, SMOOTHING, order=(0, 1))
    gradient = (right + 1j * down).astype(np.complex64)
    inside = binary_erosion(valid, iterations=4, border_value=1)
    power = np.abs(gradient[inside]) ** 2
    typical = np.median(power) if power.size else 0.0
    if typical <= 1e-8 * max(float(grey.std()), 1e-12) ** 2:
        return np.zeros(valid.shape, np.complex64)  # flat, or flat but for a few spots
    result: Array = np.where(inside, gradient**2 / (np.abs(gradient) ** 2 + typical), 0).astype(np.complex64)
    return result


def spectrum(before: Array, after: Array) -> Array:
    """Weighted, whitened cross-power spectrum of two patches of orientations (h, w)."""
    taper = np.outer(np.hanning(before.shape[0] + 2)[1:-1], np.hanning(before.shape[1] + 2)[1:-1])
    cross = fft2(after * taper) * np.conj(fft2(before * taper))
    size = np.abs(cross)
    rows, cols = np.fft.fftfreq(before.shape[0])[:, None], np.fft.fftfreq(before.shape[1])[None, :]
    weight = np.exp(-(rows**2 + cols**2) / PASS**2)
    result: Array = np.divide(cross, size, out=np.zeros_like(cross), where=size > 0) * weight
    return result


def surface(cross: Array, reach: int) -> Array:
    """Correlation at whole-pixel displacements -reach … reach: (2 reach + 1, 2 reach + 1), in its own spreads."""
    whole = ifft2(cross).real
    rows, cols = np.arange(-reach, reach + 1) % whole.shape[0], np.arange(-reach, reach + 1) % whole.shape[1]
    part = whole[np.ix_(rows, cols)]
    spread = whole.std()
    result: Array = part / spread if spread > 0 else part * 0
    return result


def peak(values: Array) -> tuple[int, int, float]:
    """Displacement (rows, cols) of the highest point of a `surface`, and its height."""
    reach = values.shape[0] // 2
    row, col = np.unravel_index(int(values.argmax()), values.shape)
    return int(row) - reach, int(col) - reach, float(values[row, col])


def refine(cross: Array, reach: float = 1.5) -> tuple[float, float]:
    """Displacement (rows, cols) of the correlation's maximum within `reach` of zero, to 1 / 50 pixel."""
    steps = np.arange(-round(reach * FINE), round(reach * FINE) + 1) / FINE
    rows, cols = np.fft.fftfreq(cross.shape[0]), np.fft.fftfreq(cross.shape[1])
    left = np.exp(2j * np.pi * np.outer(steps, rows))
    right = np.exp(2j * np.pi * np.outer(cols, steps))
    fine = (left @ cross @ right).real
    row, col = np.unravel_index(int(fine.argmax()), fine.shape)
    return float(steps[row]), float(steps[col])
