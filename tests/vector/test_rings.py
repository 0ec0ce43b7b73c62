from __future__ import annotations

import numpy as np
import shapely

from cdengine.vector.rings import pack, trace

# Two single pixels at (0, 0) and (5, 2) as (row, col) corners; see `pack` for the flag.
PIXELS = [
    (0, 0, 0, True), (0, 0, 1, False), (0, 1, 0, False), (0, 1, 1, True),
    (1, 5, 2, True), (1, 5, 3, False), (1, 6, 2, False), (1, 6, 3, True),
]  # fmt: skip


def test_pixels_become_squares_that_begin_at_their_first_corner() -> None:
    region, row, col, flag = (np.array(column) for column in zip(*PIXELS, strict=True))
    polygons, first = trace(region, pack(row, col, flag), 2)
    assert polygons[1].exterior.coords[:] == [(2, 5), (3, 5), (3, 6), (2, 6), (2, 5)]
    assert first.tolist() == [[0, 0], [5, 2]]


def test_order_of_corners_does_not_matter(rng: np.random.Generator) -> None:
    region, row, col, flag = (np.array(column) for column in zip(*PIXELS, strict=True))
    shuffled = rng.permutation(len(region))
    straight, _ = trace(region, pack(row, col, flag), 2)
    mixed, _ = trace(region[shuffled], pack(row, col, flag)[shuffled], 2)
    assert shapely.equals_exact(straight, mixed).all()


def test_no_regions() -> None:
    polygons, first = trace(np.empty(0, np.int64), np.empty(0, np.int64), 0)
    assert len(polygons) == 0 and first.shape == (0, 2)


def test_regions_too_many_for_one_key_are_halved() -> None:
    region, row, col, flag = (np.array(column) for column in zip(*PIXELS, strict=True))
    far = np.where(region == 1, (1 << 31) - 10, 0)  # rows and columns need 31 bits each: no room for two regions
    polygons, first = trace(region, pack(row + far, col + far, flag), 2)
    assert polygons[0].area == polygons[1].area == 1
    assert first[1].tolist() == [(1 << 31) - 5, (1 << 31) - 8]
