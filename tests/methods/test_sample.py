"""The sample and the blocks of the streaming pass."""

import numpy as np
import pytest
from array_source import ArraySource

from cdengine.errors import Cancelled
from cdengine.events import Cancellation, CollectSink, Reporter
from cdengine.methods import sample as module
from cdengine.methods.sample import PixelSample, blocks, core_window, position_hash
from cdengine.raster.grid import Window


def _gather(values, strip, size):
    sample = PixelSample(size)
    usable = np.ones(values.shape[1:], bool)
    for part in Window(0, 0, *values.shape[1:]).split(strip):
        sample.add(part, usable[part.slices], values[:, part.slices[0]])
    return sample.arrays()[0]


def test_all_pixels_while_they_fit(rng):
    values = rng.random((2, 30, 40))
    assert np.array_equal(_gather(values, 7, 1200), values.reshape(2, -1))


@pytest.mark.parametrize("size", [100, 511, 700])
def test_sample_depends_on_neither_strips_nor_order_of_halving(rng, size):
    values = rng.random((1, 60, 50))
    one, other = _gather(values, 60, size), _gather(values, 3, size)
    assert np.array_equal(one, other)
    assert size / 4 < one.shape[1] <= size


def test_sample_has_the_statistics_of_the_scene():
    values = np.broadcast_to(np.linspace(0, 1, 500)[:, None], (500, 400))[None]
    for axis in (values, values.transpose(0, 2, 1)[:, :400, :400]):
        chosen = _gather(np.ascontiguousarray(axis), 64, 10_000)
        assert chosen.mean() == pytest.approx(axis.mean(), abs=0.02)
        assert chosen.std() == pytest.approx(axis.std(), abs=0.02)


def test_hash_belongs_to_the_place_on_the_grid():
    whole = position_hash(Window(0, 0, 40, 50))
    assert np.array_equal(whole[10:20, 5:30], position_hash(Window(10, 5, 10, 25)))
    assert len(np.unique(whole)) == whole.size


@pytest.mark.parametrize("strip", [1, 3, 10, 37, 64])
@pytest.mark.parametrize("halo", [0, 2, 5])
def test_blocks_cover_every_row_once_with_its_context(rng, strip, halo, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_VALUES", 9 * 8 * 3)
    image = rng.integers(0, 255, (2, 37, 8)).astype(np.uint8)
    source = ArraySource(image, image[:1], strip=strip, origin=(11, 4))
    sink = CollectSink()
    rows = []
    with Reporter(sink).stage("statistics", source.window.pixels, "px") as stage:
        for block, core in blocks(source, stage, halo):
            window = core_window(block.window, core)
            rows.extend(range(window.row, window.row_stop))
            assert block.window.row == max(11, window.row - halo) or block.window.row < window.row - halo
            assert block.window.row_stop >= min(48, window.row_stop + halo)
            inside = slice(block.window.row - 11, block.window.row_stop - 11)
            assert np.array_equal(block.before, image[:, inside])
            assert block.valid.shape == block.before.shape[1:]
    assert rows == list(range(11, 48))
    assert sink.events[-1]["done"] == 37 * 8


def test_cancel_stops_the_pass(rng):
    image = rng.integers(0, 255, (1, 40, 40)).astype(np.uint8)
    cancellation = Cancellation()
    reporter = Reporter(CollectSink(), cancellation)
    with pytest.raises(Cancelled), reporter.stage("statistics", 1600, "px") as stage:
        for _ in blocks(ArraySource(image, image, strip=8), stage):
            cancellation.cancel()
