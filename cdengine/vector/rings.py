"""Corners of pixel regions → polygons, all regions at once and without a loop over them.

A rectilinear outline is determined by its corners alone: sorted along rows, consecutive corners are the ends of its
horizontal edges; sorted along columns, of its vertical ones. Following both alternately walks the rings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

Array = np.ndarray[Any, np.dtype[Any]]

ROW_SHIFT = 32  # corner = row << 32 | col << 1 | leaves_horizontally
_COL_MASK = 0x7FFFFFFF


def pack(row: Array, col: Array, horizontal: Array | bool) -> Array:
    """Corners as int64, sortable by row, then column.

    Args:
        row: lattice row, 0 is the upper border of the first row of pixels.
        col: lattice column.
        horizontal: whether the outline, walked with the region on its right-hand side as seen on the map, leaves
            this corner along the row. True exactly where the region holds more of the two pixels NW and SE of the
            corner than of NE and SW.
    """
    return (row.astype(np.int64) << ROW_SHIFT) | (col.astype(np.int64) << 1) | horizontal


def trace(region: Array, corner: Array, regions: int) -> tuple[Array, Array]:
    """Polygons of 4-connected regions from their corners.

    Where a region touches itself at a lattice point it has two equal corners there. The rings are led apart such
    that each follows one background pixel; hence every ring is simple and every polygon valid.

    Args:
        region: (n,) int64, number of each corner's region, 0 … regions - 1, in any order; none without corners.
        corner: (n,) int64, see `pack`.
        regions: how many regions there are.

    Returns:
        Object array (regions,) of shapely polygons with integer (col, row) coordinates at corners only; exteriors
        start at the region's first pixel in reading order and are counter-clockwise in (col, row), holes clockwise;
        and (regions, 2) int64, row and column of that pixel.
    """
    if regions == 0:
        return np.empty(0, dtype=object), np.empty((0, 2), dtype=np.int64)
    row0 = int(corner.min()) >> ROW_SHIFT
    row_bits = ((int(corner.max()) >> ROW_SHIFT) - row0).bit_length()
    col_bits = int(((corner >> 1) & _COL_MASK).max()).bit_length()
    room = 62 - row_bits - col_bits
    if regions > 1 << room:  # keys of all regions would not fit 63 bits: two halves do
        half = regions // 2
        low = region < half
        halves = [trace(region[low], corner[low], half), trace(region[~low] - half, corner[~low], regions - half)]
        return np.concatenate([h[0] for h in halves]), np.concatenate([h[1] for h in halves])
    key = (region << row_bits) | ((corner >> ROW_SHIFT) - row0)
    key = (key << (col_bits + 1)) | (corner & ((1 << ROW_SHIFT) - 1))
    key.sort()  # values, not positions: numpy's vectorised sort

    horizontal = (key & 1).astype(bool)
    col = (key >> 1) & ((1 << col_bits) - 1)
    row = (key >> (col_bits + 1)) & ((1 << row_bits) - 1)
    owner = key >> (row_bits + col_bits + 1)
    order, ring_first = _walk(_vertical_partner(key, horizontal, owner, row, col, row_bits, col_bits), horizontal)
    row += row0
    begins = np.flatnonzero(np.diff(owner, prepend=-1))
    first = np.column_stack([row[begins], col[begins]])
    return _polygons(col, row, owner, order, ring_first, regions), first


def _vertical_partner(
    key: Array, horizontal: Array, owner: Array, row: Array, col: Array, row_bits: int, col_bits: int
) -> Array:
    """For each corner in row order, the other end of its vertical edge (that of its horizontal edge is `i ^ 1`)."""
    # Of two equal corners the first ends the edge on the left, the second begins the edge on the right. With pixels
    # NW and SE in the region (horizontal), the ring on the left goes on below, round the background pixel SW.
    below = np.zeros(len(key), dtype=np.int64)
    twin = np.flatnonzero(key[1:] == key[:-1])
    below[twin] = horizontal[twin]
    below[twin + 1] = ~horizontal[twin]
    by_column = np.argsort((((owner << col_bits) | col) << (row_bits + 1)) | (row << 1) | below)
    partner = np.empty_like(by_column)
    partner[by_column[0::2]] = by_column[1::2]
    partner[by_column[1::2]] = by_column[0::2]
    return partner


def _walk(vertical: Array, horizontal: Array) -> tuple[Array, Array]:
    """Walks every ring from its first horizontal edge.

    Returns:
        order: (edges,) for each horizontal edge, ring after ring, the corner it leaves from.
        ring_first: (rings,) where in `order` each ring begins. Rings are sorted by their first edge, so a region's
            exterior comes before its holes.
    """
    start = np.flatnonzero(horizontal)
    edges = len(start)
    number = np.cumsum(horizontal, dtype=np.int32) - np.int32(1)
    following = number[vertical[start ^ 1]]
    rings, ring = connected_components(_successors(following), directed=True, connection="strong")
    head = np.empty(rings, dtype=np.int32)
    head[ring[::-1]] = np.arange(edges - 1, -1, -1, dtype=np.int32)  # the last assignment stays: the smallest
    head.sort()
    # Each ring is cut before its head and the next ring tied on, so that one walk in C visits all of them.
    previous = np.empty_like(following)
    previous[following] = np.arange(edges, dtype=np.int32)
    following[previous[head]] = np.roll(head, -1)
    order = breadth_first_order(_successors(following), head[0], directed=True, return_predecessors=False)
    is_head = np.zeros(edges, dtype=bool)
    is_head[head] = True
    return start[order], np.flatnonzero(is_head[order])


def _successors(following: Array) -> csr_array:
    edges = len(following)
    ones = np.ones(edges, dtype=np.float64)  # scipy's graph routines would convert any other type
    return csr_array((ones, following, np.arange(edges + 1, dtype=np.int32)), shape=(edges, edges))


def _polygons(col: Array, row: Array, owner: Array, order: Array, ring_first: Array, regions: int) -> Array:
    edges, rings = len(order), len(ring_first)
    corners = np.empty(2 * edges, dtype=np.int64)
    corners[0::2] = order
    corners[1::2] = order ^ 1
    size = 2 * np.diff(ring_first, append=edges)
    ring_offset = np.zeros(rings + 1, dtype=np.int64)
    np.cumsum(size + 1, out=ring_offset[1:])  # one more: rings are closed
    target = np.arange(2 * edges) + np.repeat(np.arange(rings), size)
    coordinates = np.empty((2 * edges + rings, 2), dtype=np.float64)
    coordinates[target, 0] = col[corners]
    coordinates[target, 1] = row[corners]
    coordinates[ring_offset[1:] - 1] = coordinates[ring_offset[:-1]]
    rings_of = np.bincount(owner[order[ring_first]], minlength=regions)
    polygon_offset = np.zeros(regions + 1, dtype=np.int64)
    np.cumsum(rings_of, out=polygon_offset[1:])
    return np.asarray(
        shapely.from_ragged_array(shapely.GeometryType.POLYGON, coordinates, (ring_offset, polygon_offset))
    )
