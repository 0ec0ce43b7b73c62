"""How two rasters lie to each other: same pixels, shifted, scaled, another CRS; and where they meet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from affine import Affine
from pyproj import CRS as PyprojCRS
from pyproj import Geod

from cdengine.errors import GridMismatchError, NoCrsError, NoOverlapError, ResolutionError
from cdengine.raster.grid import Grid, Window
from cdengine.raster.mapping import AffineMapping, Mapping, ProjectedMapping, jacobian
from cdengine.raster.projection import Box, crs_name, degrees

ALIGNED_PX = 0.01  # corners closer than this count as the same place: far below what resampling would blur
WARN_RATIO, REFUSE_RATIO = 4.0, 100.0

Kind = Literal["same", "resampled", "warped"]


@dataclass(frozen=True)
class Alignment:
    """What was done to bring both dates onto one grid.

    Attributes:
        kind: "same" (plain reads, bit-exact), "resampled" (one CRS), "warped" (two CRSs).
        resampled: the dates whose pixels are interpolated: "", "before", "after" or "before and after".
        shift: (rows, cols) in pixels of the grid: the residual displacement of AFTER that is removed in reading.
        text: one line for the log and the output's tags.
    """

    kind: Kind
    resampled: str
    shift: tuple[float, float]
    text: str


def pixel_mapping(grid: Grid, source: Grid, shift: tuple[float, float] = (0.0, 0.0)) -> Mapping:
    """The map from positions on `grid` (plus `shift`, rows and cols) to positions in `source`.

    Raises:
        ProjError: PROJ knows no way between the two CRSs.
    """
    moved = Affine.translation(shift[1], shift[0])
    if grid.crs is None or source.crs is None:  # pixel space: row i is row i
        return AffineMapping(moved)
    if not same_crs(grid, source):
        return ProjectedMapping(grid, source, shift)
    if grid.crs.is_geographic:
        turns = _meeting_turns(grid, source)
        if len(turns) > 1:
            return ProjectedMapping(grid, source, shift)
        turn = turns[0] if turns else 0.0
        return AffineMapping(_clean(~source.transform @ Affine.translation(turn, 0) @ grid.transform @ moved))
    return AffineMapping(_clean(~source.transform @ grid.transform @ moved))


def same_crs(one: Grid, other: Grid) -> bool:
    """Whether both have the same CRS, whatever words describe it."""
    if one.crs is None or other.crs is None:
        return one.crs is other.crs
    if one.crs == other.crs:
        return True
    a, b = (PyprojCRS.from_wkt(grid.crs.to_wkt()) for grid in (one, other))  # type: ignore[union-attr]
    return bool(a.equals(b, ignore_axis_order=True))


def whole_offset(mapping: Mapping, grid: Grid) -> tuple[int, int] | None:
    """(rows, cols) when source pixels are grid pixels moved by whole numbers; else None."""
    if not isinstance(mapping, AffineMapping):
        return None
    rows, cols = round(mapping.matrix.f), round(mapping.matrix.c)
    for col, row in ((0, 0), (grid.width, 0), (0, grid.height), (grid.width, grid.height)):
        x, y = mapping.matrix @ (col, row)
        if math.hypot(x - cols - col, y - rows - row) > ALIGNED_PX:
            return None
    return rows, cols


def common_window(grid: Grid, mapping: Mapping, source: Grid) -> Window:
    """The part of `grid` where `source` may have data: a rectangle round its outline, clipped; zero-sized if none."""
    cols, rows = source.outline()
    at_r, at_c = mapping.back(rows, cols)
    known = np.isfinite(at_r) & np.isfinite(at_c)
    # A source that reaches beyond the grid's projection loses part of its outline: what the grid sees of it counts too.
    seen_r, seen_c = _seen(grid, mapping, source)
    at_r, at_c = np.concatenate([at_r[known], seen_r]), np.concatenate([at_c[known], seen_c])
    if at_r.size == 0:
        return Window(0, 0, 0, 0)
    limit = 1e9
    # Edges bend between the points of the outline: a margin of one part in a thousand, at most a few pixels.
    curved = not isinstance(mapping, AffineMapping)
    margin_r = 1 + np.ptp(at_r) * 1e-3 if curved else 0.0
    margin_c = 1 + np.ptp(at_c) * 1e-3 if curved else 0.0
    row, row_stop = math.floor(max(at_r.min() - margin_r, -limit)), math.ceil(min(at_r.max() + margin_r, limit))
    col, col_stop = math.floor(max(at_c.min() - margin_c, -limit)), math.ceil(min(at_c.max() + margin_c, limit))
    return Window(row, col, row_stop - row, col_stop - col).intersect(grid.window)


def _seen(grid: Grid, mapping: Mapping, source: Grid) -> tuple[np.ndarray, np.ndarray]:
    rows = np.linspace(0, grid.height, 129)[:, None]
    cols = np.linspace(0, grid.width, 129)[None, :]
    at_r, at_c = mapping.points(rows, cols)
    with np.errstate(invalid="ignore"):
        inside = (at_r >= 0) & (at_r < source.height) & (at_c >= 0) & (at_c < source.width)
    which_r, which_c = np.nonzero(inside)
    return rows[which_r, 0], cols[0, which_c]


def shared_part(grid: Grid, mapping: Mapping, source: Grid, window: Window) -> float:
    """Share of the grid's pixels that `source` covers, from at most 256 x 256 of the window's pixels."""
    rows = np.unique(np.linspace(window.row, window.row_stop - 1, min(256, window.height)).round()) + 0.5
    cols = np.unique(np.linspace(window.col, window.col_stop - 1, min(256, window.width)).round()) + 0.5
    at_r, at_c = mapping.points(rows[:, None], cols[None, :])
    with np.errstate(invalid="ignore"):
        inside = (at_r >= 0) & (at_r < source.height) & (at_c >= 0) & (at_c < source.width)
    return float(inside.mean()) * window.pixels / grid.window.pixels


def linear_ratio(grid: Grid, mapping: Mapping, window: Window) -> float:
    """Side of a grid pixel in source pixels in the window's middle, mean of both directions; NaN where unknown."""
    matrix = jacobian(mapping, window.row + window.height / 2, window.col + window.width / 2)
    return math.nan if matrix is None else math.sqrt(abs(float(np.linalg.det(matrix))))


def pixel_metres(grid: Grid) -> float:
    """About how wide a pixel is on the ground: for warnings, not for measuring."""
    across, down = grid.pixel_size
    if grid.crs is None:
        return math.nan
    unit = grid.crs.units_factor[1] * (6_371_000.0 if grid.crs.is_geographic else 1.0)
    return float(math.sqrt(across * down) * unit)


def check_ratio(ratio: float, *, allowed: bool = False) -> str | None:
    """A warning when the pixel sizes differ much.

    Args:
        ratio: see `linear_ratio`.
        allowed: the user knows, and any ratio is taken.

    Raises:
        ResolutionError: they differ by REFUSE_RATIO or more.
    """
    much = max(ratio, 1 / ratio) * (1 + 1e-6) if ratio > 0 else 1.0  # a factor of exactly 4 comes out a hair below
    if not much >= WARN_RATIO:
        return None
    finer, coarser = ("AFTER", "BEFORE") if ratio > 1 else ("BEFORE", "AFTER")
    fact = f"a pixel of {coarser} is {much:.3g} times as wide as one of {finer}"
    if much >= REFUSE_RATIO and not allowed:
        raise ResolutionError(
            f"{fact}; such images can hardly be compared: resample one to within a factor of {WARN_RATIO:g}, or force "
            "it with --allow-coarse"
        )
    return f"{fact}: objects of the finer image may have no counterpart in the coarser one"


def check_crs_presence(before: Grid, after: Grid, names: tuple[str, str] = ("BEFORE", "AFTER")) -> str | None:
    """A note for a pair without any CRS; `names` are what messages call the two files.

    Raises:
        NoCrsError: only one date has a CRS, or none has and the sizes differ.
    """
    if (before.crs is None) != (after.crs is None):
        name, grid = (names[0], before) if before.crs is None else (names[1], after)
        if grid.transform.is_identity:
            raise NoCrsError(
                f"{name} has no place on earth (neither a CRS nor a geotransform) and the other date has one; give it "
                "both, for example with `gdal_edit.py -a_srs EPSG:CODE -a_ullr LEFT TOP RIGHT BOTTOM FILE`"
            )
        raise NoCrsError(
            f"{name} has no coordinate reference system and the other date has one; name it with --assume-crs "
            "EPSG:CODE, or write it into the file with `gdal_edit.py -a_srs EPSG:CODE FILE`"
        )
    if before.crs is not None:
        return None
    if (before.height, before.width) != (after.height, after.width):
        raise NoCrsError(
            f"neither date has a coordinate reference system, and their sizes differ ({before.width} x {before.height} "
            f"and {after.width} x {after.height} pixels): pixel positions cannot be matched; assign the CRS of both"
        )
    return "neither date has a coordinate reference system: pixels are compared row by row, areas are in pixels"


def differences(before: Grid, after: Grid) -> list[str]:
    """What keeps two grids from having the same pixels; empty when they have."""
    if not same_crs(before, after):
        return [f"CRS ({crs_name(before)} and {crs_name(after)})"]
    found = []
    if (before.height, before.width) != (after.height, after.width):
        found.append(f"size ({before.width} x {before.height} and {after.width} x {after.height} pixels)")
    if before.crs is None:
        return found
    (bw, bh), (aw, ah) = before.pixel_size, after.pixel_size
    if abs(aw / bw - 1) * before.width > ALIGNED_PX or abs(ah / bh - 1) * before.height > ALIGNED_PX:
        found.append(f"pixel size ({bw:.8g} x {bh:.8g} and {aw:.8g} x {ah:.8g})")
    turn = math.degrees(_direction(after) - _direction(before))
    turn = (turn + 180) % 360 - 180
    if abs(math.radians(turn)) * max(before.width, before.height) > ALIGNED_PX:
        found.append(f"rotation ({turn:.4g} degrees)")
    col, row = ~before.transform @ (after.transform @ (0, 0))
    if math.hypot(row, col) > ALIGNED_PX:
        found.append(f"origin (AFTER lies {row:+.3f} rows, {col:+.3f} columns from BEFORE)")
    if not found and not before.same_pixels(Grid(before.crs, after.transform, after.height, after.width), ALIGNED_PX):
        found.append("shear or direction of rows")
    return found


def check_strict(before: Grid, after: Grid) -> None:
    """Refuses grids that differ.

    Raises:
        GridMismatchError: naming everything that differs.
    """
    found = differences(before, after)
    if found:
        raise GridMismatchError(
            f"the grids of BEFORE and AFTER differ in {'; '.join(found)}; use --align auto, or align one of them first"
        )


def no_overlap(before: Grid, after: Grid) -> NoOverlapError:
    """The error for two rasters that share no ground, with both extents and how far apart they are."""
    boxes = [degrees(grid) for grid in (before, after)]
    texts = [_extent_text(grid, box) for grid, box in zip((before, after), boxes, strict=True)]
    apart = ""
    if boxes[0] is not None and boxes[1] is not None:
        apart = f", {_gap_text(boxes[0], boxes[1])} apart"
    return NoOverlapError(
        f"BEFORE ({texts[0]}) and AFTER ({texts[1]}) share no ground{apart}; check that they show the same place and "
        "that their CRSs are right"
    )


def describe(kind: Kind, resampled: str, shift: tuple[float, float], before: Grid, after: Grid) -> str:
    """One line that says how the two dates were brought together."""
    extra = f"; residual shift of AFTER by {shift[0]:+.3f} rows, {shift[1]:+.3f} columns removed" if any(shift) else ""
    if kind == "same":
        return "both dates on one grid, pixels unchanged" + extra
    if kind == "warped":
        what = f"{resampled} warped (bilinear), {crs_name(before)} and {crs_name(after)}"
    else:
        what = f"{resampled} resampled (bilinear)"
        found = [] if before.crs is None else differences(before, after)
        what += f": the grids differ in {'; '.join(found)}" if found else ""
    return what + extra


def _clean(matrix: Affine) -> Affine:
    # ~source * grid leaves rotations of 1e-17 where there are none; they would cost the fast path.
    tiny = 1e-12
    values = [0.0 if abs(value) < tiny else value for value in (matrix.a, matrix.b, matrix.d, matrix.e)]
    return Affine(values[0], values[1], matrix.c, values[2], values[3], matrix.f)


def _meeting_turns(grid: Grid, source: Grid) -> list[float]:
    left, _, right, _ = grid.bounds
    source_left, _, source_right, _ = source.bounds
    return [
        turn for turn in (0.0, 360.0, -360.0) if min(right + turn, source_right) - max(left + turn, source_left) > 1e-9
    ]


def _direction(grid: Grid) -> float:
    return math.atan2(grid.transform.d, grid.transform.a)


def _extent_text(grid: Grid, box: Box | None) -> str:
    if box is not None:
        return f"longitude {box[0]:.4f} to {box[2]:.4f}, latitude {box[1]:.4f} to {box[3]:.4f}"
    left, bottom, right, top = grid.bounds
    return f"x {left:g} to {right:g}, y {bottom:g} to {top:g}"


def _gap_text(one: Box, other: Box) -> str:
    def between(a: float, b: float, c: float, d: float) -> tuple[float, float]:
        if b < c:
            return b, c
        return (a, d) if d < a else (max(a, c), max(a, c))

    (lon1, lon2), (lat1, lat2) = (
        between(one[0], one[2], other[0], other[2]),
        between(one[1], one[3], other[1], other[3]),
    )
    _, _, metres = Geod(ellps="WGS84").inv(lon1, lat1, lon2, lat2)
    return f"{metres / 1000:,.1f} km" if metres >= 1000 else f"{metres:.0f} m"
