"""Buildings cut out of labelled images, and how they are pasted elsewhere: turned, scaled, recoloured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.ndimage
from PIL import Image

from cdengine.synthesis.composites.sources import Source

Array = np.ndarray[Any, np.dtype[Any]]
LEAST, MOST = 14, 260  # pixels of a cut-out's box: smaller ones show nothing, larger ones are whole blocks
RIM = 2


@dataclass(frozen=True)
class Cutout:
    """One building: an RGBA picture, and the direction of its longer side in radians."""

    picture: Image.Image
    angle: float
    length: float
    width: float


def cut_out(source: Source) -> list[Cutout]:
    """All whole buildings of a labelled image: those that the image's border cuts are left."""
    mask = np.asarray(source.label) == 1
    numbers, count = scipy.ndimage.label(mask)
    found = []
    pixels = np.asarray(source.picture)
    for number, box in enumerate(scipy.ndimage.find_objects(numbers, count), start=1):
        rows, cols = box
        if min(rows.start, cols.start) == 0 or rows.stop == mask.shape[0] or cols.stop == mask.shape[1]:
            continue
        own = numbers[box] == number
        if min(own.shape) < LEAST or max(own.shape) > MOST:
            continue
        angle, length, width = _axes(own)
        if own.sum() < 0.62 * length * width:  # several houses in one, or half a house
            continue
        alpha = np.pad(own.astype(np.uint8) * 255, RIM)
        colours = np.pad(pixels[box], ((RIM, RIM), (RIM, RIM), (0, 0)), mode="edge")
        picture = Image.fromarray(np.dstack([colours, alpha]))
        found.append(Cutout(picture, angle, length, width))
    return found


def _axes(mask: Array) -> tuple[float, float, float]:
    """Direction, length and width of the rectangle with the mask's second moments."""
    rows, cols = np.nonzero(mask)
    cov = np.cov(np.stack([cols, rows]).astype(np.float64)) + np.eye(2) / 12
    values, vectors = np.linalg.eigh(cov)
    width, length = np.sqrt(12 * np.maximum(values, 1e-3))
    return math.atan2(vectors[1, 1], vectors[0, 1]), float(length), float(width)


def placed(cutout: Cutout, length: float, angle: float, mirrored: bool) -> tuple[Array, Array]:
    """A cut-out scaled to a length in pixels and turned.

    Returns:
        (h, w, 3) float32 colours, (h, w) float32 opacity.
    """
    scale = length / cutout.length
    size = (max(3, round(cutout.picture.width * scale)), max(3, round(cutout.picture.height * scale)))
    picture = cutout.picture.resize(size, Image.Resampling.BILINEAR)
    own = cutout.angle
    if mirrored:
        picture, own = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), math.pi - own
    # PIL turns counter-clockwise in a picture whose rows run down: minus the angle as measured here.
    picture = picture.rotate(math.degrees(own - angle), Image.Resampling.BILINEAR, expand=True)
    pixels = np.asarray(picture, np.float32)
    return pixels[..., :3], pixels[..., 3] / np.float32(255)
