"""Pictures of what a prediction got right and wrong: hits, misses and false alarms beside both dates."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from cdengine.assess.binary import scored_pixels
from cdengine.assess.colours import Rgb, hatch

Array = np.ndarray[Any, np.dtype[Any]]

# Told apart with every kind of colour vision, and in grey by their lightness: white, middle, dark on darkened ground.
HIT: Rgb = (255, 255, 255)
MISS: Rgb = (86, 180, 233)
FALSE_ALARM: Rgb = (213, 94, 0)
WRONG_CLASS: Rgb = (204, 121, 167)
LEGEND: tuple[tuple[str, Rgb], ...] = (("hit", HIT), ("miss", MISS), ("false alarm", FALSE_ALARM))
CLASS_LEGEND = (*LEGEND, ("hit, but a class is wrong", WRONG_CLASS))
DIM = 0.38  # how much of the second date's brightness is left behind the errors
PANEL = 416  # pixels of a panel's longer side, at most
GAP = 8


def error_map(
    change: Array,
    truth: Array,
    valid: Array | None = None,
    ground: Array | None = None,
    wrong_class: Array | None = None,
) -> Array:
    """Colours every pixel by how the prediction did.

    Args:
        change: (H, W), bool or 0/1.
        truth: (H, W), bool or 0/1; 255 is not scored.
        valid: (H, W) bool; what lies under False is not scored.
        ground: (H, W, 3) uint8 picture that shows, in dark grey, where both agree that nothing changed; None: black.
        wrong_class: (H, W) bool: hits whose classes are wrong.

    Returns:
        uint8 (H, W, 3); hatched where nothing is scored.
    """
    scored, there, found = scored_pixels(truth, valid), truth == 1, change.astype(bool)
    picture: Array = np.zeros((*truth.shape, 3), np.uint8)
    if ground is not None:
        grey = ground.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        picture[...] = (DIM * grey)[..., None].astype(np.uint8)
    for where, colour in ((there & found, HIT), (there & ~found, MISS), (~there & found, FALSE_ALARM)):
        picture[where] = colour
    if wrong_class is not None:
        picture[there & found & wrong_class] = WRONG_CLASS
    picture[~scored] = hatch(*truth.shape)[~scored]
    return picture


def class_map(codes: Array, colours: Sequence[Rgb]) -> Array:
    """uint8 (H, W, 3) of codes: 0 unchanged (pale), 1 … K by `colours`, 255 hatched."""
    table = np.zeros((256, 3), np.uint8)
    table[0] = (235, 235, 235)
    table[1 : 1 + len(colours)] = np.array(colours, np.uint8).reshape(-1, 3)
    picture: Array = table[codes]
    unknown = codes == 255
    picture[unknown] = hatch(*codes.shape)[unknown]
    return picture


def panel_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a panel for an image of this size; small images are enlarged by whole factors."""
    longest = max(height, width)
    scale = PANEL / longest if longest > PANEL else PANEL // longest
    return max(8, round(height * scale)), max(8, round(width * scale))


def sheet(rows: Sequence[Sequence[Array]]) -> bytes:
    """Panels of equal size in rows, as a JPEG without colour subsampling.

    Args:
        rows: pictures (h, w, 3) uint8; a row may be shorter than the first.
    """
    height, width = rows[0][0].shape[:2]
    columns = max(map(len, rows))
    whole = np.full((len(rows) * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, np.uint8)
    for at, row in enumerate(rows):
        for column, picture in enumerate(row):
            top, left = at * (height + GAP), column * (width + GAP)
            whole[top : top + height, left : left + width] = picture
    buffer = io.BytesIO()
    Image.fromarray(whole).save(buffer, "JPEG", quality=88, optimize=True, subsampling=0)
    return buffer.getvalue()


def resampled(picture: Array, size: tuple[int, int]) -> Array:
    """The picture at another size, by nearest neighbour: no colour is made up."""
    rows = (np.arange(size[0]) + 0.5) * picture.shape[0] / size[0]
    cols = (np.arange(size[1]) + 0.5) * picture.shape[1] / size[1]
    small: Array = picture[rows.astype(int)[:, None], cols.astype(int)[None, :]]
    return small
