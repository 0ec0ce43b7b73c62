"""Which part of a result a picture shows: all of it, the part that was compared, or that with most change."""

from __future__ import annotations

import os

import numpy as np
import scipy.ndimage

from cdengine.assess.preview import DETAIL_PX, Frame, Image, grid_of, opened_image, read_layer, too_dear
from cdengine.raster.grid import Grid, Window
from cdengine.raster.quiet import opened

PANEL_PX = 680
WHOLE = 0.75  # of both sides: a part that is larger is shown with all around it
MARGIN, MARGIN_PX = 0.05, 16  # shown around a part, as a share of its longer side, and at least


def frame_of(
    before: Image, after: Image, change: str | os.PathLike[str], compared: Window | None = None
) -> tuple[Frame, str]:
    """The frame of a result's picture, on the grid of the change raster, and in words what it shows ("" for all).

    Args:
        before: raster of the first date.
        after: raster of the second date.
        change: raster with 1 for change.
        compared: the part of the change raster's grid where anything can have been compared; None for all of it.
    """
    with opened(change) as dataset:
        grid = grid_of(dataset)
    view = grid.window if compared is None else _around(compared, grid)
    shown = "" if view == grid.window else "around what was compared"
    factor = max(1.0, max(view.height, view.width) / PANEL_PX)
    share = view.height / grid.height, view.width / grid.width
    if any(_dear(image, label, grid, factor, share) for image, label in ((before, "BEFORE"), (after, "AFTER"))):
        view = _most_changed(change, grid, view)
        shown = "with most change (an input has no overviews)"
    longest = max(view.height, view.width)
    # Tiny rasters are enlarged by whole factors, so that pixels stay square and sharp.
    scale = PANEL_PX / longest if longest > PANEL_PX else max(1, PANEL_PX // (2 * longest) + (PANEL_PX // longest > 1))
    return Frame(grid, view, max(8, round(view.height * scale)), max(8, round(view.width * scale))), shown


def _dear(image: Image, label: str, grid: Grid, factor: float, share: tuple[float, float]) -> bool:
    with opened_image(image, label) as (dataset, _):
        finer = max(1.0, dataset.height / grid.height)  # the date may have smaller pixels than the result
        return too_dear(dataset, factor * finer, share)


def _around(part: Window, grid: Grid) -> Window:
    """A part of the grid with a margin; all of the grid where the part is nearly that."""
    if part.height > WHOLE * grid.height and part.width > WHOLE * grid.width:
        return grid.window
    margin = max(MARGIN_PX, round(MARGIN * max(part.height, part.width)))
    wider = Window(part.row - margin, part.col - margin, part.height + 2 * margin, part.width + 2 * margin)
    return wider.intersect(grid.window)


def _most_changed(change: str | os.PathLike[str], grid: Grid, view: Window) -> Window:
    """The window of DETAIL_PX inside `view` with most change, found on a small picture of the change raster."""
    longest = max(view.height, view.width)
    small = Frame(grid, view, max(1, round(256 * view.height / longest)), max(1, round(256 * view.width / longest)))
    layer = np.nan_to_num(read_layer(change, small))
    height, width = min(DETAIL_PX, view.height), min(DETAIL_PX, view.width)
    size = [
        max(1, round(extent * side / full))
        for extent, side, full in zip((height, width), layer.shape, (view.height, view.width), strict=True)
    ]
    density = scipy.ndimage.uniform_filter((layer == 1).astype(np.float32), size, mode="constant")
    row, col = np.unravel_index(int(density.argmax()), density.shape)
    centre = (row + 0.5) / layer.shape[0] * view.height, (col + 0.5) / layer.shape[1] * view.width
    top = view.row + int(min(max(0, centre[0] - height / 2), view.height - height))
    left = view.col + int(min(max(0, centre[1] - width / 2), view.width - width))
    return Window(top, left, height, width)
