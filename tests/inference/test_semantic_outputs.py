"""What semantic models give: probabilities averaged as they are, and files that agree where nothing changed."""

import numpy as np
import pytest
import rasterio
import torch
from change_sets import write_second
from model_files import card_for, trained
from pairs import make_pair
from PIL import Image

from cdengine.assess.colours import UNCHANGED
from cdengine.events import CollectSink, Reporter
from cdengine.inference.augment import VIEWS, Augmented
from cdengine.inference.choose import build, resolve
from cdengine.inference.detect import detect
from cdengine.inference.ensemble import Ensemble
from cdengine.inference.evaluate import evaluate
from cdengine.inference.options import DetectOptions
from cdengine.models.modelfile import load_model, save_model
from cdengine.raster.spec import class_colours

CLASSES = ("wood", "water", "built")
QUIET = Reporter(CollectSink())


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two networks with random weights that disagree."""
    folder, paths = tmp_path_factory.mktemp("models"), []
    for seed, name in enumerate(("one", "two")):
        arguments = {"backbone": "resnet18", "width": 16, "change_depth": 1}
        card = card_for("bisrnet", classes=CLASSES, tile=64, margin=8, arguments=arguments)
        module = trained(card)
        with torch.no_grad():  # as untrained, all pixels get nearly the same answer
            torch.manual_seed(seed)
            for head in (module.classify_before, module.classify_after, module.change[-1]):
                head.weight.normal_(0, 2)
                head.bias.normal_(0, 0.5)
        paths.append(folder / f"{name}.safetensors")
        save_model(paths[-1], module, card)
    return paths


def opened(path):
    return np.asarray(Image.open(path))


def detector(models, **options):
    given = DetectOptions.of("default", {"ensemble": tuple(map(str, models)), "device": "cpu", **options})
    return build(resolve(given, 3, QUIET), given, QUIET)


@pytest.fixture(scope="module")
def tiles():
    rng = np.random.default_rng(5)
    before, after = rng.integers(0, 256, (2, 1, 3, 64, 64), dtype=np.uint8)
    return before, after, np.ones((1, 64, 64), bool)


def by_hand(path, before, after):
    """(1, 7, H, W) float64: one sigmoid and two softmaxes of a network's own logits."""
    model = load_model(path)
    normalised = [(torch.from_numpy(image / 255).float() - 0.4) / 0.2 for image in (before, after)]
    with torch.inference_mode():
        change, first, second = (head.double().numpy() for head in model.module.eval()(*normalised))
    exponents = [np.exp(head - head.max(1, keepdims=True)) for head in (first, second)]
    return np.concatenate([1 / (1 + np.exp(-change)), *(one / one.sum(1, keepdims=True) for one in exponents)], 1)


def middle(models, before, after):
    """A threshold that calls half of a pair changed: untrained networks have an opinion of their own."""
    pixels = [np.asarray(image)[None] for image in (before, after)]
    return float(np.median(np.mean([by_hand(path, *pixels)[:, 0] for path in models], axis=0)))


def test_an_ensemble_is_the_mean_of_softmaxes(models, tiles):
    before, after, _ = tiles
    members = [by_hand(path, before, after) for path in models]
    assert np.abs(members[0] - members[1]).max() > 0.3
    both = detector(models)
    assert isinstance(both, Ensemble)
    result = both.predict(*tiles)
    np.testing.assert_allclose(result, np.mean(members, axis=0), atol=2e-5)
    for date in (result[:, 1:4], result[:, 4:7]):
        np.testing.assert_allclose(date.sum(1), 1, atol=1e-5)
    assert result[:, 1:].max() > np.e / (np.e + 2)  # a softmax of probabilities of three classes never gets beyond this


def test_views_of_an_ensemble_are_averaged_after_softmax(models, tiles):
    both = detector(models, tta="six")
    assert isinstance(both, Augmented)
    before, after, _ = tiles
    views = [
        view.undo(by_hand(path, np.ascontiguousarray(view.apply(before)), np.ascontiguousarray(view.apply(after))))
        for path in models
        for view in VIEWS["six"]
    ]
    assert len(views) == 12
    np.testing.assert_allclose(both.predict(*tiles), np.mean(views, axis=0), atol=2e-5)


@pytest.mark.parametrize("tta", ["none", "six"])
def test_transitions_are_zero_exactly_where_change_is(tmp_path, models, tta):
    before, after, _ = make_pair(tmp_path, bands=3, size=(128, 96))
    names = ("change", "before_classes", "after_classes", "transitions")
    paths = {name: tmp_path / f"{name}.tif" for name in names}
    with rasterio.open(before) as first, rasterio.open(after) as second:
        threshold = middle(models, first.read(), second.read())
    result = detect(
        before, after, paths["change"], "default", ensemble=map(str, models), tta=tta, device="cpu",
        threshold=threshold,
        **{name: path for name, path in paths.items() if name != "change"},
    )  # fmt: skip
    layers = {}
    for name, path in paths.items():
        with rasterio.open(path) as file:
            layers[name] = file.read(1)
    change, codes = layers["change"], layers["transitions"]
    assert {0, 1} <= set(np.unique(change))
    assert np.array_equal(codes == 0, change == 0)
    assert np.array_equal(codes == 65535, change == 255)
    old, new = np.divmod(codes[change == 1].astype(int) - 1, len(CLASSES))
    assert np.array_equal(old, layers["before_classes"][change == 1])
    assert np.array_equal(new, layers["after_classes"][change == 1])
    assert result.stats["changed_px"] == (change == 1).sum()


@pytest.mark.parametrize("tta", ["none", "six"])
def test_class_maps_of_changed_pixels_leave_the_same_ones_blank(tmp_path, models, tta):
    before, after, _ = make_pair(tmp_path, bands=3, size=(128, 96))
    with rasterio.open(before) as first, rasterio.open(after) as second:
        threshold = middle(models, first.read(), second.read())
    layers = {}
    for extent in ("everywhere", "changed"):
        paths = {name: tmp_path / f"{extent}_{name}.tif" for name in ("change", "before_classes", "after_classes")}
        detect(
            before, after, paths["change"], "default", ensemble=map(str, models), tta=tta, device="cpu",
            threshold=threshold, class_extent=extent,
            **{name: path for name, path in paths.items() if name != "change"},
        )  # fmt: skip
        for name, path in paths.items():
            with rasterio.open(path) as file:
                layers[extent, name], described = file.read(1), file.descriptions[0]
                assert name == "change" or described.endswith("of changed pixels") == (extent == "changed")
    changed = layers["changed", "change"] == 1
    assert changed.any() and not changed.all()
    for name in ("before_classes", "after_classes"):
        assert np.array_equal(layers["changed", name] != 255, changed)
        assert np.array_equal(layers["changed", name][changed], layers["everywhere", name][changed])
        assert (layers["everywhere", name] != 255)[layers["everywhere", "change"] != 255].all()


@pytest.mark.parametrize("tta", ["none", "six"])
def test_saved_label_images_agree_on_what_is_unchanged(tmp_path, models, tta):
    zeros = np.zeros((64, 96), np.uint8)
    write_second(tmp_path / "set", {"a": (zeros, zeros), "b": (zeros, zeros)})
    images = [np.moveaxis(opened(tmp_path / "set" / date / "a.png"), -1, 0) for date in ("im1", "im2")]
    evaluate(
        tmp_path / "set", "second", "all", str(models[0]), classes=CLASSES, tta=tta, device="cpu",
        threshold=middle(models[:1], *images), save_predictions=tmp_path / "out",
    )  # fmt: skip
    own = Image.open(tmp_path / "out" / "label1" / "a.png").getpalette()[: 3 * (len(CLASSES) + 1)]
    usual = [UNCHANGED, *(colour[:3] for colour in class_colours(CLASSES))]
    assert own == [level for colour in usual for level in colour], "classes without colours of their own"
    for name in ("a", "b"):
        first, second = (opened(tmp_path / "out" / date / f"{name}.png") for date in ("label1", "label2"))
        assert np.array_equal(first == 0, second == 0)
        assert max(first.max(), second.max()) <= len(CLASSES) and not np.array_equal(first, second)
    unchanged = opened(tmp_path / "out" / "label1" / "a.png") == 0
    assert 0.1 < unchanged.mean() < 0.9
