"""What users rely on: the same pixels whatever the strips, threads, batches or interruptions."""

import threading

import numpy as np
import pytest
from memory_pair import Constant, Crash, Crashing, Difference, Hungry, MemoryPair, Semantic, Smooth, Uneven

from cdengine.errors import Cancelled, ResourceError, ResumeMismatchError
from cdengine.events import CollectSink, Reporter
from cdengine.inference.detector import BatchTooLarge
from cdengine.inference.journal import Journal
from cdengine.inference.layers import LayerFormat
from cdengine.inference.run import Runner
from cdengine.inference.tiles import Tiling
from cdengine.raster.grid import Window

TILE, OVERLAP = 128, 32


def compute(
    detector, pair, folder, *, batch=1, workers=2, resume=False, dtype="float32", aoi=None, tile=TILE, sink=None
):
    layers = LayerFormat(len(detector.classes), detector.threshold, dtype)
    tiling = Tiling.of(pair.window.height, pair.window.width, tile, OVERLAP, detector.margin)
    journal = Journal(folder, {"detector": detector.name}, resume=resume)
    runner = Runner(detector, pair, tiling, layers, batch=batch, workers=workers, aoi=aoi)
    runner.run(journal, Reporter(sink or CollectSink()))
    bands = [journal.read(band) for band in range(len(tiling.rows.starts))]
    return {name: np.concatenate([band[name] for band in bands]) for name in bands[0]}


def same(one, other):
    return all(np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f") for name in one)


def test_constant_detector_gives_a_constant_raster(scene, tmp_path):
    before, after, _ = scene
    result = compute(Constant(), MemoryPair(before, after), tmp_path / "j")["probability"]
    assert result.shape == before.shape[1:]
    assert (result == np.float32(0.1)).all()


def test_point_operator_equals_one_call_on_the_whole(scene, tmp_path):
    before, after, valid = scene
    result = compute(Difference(), MemoryPair(before, after, valid), tmp_path / "j")["probability"]
    whole = Difference().predict(before[None], after[None], valid[None])[0, 0]
    assert np.array_equal(result[valid], whole[valid])
    assert np.isnan(result[~valid]).all()


def test_tiling_equals_the_whole_where_the_margin_covers_the_receptive_field(scene, tmp_path):
    before, after, _ = scene
    result = compute(Smooth(), MemoryPair(before, after), tmp_path / "j")["probability"]
    whole = Smooth().predict(before[None], after[None], np.ones((1, *before.shape[1:]), bool))[0, 0]
    assert np.abs(result - whole).max() < 1e-6


@pytest.mark.parametrize("strip", [1, 7, 96, 128, 1000])
@pytest.mark.parametrize("workers", [1, 4])
def test_strips_and_threads_do_not_change_a_bit(scene, tmp_path, strip, workers):
    reference = compute(Uneven(), MemoryPair(*scene), tmp_path / "a")
    other = compute(Uneven(), MemoryPair(*scene, strip=strip), tmp_path / "b", workers=workers)
    assert same(reference, other)


@pytest.mark.parametrize("batch", [2, 3, 100])
def test_batches_agree(scene, tmp_path, batch):
    reference = compute(Uneven(), MemoryPair(*scene), tmp_path / "a")
    other = compute(Uneven(), MemoryPair(*scene), tmp_path / "b", batch=batch)
    assert np.nanmax(np.abs(reference["probability"] - other["probability"])) <= 1e-5


def test_tiles_computed_in_any_order_give_the_same_bits(scene, tmp_path):
    class Shuffled(Uneven):
        concurrency = 4

        def __init__(self):
            self.turn = 0
            self.lock = threading.Lock()

        def predict(self, before, after, valid):
            with self.lock:
                self.turn += 1
                wait = 0.01 * (self.turn % 3)  # later tiles overtake earlier ones
            threading.Event().wait(wait)
            return super().predict(before, after, valid)

    assert same(
        compute(Uneven(), MemoryPair(*scene), tmp_path / "a"), compute(Shuffled(), MemoryPair(*scene), tmp_path / "b")
    )


def test_seams_are_smooth(tmp_path):
    """A detector that is off by a constant per tile must not show steps of that size."""

    class Offset(Difference):
        def predict(self, before, after, valid):
            return np.full((len(before), 1, *before.shape[2:]), before[:, 0, 0, 0].mean() / 255, np.float32)

    pair = MemoryPair(np.tile(np.arange(500, dtype=np.uint8) // 2, (1, 300, 1)), np.zeros((1, 300, 500), np.uint8))
    result = compute(Offset(), pair, tmp_path / "j")["probability"]
    steps = np.abs(np.diff(result, axis=1)).max()
    assert steps < 0.02 < result.max() - result.min()


@pytest.mark.parametrize("crash_at", [0, 1, 3, 5, 8, 11])
def test_resume_after_a_crash_gives_the_same_bits(scene, tmp_path, crash_at):
    reference = compute(Uneven(), MemoryPair(*scene), tmp_path / "a", tile=96)
    with pytest.raises(Crash):
        compute(Crashing(crash_at), MemoryPair(*scene), tmp_path / "b", tile=96)
    sink = CollectSink()
    resumed = compute(Uneven(), MemoryPair(*scene), tmp_path / "b", resume=True, tile=96, sink=sink)
    assert same(reference, resumed)
    done = [int(path.name[:6]) for path in (tmp_path / "b").glob("*.part")]
    assert len(done) == len(Tiling.of(300, 500, 96, OVERLAP, 0).rows.starts)


def test_resume_counts_what_is_done_and_computes_at_most_one_band_again(scene, tmp_path):
    tiling = Tiling.of(300, 500, 96, OVERLAP, 0)
    per_row = len(tiling.cols.starts) - 1  # the last column of tiles is empty in all rows but the last
    crashing = Crashing(3 * per_row + 1)
    with pytest.raises(Crash):
        compute(crashing, MemoryPair(*scene), tmp_path / "b", tile=96)
    finished = len(list((tmp_path / "b").glob("*.part")))
    assert finished >= 1
    counting, sink = Crashing(10_000), CollectSink()
    compute(counting, MemoryPair(*scene), tmp_path / "b", resume=True, tile=96, sink=sink)
    first = next(event for event in sink.events if event["event"] == "progress")
    assert first["done"] == tiling.rows.starts[finished] * 500
    computed = 10_000 - counting.left
    assert computed <= (len(tiling.rows.starts) - finished + 1) * len(tiling.cols.starts)


def test_journal_of_another_job_is_refused_by_name(tmp_path):
    Journal(tmp_path / "j", {"model": "cva", "tile": 512}, resume=False)
    with pytest.raises(ResumeMismatchError, match="tile was 512, now 256"):
        Journal(tmp_path / "j", {"model": "cva", "tile": 256}, resume=True)


def test_damaged_part_and_torn_line_are_done_again(scene, tmp_path):
    reference = compute(Uneven(), MemoryPair(*scene), tmp_path / "a", tile=96)
    compute(Uneven(), MemoryPair(*scene), tmp_path / "b", tile=96)
    part = tmp_path / "b" / "000002.part"
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)
    with open(tmp_path / "b" / "journal.jsonl", "a") as file:
        file.write('{"band": 3, "fi')
    assert same(reference, compute(Uneven(), MemoryPair(*scene), tmp_path / "b", tile=96, resume=True))


def test_out_of_memory_halves_the_batch_and_goes_on(scene, tmp_path):
    reference = compute(Uneven(), MemoryPair(*scene), tmp_path / "a")
    sink = CollectSink()
    other = compute(Hungry(1), MemoryPair(*scene), tmp_path / "b", batch=4, sink=sink)
    assert np.nanmax(np.abs(reference["probability"] - other["probability"])) <= 1e-5
    assert any("batches of 1" in event.get("message", "") for event in sink.events)


def test_out_of_memory_on_one_tile_says_what_helps(scene, tmp_path):
    with pytest.raises(ResourceError, match="--tile") as caught:
        compute(Hungry(0), MemoryPair(*scene), tmp_path / "j", batch=2)
    assert not isinstance(caught.value, BatchTooLarge)


def test_empty_tiles_never_reach_the_detector(scene, tmp_path):
    before, after, _ = scene

    class Strict(Difference):
        def predict(self, before, after, valid):
            assert valid.any(axis=(1, 2)).all()
            return super().predict(before, after, valid)

    valid = np.zeros((300, 500), bool)
    valid[10:20, 10:20] = True
    result = compute(Strict(), MemoryPair(before, after, valid), tmp_path / "j")["probability"]
    assert np.array_equal(~np.isnan(result), valid)


def test_area_of_interest_limits_results_not_context(scene, tmp_path):
    before, after, _ = scene

    class Half:
        def mask(self, grid, window):
            rows = np.arange(window.row, window.row_stop)[:, None]
            return np.broadcast_to(rows < 150, (window.height, window.width))

    full = compute(Smooth(), MemoryPair(before, after), tmp_path / "a")["probability"]
    part = compute(Smooth(), MemoryPair(before, after), tmp_path / "b", aoi=Half())["probability"]
    assert np.isnan(part[150:]).all()
    assert np.array_equal(part[:150], full[:150])


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (7, 5), (127, 128), (128, 129), (500, 31)])
def test_any_size(tmp_path, rng, shape):
    before, after = (rng.integers(0, 256, (1, *shape), dtype=np.uint8) for _ in range(2))
    result = compute(Difference(), MemoryPair(before, after), tmp_path / "j")["probability"]
    whole = Difference().predict(before[None], after[None], np.ones((1, *shape), bool))[0, 0]
    assert np.array_equal(result, whole)


def test_window_inside_the_grid(scene, tmp_path):
    before, after, valid = scene
    window = Window(33, 17, 200, 300)
    result = compute(Difference(), MemoryPair(before, after, valid, window=window), tmp_path / "j")["probability"]
    whole = Difference().predict(before[None], after[None], valid[None])[0, 0][window.slices]
    inside = valid[window.slices]
    assert result.shape == (200, 300)
    assert np.array_equal(result[inside], whole[inside])


def test_uint8_probability_never_crosses_the_threshold(rng):
    for threshold in (0.0, 0.001, 0.333, 0.5, 0.5004, 0.9999, 1.0):
        layers = LayerFormat(0, threshold, "uint8")
        probability = np.concatenate([rng.random(10_000), threshold + rng.normal(0, 1e-4, 10_000)])
        probability = np.clip(probability, 0, 1).astype(np.float32)
        stored = layers.quantise(probability)
        assert np.array_equal(layers.changed(stored), layers.changed(probability))
        assert np.abs(stored / 200 - probability).max() <= 0.0051


def test_semantic_layers(scene, tmp_path):
    before, after, valid = scene
    result = compute(Semantic(), MemoryPair(before, after, valid), tmp_path / "j")
    level = before.astype(np.float32).mean(axis=0) / 85
    expected = np.clip(np.floor(level), 0, 2)
    clear = valid & (np.abs(level - np.rint(level)) > 1e-3)
    assert np.array_equal(result["before_classes"][clear], expected[clear])
    assert (result["after_classes"][~valid] == 255).all()


def test_cancel_stops_between_tiles(scene, tmp_path):
    reporter = Reporter(CollectSink())

    class Cancelling(Difference):
        def predict(self, before, after, valid):
            reporter.cancellation.cancel()
            return super().predict(before, after, valid)

    pair = MemoryPair(*scene)
    tiling = Tiling.of(300, 500, TILE, OVERLAP, 0)
    journal = Journal(tmp_path / "j", {}, resume=False)
    with pytest.raises(Cancelled):
        Runner(Cancelling(), pair, tiling, LayerFormat(0, 0.5)).run(journal, reporter)
