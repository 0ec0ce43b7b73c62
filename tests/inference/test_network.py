"""The network as a detector, with a real FC-Siam-diff and with small modules that misbehave on purpose."""

import dataclasses
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from model_files import card_for, trained

from cdengine.errors import BandsError, DeviceLostError, ModelNanError, ModelTaskError
from cdengine.events import CollectSink, Reporter
from cdengine.inference.augment import Augmented
from cdengine.inference.detector import BatchTooLarge
from cdengine.inference.device import Device
from cdengine.inference.ensemble import Ensemble
from cdengine.inference.network import NetworkDetector
from cdengine.methods.table import METHODS
from cdengine.models.logits import Logits
from cdengine.models.modelfile import LoadedModel
from cdengine.raster.grid import Window
from cdengine.raster.pair import SourceInfo

CPU = Device("cpu", "a processor", "")


class Source:
    """Only what `prepare` looks at."""

    window = Window(0, 0, 64, 64)

    def __init__(self, before=3, after=3):
        self.before, self.after = (
            SourceInfo(f"{name}.tif", tuple(range(1, count + 1)), ("red",) + ("",) * (count - 1), np.dtype("uint8"))
            for name, count in (("before", before), ("after", after))
        )

    def strips(self, workers=2):
        raise AssertionError("a network needs no pass over the pair")


class Difference(torch.nn.Module):
    """Logit = ten times the difference of the first bands, counted from a half; a point operator."""

    stride = 1

    def forward(self, before, after):
        return 10 * ((after - before).abs()[:, :1] - 0.5)


def loaded(module=None, card=None):
    card = card or card_for()
    return LoadedModel(module or trained(card), card, "ab" * 32)


@pytest.fixture(scope="module")
def network():
    return NetworkDetector(loaded(), CPU)


@pytest.fixture
def tiles(rng):
    before, after = (rng.integers(0, 256, (3, 3, 64, 96), dtype=np.uint8) for _ in range(2))
    return before, after, rng.random((3, 64, 96)) > 0.1


def test_hand_computed_through_normalisation_and_sigmoid():
    detector = NetworkDetector(loaded(Difference()), CPU)
    before, after = np.zeros((1, 3, 1, 3), np.uint8), np.zeros((1, 3, 1, 3), np.uint8)
    before[0, 0], after[0, 0] = (102, 0, 0), (127, 51, 255)
    # card: x / 255 has mean 0.4 and std 0.2, so differences are 25/51, 1 and 5 standard deviations
    logits = np.array([10 * (25 / 51 - 0.5), 5.0, 45.0])
    result = detector.predict(before, after, np.ones((1, 1, 3), bool))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[0, 0, 0], 1 / (1 + np.exp(-logits)), rtol=1e-5)


def test_equals_the_module_itself(network, tiles):
    before, after, valid = tiles
    module = trained(card_for())
    images = [(torch.from_numpy(date / 255.0).float() - 0.4) / 0.2 for date in (before, after)]
    images = [image * torch.from_numpy(valid)[:, None] for image in images]
    with torch.inference_mode():
        expected = torch.sigmoid(module(*images)).numpy()
    np.testing.assert_allclose(network.predict(*tiles), expected, atol=2e-5)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "int32", "int64", "float32", "float64"])
def test_every_stored_dtype_gives_the_same(network, tiles, dtype):
    before, after, valid = tiles
    converted = network.predict(before.astype(dtype), after.astype(dtype), valid)
    np.testing.assert_allclose(converted, network.predict(*tiles), atol=1e-6)


def test_the_upper_half_of_uint16_is_not_negative():
    """It crosses as int16."""
    detector = NetworkDetector(loaded(Difference()), CPU)
    before, after = np.full((1, 3, 1, 1), 65400, np.uint16), np.full((1, 3, 1, 1), 65535, np.uint16)
    valid = np.ones((1, 1, 1), bool)
    as_float = detector.predict(before.astype(np.float32), after.astype(np.float32), valid)
    assert np.array_equal(detector.predict(before, after, valid), as_float)


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (7, 5), (31, 33), (64, 64), (65, 97)])
def test_any_size_equals_the_padded_one(network, rng, size):
    """Rows and columns that the network needs beyond the tile count as invalid."""
    height, width = size
    full = -(-height // 32) * 32, -(-width // 32) * 32
    before, after = (rng.integers(0, 256, (1, 3, *full), dtype=np.uint8) for _ in range(2))
    valid = np.zeros((1, *full), bool)
    valid[:, :height, :width] = True
    result = network.predict(before[..., :height, :width], after[..., :height, :width], valid[:, :height, :width])
    assert result.shape == (1, 1, height, width)
    np.testing.assert_allclose(result, network.predict(before, after, valid)[..., :height, :width], atol=1e-6)


def test_what_lies_under_invalid_pixels_does_not_matter(network, tiles):
    before, after, valid = (array.copy() for array in tiles)
    expected = network.predict(before, after, valid)
    hidden = np.broadcast_to(~valid[:, None], before.shape)
    before, after = before.astype(np.float32), after.astype(np.float32)
    before[hidden], after[hidden] = np.nan, 1e38
    result = network.predict(before, after, valid)
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_a_defect_in_the_valid_area_leaves_everything_finite(network, tiles):
    before, after, valid = (array.astype(np.float32) for array in tiles)
    before[0, 0, 5, 5], after[1, 2, 7, 7], before[2, 1, 9, 9] = 1e38, -1e38, np.nan
    for precision in ("fp32", "fp16"):
        assert np.isfinite(NetworkDetector(loaded(), CPU, precision).predict(before, after, valid > 0)).all()


def test_batches_do_not_mix_and_inputs_stay(network, tiles):
    kept = [array.copy() for array in tiles]
    whole = network.predict(*tiles)
    for index in range(3):
        part = network.predict(*(array[index : index + 1] for array in tiles))
        np.testing.assert_allclose(part, whole[index : index + 1], atol=1e-5)
    assert all(np.array_equal(*pair) for pair in zip(tiles, kept, strict=True))
    for array in tiles:
        array.flags.writeable = False
    assert np.array_equal(network.predict(*tiles), whole)


def test_two_threads_give_what_one_gives(network, tiles):
    expected = network.predict(*tiles)
    with ThreadPoolExecutor(2) as pool:
        for result in pool.map(lambda _: network.predict(*tiles), range(6)):
            np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_gives_nearly_the_same_map(network, tiles, precision):
    detector = NetworkDetector(loaded(), CPU, precision)
    low, full = detector.predict(*tiles), network.predict(*tiles)
    assert not np.array_equal(low, full)
    assert np.abs(low - full).max() < 0.02
    assert np.median(np.abs(low - full)) < 2e-3


def test_the_caller_keeps_a_float32_module():
    model = loaded()
    NetworkDetector(model, CPU, "bf16")
    assert {weight.dtype for weight in model.module.parameters()} == {torch.float32}


# ---------------------------------------------------------------- classes
class Semantic(torch.nn.Module):
    stride = 8

    def forward(self, before, after):
        return Logits(before[:, :1], before[:, :2], after[:, 1:3])


def test_class_probabilities_sum_to_one(tiles):
    detector = NetworkDetector(loaded(Semantic(), card_for(classes=("wood", "water"))), CPU)
    result = detector.predict(*tiles)
    assert detector.classes == ("wood", "water")
    assert result.shape == (3, 5, 64, 96)
    np.testing.assert_allclose(result[:, 1:3].sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(result[:, 3:5].sum(1), 1, atol=1e-6)
    normalised = (tiles[0][:, :2] / 255 - 0.4) / 0.2 * tiles[2][:, None]
    expected = np.exp(normalised[:, 0]) / np.exp(normalised).sum(1)
    np.testing.assert_allclose(result[:, 1], expected, atol=1e-5)


def test_a_module_that_gives_other_heads_than_its_card_says(tiles):
    with pytest.raises(ModelTaskError, match="gives 5 channels, its card's 0 classes need 1"):
        NetworkDetector(loaded(Semantic()), CPU).predict(*tiles)


# ---------------------------------------------------------------- prepare
def test_bands_are_checked():
    detector = NetworkDetector(loaded(), CPU)
    detector.prepare(Source(), Reporter())
    said = r"after\.tif: has 4 selected bands \(1 red, 2, 3, 4\), but a model takes 3 .*--bands-after"
    with pytest.raises(BandsError, match=said) as caught:
        detector.prepare(Source(after=4), Reporter())
    assert caught.value.exit_code == 3


def warnings_of(detector, *batches):
    sink = CollectSink()
    detector.prepare(Source(), Reporter(sink))
    for batch in batches:
        detector.predict(*batch)
    return [event["message"] for event in sink.events if event["event"] == "log"]


def test_values_unlike_the_training_data_are_warned_of_once(tiles):
    before, after, valid = tiles
    blank = (np.zeros_like(before), np.zeros_like(after), valid)
    reflectance = (before, after / np.float32(255), valid)
    said = warnings_of(NetworkDetector(loaded(Difference()), CPU), blank, reflectance, reflectance)
    assert len(said) == 1
    assert said[0].startswith("after.tif: values run from about 0")
    assert warnings_of(NetworkDetector(loaded(Difference()), CPU), blank, tiles) == []


def test_the_card_sets_the_defaults():
    detector = NetworkDetector(loaded(card=card_for(threshold=0.3, tile=256, margin=24)), CPU)
    assert (detector.threshold, detector.tile, detector.margin) == (0.3, 256, 24)
    assert (detector.name, detector.classes, detector.batch) == ("a model", (), 1)
    facts = detector.describe()
    assert facts["model_sha256"] == "ab" * 32
    assert (facts["device"], facts["precision"], facts["architecture"]) == ("cpu", "fp32", "fc-siam-diff")


# ---------------------------------------------------------------- cores
def test_calls_at_a_time_share_the_cores_and_leave_other_threads_theirs():
    cores = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        detector = NetworkDetector(loaded(Difference()), CPU)
        assert detector.concurrency == 2
        with ThreadPoolExecutor(1, initializer=detector.enter_thread, initargs=(2,)) as pool:
            assert pool.submit(torch.get_num_threads).result() == 2
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 4
        assert torch.get_num_threads() == 4
        torch.set_num_threads(1)
        assert NetworkDetector(loaded(Difference()), CPU).concurrency == 1
    finally:
        torch.set_num_threads(cores)


def test_an_ensemble_and_its_views_pass_the_cores_on(monkeypatch):
    told = []
    monkeypatch.setattr(NetworkDetector, "enter_thread", lambda self, threads: told.append((self, threads)))
    first, second = NetworkDetector(loaded(Difference()), CPU), NetworkDetector(loaded(Difference()), CPU)
    Augmented(Ensemble([first, METHODS["cva"](), second]), "flip").enter_thread(2)
    assert told == [(first, 2), (second, 2)]


# ---------------------------------------------------------------- faults
class Overflowing(torch.nn.Module):
    """Overflows in half precision where the input is high, as a trained network may."""

    stride = 1

    def __init__(self):
        super().__init__()
        self.up, self.down = torch.nn.Conv2d(3, 1, 1, bias=False), torch.nn.Conv2d(1, 1, 1, bias=False)
        torch.nn.init.constant_(self.up.weight, 30_000.0)
        torch.nn.init.constant_(self.down.weight, 1e-5)

    def forward(self, before, after):
        return self.down(self.up(after))


def test_tiles_that_overflow_in_fp16_are_redone_in_fp32():
    before = np.full((2, 3, 4, 4), 102, np.uint8)  # the mean
    after = before.copy()
    after[1] = 255  # three standard deviations, times three bands: 270,000 > 65,504
    valid = np.ones((2, 4, 4), bool)
    detector = NetworkDetector(loaded(Overflowing()), CPU, "fp16")
    result = detector.predict(before, after, valid)
    np.testing.assert_allclose(result[1], 1 / (1 + np.exp(-2.7)), rtol=1e-5)
    np.testing.assert_allclose(result[0], 0.5)
    assert detector.describe()["tiles_redone_in_fp32"] == 1


class Failing(torch.nn.Module):
    """Raises what it is told on batches larger than `most`."""

    stride = 1

    def __init__(self, error, most=0):
        super().__init__()
        self.error, self.most, self.calls = error, most, 0

    def forward(self, before, after):
        self.calls += 1
        if len(before) > self.most:
            raise self.error
        return (after - before)[:, :1]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_network_of_nan_is_refused(tiles, value, precision):
    class Broken(torch.nn.Module):
        def forward(self, before, after):
            return before[:, :1] * value

    with pytest.raises(ModelNanError, match="a model: the network gives values that are not finite, in fp32 as well"):
        NetworkDetector(loaded(Broken()), CPU, precision).predict(*tiles)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        MemoryError(),
    ],
)
def test_out_of_memory_asks_for_a_smaller_batch(tiles, error):
    module = Failing(error, most=1)
    detector = NetworkDetector(loaded(module), CPU)
    with pytest.raises(BatchTooLarge, match="3 tiles do not fit into memory") as caught:
        detector.predict(*tiles)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None  # whose traceback would keep the tensors
    assert detector.predict(*(array[:1] for array in tiles)).shape == (1, 1, 64, 96)


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be …",
        "CUDA error: device-side assert triggered",
        "CUDA error: unspecified launch failure",
        "CUDA error: uncorrectable ECC error encountered",
    ],
)
def test_a_lost_device_is_not_tried_again(tiles, said):
    module = Failing(RuntimeError(said))
    with pytest.raises(DeviceLostError, match=r"--resume") as caught:
        NetworkDetector(loaded(module), CPU).predict(*tiles)
    assert module.calls == 1
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)


def test_a_bug_stays_a_bug(tiles):
    with pytest.raises(RuntimeError, match="size of tensor"):
        NetworkDetector(loaded(Failing(RuntimeError("The size of tensor a must match"))), CPU).predict(*tiles)


def test_augmented_network_turns_with_the_tile(network, tiles):
    detector = Augmented(network, "d4")
    turned = detector.predict(*(np.rot90(array, axes=(-2, -1)) for array in tiles))
    np.testing.assert_allclose(turned, np.rot90(detector.predict(*tiles), axes=(-2, -1)), atol=1e-5)


@pytest.mark.parametrize(("metres", "told"), [(0.5, 0), (2.4, 0), (10.0, 1), (0.1, 1), (math.nan, 0)])
def test_pixels_of_another_size_are_told(metres, told):
    card = card_for()
    card = dataclasses.replace(card, before=dataclasses.replace(card.before, ground_sample_distance=0.62))
    source, sink = Source(), CollectSink()
    source.before = dataclasses.replace(source.before, pixel_m=metres)
    NetworkDetector(loaded(Difference(), card), CPU).prepare(source, Reporter(sink))
    said = [event["message"] for event in sink.events if event.get("level") == "warning"]
    assert len(said) == told
    assert all("before.tif: pixels of" in line and "0.62 m" in line and "irmad" in line for line in said)
