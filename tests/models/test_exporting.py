"""Exported graphs: one graph for every batch and size, the card inside, the same values as torch."""

import inspect

import numpy as np
import onnxruntime
import pytest
import torch
from model_files import card_for, trained

from cdengine.errors import ModelArchitectureError, ModelError
from cdengine.events import Reporter
from cdengine.models import exporting
from cdengine.models.container import read_card
from cdengine.models.exporting import TOLERANCE, Deployable, export_onnx, export_program
from cdengine.models.modelfile import LoadedModel
from cdengine.models.normalise import Normaliser
from cdengine.models.zoo import ARCHITECTURES

SMALL = {"levels": 2, "width": 16}


def loaded(card, module=None):
    return LoadedModel(module or trained(card), card, "ab" * 32)


def small(bands=(3, 3)):
    return loaded(card_for("btc", bands, arguments=SMALL))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "m.onnx"
    model = small((3, 4))
    return model, path, export_onnx(model, path, Reporter())


def test_onnx_gives_torchs_values_at_every_size(written):
    model, path, exported = written
    assert exported.difference <= TOLERANCE and len(exported.shapes) == exporting.SIZES
    session = onnxruntime.InferenceSession(path)
    random = np.random.default_rng(1)
    for shape in [(1, 4, 4), (5, 4, 64), (2, 132, 96)]:
        before, after = (random.uniform(0, 255, (shape[0], bands, *shape[1:])).astype(np.float32) for bands in (3, 4))
        (found,) = session.run(None, {"before": before, "after": after})
        valid = torch.ones(shape, dtype=torch.bool)
        with torch.inference_mode():
            first = Normaliser(model.card.before)(torch.from_numpy(before), valid)
            second = Normaliser(model.card.after)(torch.from_numpy(after), valid)
            expected = torch.sigmoid(model.module(first, second)).numpy()
        assert found.shape == (shape[0], 1, *shape[1:])
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_onnx_carries_the_card_and_nothing_of_this_machine(written):
    model, path, _ = written
    assert read_card(path) == model.card
    payload = path.read_bytes()
    assert b"site-packages" not in payload and exporting.__file__.encode() not in payload


def test_defects_in_the_input_stay_finite(written):
    _, path, _ = written
    before = np.full((1, 3, 32, 32), 100, np.float32)
    before[0, 0, 3, 3], before[0, 1, 4, 4], before[0, 2, 5, 5] = np.nan, np.inf, -3e38
    session = onnxruntime.InferenceSession(path)
    (found,) = session.run(None, {"before": before, "after": np.full((1, 4, 32, 32), 100, np.float32)})
    assert np.isfinite(found).all()


def test_program_of_torch_export(tmp_path):
    model = small()
    exported = export_program(model, tmp_path / "m.pt2", Reporter())
    assert exported.difference <= TOLERANCE
    extra = {"cdengine": ""}
    program = torch.export.load(tmp_path / "m.pt2", extra_files=extra)
    assert extra["cdengine"] == model.card.to_json()
    image = torch.rand(3, 3, 64, 32) * 255
    expected = Deployable(model)(image, image)
    torch.testing.assert_close(program.module()(image, image), expected)


class Stubborn(torch.nn.Module):
    """Asks for a value in the middle of the graph, which no graph can have."""

    stride = 4

    def forward(self, before, after):
        change = (before - after).abs().mean(1, keepdim=True)
        return change if float(change.max()) > 1 else -change


def test_what_cannot_be_a_graph_is_refused_in_one_line(tmp_path):
    with pytest.raises(ModelArchitectureError, match="cannot be exported") as caught:
        export_onnx(loaded(card_for(), Stubborn()), tmp_path / "m.onnx", Reporter())
    assert "\n" not in str(caught.value)


def test_other_values_than_torchs_are_an_error():
    model = small()
    deployable = Deployable(model)

    def other(before, after):
        return deployable(torch.from_numpy(before), torch.from_numpy(after)).numpy() + 0.001

    with pytest.raises(ModelError, match=r"differ from torch's by 0\.001 \(allowed 0\.0001\)"):
        exporting._compare(model, deployable, other, Reporter())


class Rounding(torch.nn.Module):
    """Loses digits as a deep network of random weights does: a small difference of large numbers."""

    stride = 4

    def forward(self, before, after):
        large = 2.0**14
        return ((before + large) - large - after).mean(1, keepdim=True)


def test_where_torch_itself_rounds_the_graph_is_held_to_double_precision():
    model = loaded(card_for(), Rounding())
    deployable = Deployable(model)

    def exact(before, after, off=0.0):
        return (exporting._in_double(deployable, before, after) + off).astype(np.float32)

    difference, _ = exporting._compare(model, deployable, exact, Reporter())
    assert difference > TOLERANCE, "torch's own error"
    with pytest.raises(ModelError, match="differ from torch"):
        exporting._compare(model, deployable, lambda *images: exact(*images, off=2 * TOLERANCE), Reporter())


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a minute or two on a machine that has nothing else to do
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_exports(architecture, tmp_path):
    semantic = "classes" in inspect.signature(ARCHITECTURES[architecture]).parameters
    card = card_for(architecture, classes=("water", "wood", "field") if semantic else ())
    model = loaded(card, settled(card))
    exported = export_onnx(model, tmp_path / "m.onnx", Reporter())
    # float32 alone makes errors of 1e-4 in deep networks that nothing has trained; the graph's are other ones
    assert exported.difference <= max(1e-5, 2 * rounding(model))


def settled(card):
    """A network that normalises as a trained one does: its statistics are those of a whole batch of coarse levels.

    Those of `trained`, a tenth of the way to two small images', leave a deep network with logits in the thousands.
    """
    module = trained(card)
    for layer in module.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            layer.reset_running_stats()
            layer.momentum = None  # the mean over what is seen
    with torch.no_grad():
        module.train()(*(torch.randn(4, date.count, 128, 128) for date in (card.before, card.after)))
    return module.eval()


def rounding(model):
    """Largest error that float32 makes in torch's probabilities, against float64, on what is compared."""
    deployable, worst = Deployable(model), 0.0
    for before, after in exporting._samples(model):
        with torch.no_grad():
            found = deployable(torch.from_numpy(before), torch.from_numpy(after)).numpy()
        worst = max(worst, float(np.abs(found - exporting._in_double(deployable, before, after)).max()))
    return worst
