"""Exported models as detectors: the same pixels as from the model file, and clear words for what does not fit."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
import rasterio
from model_files import card_for, trained
from pairs import make_pair

from cdengine.errors import BandsError, DeviceError, ModelCorruptError, ModelNanError, ModelTaskError, ModelWeightsError
from cdengine.events import CollectSink, Reporter
from cdengine.inference.detect import detect
from cdengine.inference.device import Device
from cdengine.inference.network import NetworkDetector
from cdengine.inference.onnx import OnnxDetector
from cdengine.models.exporting import export_onnx
from cdengine.models.modelfile import load_model, save_model
from cdengine.raster.grid import Window
from cdengine.raster.pair import SourceInfo

CPU = Device("cpu", "a processor", "")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model file and what was exported from it."""
    folder = tmp_path_factory.mktemp("onnx")
    card = card_for("btc", arguments={"levels": 2, "width": 16}, tile=128)
    save_model(folder / "m.safetensors", trained(card), card)
    export_onnx(load_model(folder / "m.safetensors"), folder / "m.onnx", Reporter())
    return folder / "m.safetensors", folder / "m.onnx"


@pytest.fixture
def altered(files, tmp_path):
    """Writes the exported file after a change to it."""

    def write(change):
        model = onnx.load(files[1])
        change(model)
        onnx.save(model, tmp_path / "altered.onnx")
        return tmp_path / "altered.onnx"

    return write


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_tiles_are_those_of_the_network(files, dtype, rng):
    exported, network = OnnxDetector(files[1]), NetworkDetector(load_model(files[0]), CPU)
    before, after = (rng.integers(0, 256, (2, 3, 61, 90)).astype(dtype) for _ in range(2))
    valid = rng.random((2, 61, 90)) > 0.1
    if dtype.startswith("float"):
        before[:, :, ~valid[0]] = np.nan
    if dtype == "float64":
        after[0, 0, 5, 5] = 1e300
        valid[0, 5, 5] = True
    found = exported.predict(before, after, valid)
    assert found.shape == (2, 1, 61, 90) and found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_allclose(found, network.predict(before, after, valid), atol=1e-4)


def test_what_lies_under_invalid_pixels_does_not_matter(files, rng):
    detector = OnnxDetector(files[1])
    before, after = (rng.integers(0, 256, (1, 3, 64, 64), dtype=np.uint8) for _ in range(2))
    valid = rng.random((1, 64, 64)) > 0.3
    first = detector.predict(before, after, valid)
    before[:, :, ~valid[0]] = 255
    assert np.array_equal(first, detector.predict(before, after, valid))


def test_detect_gives_the_pixels_of_the_model_file(files, tmp_path):
    before, after, _ = make_pair(tmp_path, size=(300, 400), bands=3)
    layers = []
    for model in files:
        output, probability = tmp_path / f"{model.suffix[1:]}.tif", tmp_path / f"{model.suffix[1:]}_p.tif"
        result = detect(before, after, output, model=str(model), probability=str(probability), precision="fp32")
        assert result is not None
        with rasterio.open(output) as change, rasterio.open(probability) as chance:
            layers.append((change.read(1), chance.read(1).astype(float), chance.dtypes[0]))
    (change1, chance1, kind), (change2, chance2, _) = layers
    step = 1 / 255 if kind == "uint8" else 0.0
    assert np.abs(chance1 / (255 if step else 1) - chance2 / (255 if step else 1)).max() <= 1e-4 + step
    assert (change1 != change2).mean() < 1e-3  # only where the probability is the threshold


def test_precision_that_is_not_there_is_told(files, tmp_path):
    before, after, _ = make_pair(tmp_path, size=(130, 140), bands=3)
    sink = CollectSink()
    detect(before, after, tmp_path / "c.tif", model=str(files[1]), precision="bf16", reporter=Reporter(sink))
    assert any("exported models compute in fp32" in str(event) for event in sink.events)


class Source:
    """Only what `prepare` looks at."""

    window = Window(0, 0, 64, 64)

    def __init__(self, bands):
        self.before = self.after = SourceInfo("a.tif", tuple(range(1, bands + 1)), ("",) * bands, np.dtype("uint8"))

    def strips(self, workers=2):
        raise AssertionError("a network needs no pass over the pair")


def test_wrong_bands_and_devices_are_told(files):
    detector = OnnxDetector(files[1])
    detector.prepare(Source(3), Reporter())
    with pytest.raises(BandsError, match="has 4 selected bands"):
        detector.prepare(Source(4), Reporter())
    for device in ("cuda", "cuda:1", "mps", "tpu"):
        with pytest.raises(DeviceError, match=device):
            OnnxDetector(files[1], device)


def test_facts_for_the_tags(files):
    facts = OnnxDetector(files[1]).describe()
    assert facts["architecture"] == "btc" and facts["precision"] == "fp32" and len(facts["model_sha256"]) == 64
    assert facts["runtime"].startswith("onnxruntime ")


def test_graph_and_card_must_agree(altered):
    def renamed(model):
        model.graph.input[0].name = "image"
        for node in model.graph.node:
            node.input[:] = ["image" if name == "before" else name for name in node.input]

    def other_bands(model):
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7

    def other_classes(model):
        card = card_for("btc", classes=("water", "wood"), arguments={"levels": 2, "width": 16})
        next(item for item in model.metadata_props if item.key == "cdengine").value = card.to_json()

    with pytest.raises(ModelWeightsError, match="card says"):
        OnnxDetector(altered(renamed))
    with pytest.raises((ModelWeightsError, ModelCorruptError)):
        OnnxDetector(altered(other_bands))
    with pytest.raises(ModelTaskError, match="2 classes need 5 channels"):
        OnnxDetector(altered(other_classes))


def test_tensors_in_other_files_are_refused(files, altered, tmp_path):
    """A graph may name any file of this machine as the place of its weights."""

    def outside(model):
        tensor = next(item for item in model.graph.initializer if item.raw_data and len(item.dims) == 4)
        (tmp_path / "secret").write_bytes(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", "secret"), ("offset", "0")):
            tensor.external_data.add(key=key, value=value)

    payload = altered(lambda model: None)
    model = onnx.load(payload, load_external_data=False)
    outside(model)
    payload.write_bytes(model.SerializeToString())
    with pytest.raises(ModelCorruptError, match="onnxruntime refuses it"):
        OnnxDetector(payload)


def test_values_that_are_not_finite_are_an_error(altered):
    def poisoned(model):
        tensor = next(item for item in model.graph.initializer if len(item.dims) == 4)
        values = onnx.numpy_helper.to_array(tensor).copy()
        values[:] = np.nan
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))

    detector = OnnxDetector(altered(poisoned))
    image, valid = np.full((1, 3, 32, 32), 90, np.uint8), np.ones((1, 32, 32), bool)
    with pytest.raises(ModelNanError):
        detector.predict(image, image, valid)


def test_torch_is_not_needed(files, tmp_path):
    """Where only onnxruntime is installed, an exported model still runs."""
    before, after, _ = make_pair(tmp_path, size=(130, 140), bands=3)
    code = (
        "import sys; sys.modules['torch'] = sys.modules['timm'] = None\n"
        f"import cdengine; cdengine.detect({before!r}, {after!r}, {str(tmp_path / 'c.tif')!r}, model={str(files[1])!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "c.tif").is_file()
