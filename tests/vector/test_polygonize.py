from __future__ import annotations

import time

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tracing import gdal_polygons, own_polygons, polygonize

from cdengine.errors import Cancelled
from cdengine.events import Reporter
from cdengine.vector import polygonize as module
from cdengine.vector.polygonize import Patches, Polygonizer


def spiral(size: int) -> np.ndarray:
    """One arm, one pixel wide, that winds inwards and meets every row again and again."""
    labels = np.zeros((size, size), np.uint8)
    row, col, (dr, dc) = 0, -1, (0, 1)
    for length in [size, *(n for n in range(size - 1, 0, -2) for _ in (0, 1))]:
        for _ in range(length):
            row, col = row + dr, col + dc
            labels[row, col] = 1
        dr, dc = dc, -dr
    return labels


def rings(size: int) -> np.ndarray:
    row, col = np.mgrid[:size, :size]
    return (np.maximum(abs(row - size // 2), abs(col - size // 2)) % 2).astype(np.uint8)


def comb(size: int) -> np.ndarray:
    labels = np.zeros((size, size), np.uint8)
    labels[:, ::2] = 1
    labels[-1] = 1
    return labels


SHAPES = {
    "nothing": np.zeros((9, 7), np.uint8),
    "everything": np.ones((9, 7), np.uint8),
    "checkerboard": (np.indices((9, 8)).sum(axis=0) % 2).astype(np.uint8),
    "rings": rings(17),
    "spiral": spiral(21),
    "comb": comb(13),
    "comb upside down": comb(13)[::-1],
    "one row": np.array([[1, 1, 0, 2, 2, 1]], np.uint8),
    "one column": np.array([[1], [1], [0], [2], [2], [1]], np.uint8),
    "diagonal loop": np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]], np.uint8),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("height", [1, 2, 3, 100])
def test_shapes_equal_gdals_trace_of_the_whole(name: str, height: int) -> None:
    labels = SHAPES[name]
    assert own_polygons(polygonize(labels, [height])) == gdal_polygons(labels)


@settings(max_examples=300, deadline=None)
@given(
    labels=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 2)),
    heights=st.lists(st.integers(1, 5), min_size=1, max_size=4),
)
def test_any_labels_in_any_strips_equal_gdals_trace(labels: np.ndarray, heights: list[int]) -> None:
    patches = polygonize(labels, heights)
    assert own_polygons(patches) == gdal_polygons(labels)
    assert shapely.is_valid(patches.geometry).all()
    assert (shapely.area(patches.geometry) == patches.pixels).all()
    for geometry, (row, col), value in zip(patches.geometry, patches.first, patches.value, strict=True):
        assert labels[row, col] == value
        assert geometry.covers(shapely.box(col, row, col + 1, row + 1))
        assert shapely.area(geometry) == 1 or not geometry.intersection(shapely.box(0, 0, 99, row)).area


@settings(max_examples=50, deadline=None)
@given(heights=st.lists(st.integers(1, 70), min_size=1, max_size=5), seed=st.integers(0, 5))
def test_figures_do_not_depend_on_strips_to_the_last_bit(heights: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.random((61, 40)) < 0.6).astype(np.uint8) * rng.integers(1, 3, (61, 40), dtype=np.uint8)
    probability = rng.random((61, 40)).astype(np.float32)

    def figures(patches: Patches) -> dict[tuple[int, int], tuple[int, float, bytes]]:
        rows = zip(patches.first, patches.pixels, patches.probability, patches.geometry, strict=True)
        return {tuple(first): (int(n), float(p), shapely.to_wkb(g)) for first, n, p, g in rows}

    assert figures(polygonize(labels, heights, probability)) == figures(polygonize(labels, [61], probability))


def test_block_size_makes_no_difference(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    labels = (rng.random((90, 50)) < 0.7).astype(np.uint8)
    whole = own_polygons(polygonize(labels, [90]))
    monkeypatch.setattr(module, "BLOCK_PIXELS", 130)
    assert own_polygons(polygonize(labels, [90])) == whole


def test_mean_probability_and_count_of_a_patch_over_a_seam() -> None:
    labels = np.array([[1, 0], [1, 0], [1, 1]], np.uint8)
    probability = np.array([[0.5, np.nan], [0.75, np.nan], [1.0, 0.75]], np.float32)
    patches = polygonize(labels, [1], probability)
    assert patches.pixels.tolist() == [4]
    assert patches.probability.tolist() == [0.75]


def test_min_pixels_drops_exactly_the_smaller_ones(rng: np.random.Generator) -> None:
    labels = (rng.random((80, 80)) < 0.5).astype(np.uint8)
    every = polygonize(labels, [7])
    some = polygonize(labels, [7], min_pixels=5)
    assert own_polygons(some) == own_polygons(every.take(every.pixels >= 5))


def test_rows_left_out_are_background() -> None:
    polygonizer = Polygonizer(2)
    polygonizer.add(0, np.ones((2, 2), np.uint8))
    above = polygonizer.add(5, np.ones((1, 2), np.uint8))
    below = polygonizer.finish()
    assert above.geometry[0].bounds == (0, 0, 2, 2)
    assert below.geometry[0].bounds == (0, 5, 2, 6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_large_labels_keep_their_value(dtype: type) -> None:
    value = min(np.iinfo(dtype).max, 2**40)
    patches = polygonize(np.array([[0, value], [value, value]], dtype), [1])
    assert patches.value.tolist() == [value]


def test_strips_must_go_downwards_and_fit() -> None:
    polygonizer = Polygonizer(3)
    polygonizer.add(0, np.ones((2, 3), np.uint8))
    with pytest.raises(ValueError, match="downwards"):
        polygonizer.add(1, np.ones((1, 3), np.uint8))
    with pytest.raises(ValueError, match="shape"):
        polygonizer.add(2, np.ones((1, 4), np.uint8))


def test_cancel_is_seen_between_blocks() -> None:
    reporter = Reporter()
    reporter.cancellation.cancel()
    with pytest.raises(Cancelled):
        Polygonizer(3, reporter=reporter).add(0, np.ones((2, 3), np.uint8))


def test_time_is_linear_for_an_object_that_crosses_every_strip() -> None:
    """A quadratic join would take eight times as long per row at eight times the height."""

    def seconds(rows: int) -> float:
        labels = np.zeros((rows, 64), np.uint8)
        labels[:, 20:40] = 1
        labels[::3, 25:30] = 0  # holes all along
        began = time.perf_counter()
        patches = polygonize(labels, [16])
        assert len(patches) == 1 and shapely.get_num_interior_rings(patches.geometry[0]) > rows // 4
        return time.perf_counter() - began

    short = min(seconds(1000) for _ in range(3))
    assert seconds(8000) < 8 * 3 * short


def test_open_objects_are_few_however_tall_the_raster() -> None:
    polygonizer = Polygonizer(100)
    strip = np.zeros((10, 100), np.uint8)
    strip[2:5, ::4] = 1  # ends inside the strip
    for step in range(50):
        polygonizer.add(10 * step, strip)
        assert not polygonizer._open.corners


@pytest.mark.parametrize("name", ["oscd/bercy", "oscd/nantes", "oscd/beihai", "landsat_taizhou"])
def test_real_label_rasters_equal_gdals_trace(name: str, shared_data) -> None:
    with rasterio.open(shared_data / name / "label.tif") as file:
        labels = file.read(1)
    assert own_polygons(polygonize(labels, [37, 5])) == gdal_polygons(labels)
