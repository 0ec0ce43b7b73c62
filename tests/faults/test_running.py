"""Fault matrix, what goes wrong while a run is under way: models, memory, devices, inputs that change."""

import hashlib
import json

import fault_makers as makers
import numpy as np
import pytest
import rasterio
from fault_runs import change, detect, fails, warned
from memory_pair import Hungry, Uneven
from model_files import card_for, container, trained
from pairs import make_pair, write_raster
from safetensors import safe_open
from safetensors.torch import load_file

from cdengine.errors import DeviceLostError, ResumeMismatchError
from cdengine.inference import memory
from cdengine.inference.detector import BatchTooLarge
from cdengine.inference.run import Runner
from cdengine.methods.table import METHODS
from cdengine.models import shipped
from cdengine.models.modelfile import save_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    card = card_for(threshold=0.5)
    save_model(path, trained(card), card)
    return path


def altered(model, folder, tensors=None, **card):
    """The model's file with other tensors or other fields on its card."""
    weights = load_file(model)
    weights.update(tensors or {})
    fields = json.loads(safe_open(model, "np").metadata()["cdengine"])
    path = folder / "bad.safetensors"
    return container({key: value for key, value in weights.items() if value is not None}, fields | card, path)


def test_row_7_inputs_are_hashed_into_the_tags(folder):
    detect(folder)
    with rasterio.open(folder / "out" / "c.tif") as file:
        tags = file.tags()
    for role in ("before", "after"):
        digest = hashlib.sha256((folder / f"{role}.tif").read_bytes()).hexdigest()
        assert tags[f"CDENGINE_{role.upper()}_SHA256"] == digest


def test_row_11_a_name_as_long_as_names_can_be(folder):
    before = (folder / "before.tif").rename(folder / ("b" * 251 + ".tif"))
    after = (folder / "after.tif").rename(folder / ("ä" * 125 + ".tif"))
    output = folder / "out" / ("c" * 251 + ".tif")
    module_result, _ = detect(folder, before, after, "--output", output, "--polygons", folder / "out" / "c.gpkg")
    assert module_result.outputs["change"] == str(output) and output.exists()
    assert sorted(path.name[0] for path in (folder / "out").iterdir()) == ["c", "c"]


def test_row_20_an_input_replaced_while_it_is_read(folder, monkeypatch):
    original = Runner.run

    def replaced(self, journal, reporter):
        original(self, journal, reporter)
        write_raster(folder / "after.tif", makers.pixels(folder, "before.tif"))

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "run", replaced)
        fails(folder, "changed", 3, says="after.tif")


def dies(*_):
    raise RuntimeError("killed")


def test_row_20_an_input_replaced_before_the_resume(folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Runner, "run", dies)
        with pytest.raises(RuntimeError):
            detect(folder, None, None, "--resume")
    write_raster(folder / "after.tif", makers.pixels(folder, "before.tif"))
    with pytest.raises(ResumeMismatchError, match="after") as caught:
        detect(folder, None, None, "--resume")
    assert caught.value.exit_code == 2


# ---------------------------------------------------------------- models
def test_row_50_weights(folder, model):
    weights = load_file(model)
    name = next(key for key, value in weights.items() if value.ndim == 4)
    broken = weights[name].clone()
    broken[0, 0, 0, 0] = float("nan")
    for tensors in ({name: broken}, {"surplus.weight": weights[name]}, {name: weights[name][:1]}, {name: None}):
        fails(folder, "model-weights", 4, model=altered(model, folder, tensors), says=next(iter(tensors)))


def test_row_51_architectures(folder, model):
    bad = altered(model, folder, architecture="fc-siam-dif")
    fails(folder, "model-architecture", 4, model=bad, says="fc-siam-diff")
    bad = altered(model, folder, arguments={"widths": [10**6] * 5})
    assert fails(folder, "model-architecture", 4, model=bad) < 5


def test_row_53_a_shipped_model_that_was_altered(folder, model, monkeypatch):
    monkeypatch.setattr(shipped, "WEIGHTS", model.parent)
    monkeypatch.setitem(shipped.SHIPPED, "rgb", shipped.ShippedModel(model.name, "binary", "0" * 64))
    fails(folder, "model-hash", 4, model="rgb", says="install")
    monkeypatch.setitem(shipped.SHIPPED, "rgb", shipped.ShippedModel("gone.safetensors", "binary", "0" * 64))
    fails(folder, "model-hash", 4, model="rgb", says="missing")


def test_row_54_a_network_that_gives_nan(folder, model):
    """Finite weights, results that are not, in float32 as well."""
    weights = load_file(model)
    huge = {key: value * 1e30 for key, value in weights.items() if value.ndim == 4}
    fails(folder, "model-nan", 4, model=altered(model, folder, huge), says="a model: ")


# ---------------------------------------------------------------- memory and devices
class Grown(Uneven):
    """Another program takes the device's memory after some calls: from then on one tile at a time fits."""

    concurrency = 1

    def __init__(self):
        self.calls = 0

    def predict(self, before, after, valid):
        self.calls += 1
        if self.calls > 1 and len(before) > 1:
            raise BatchTooLarge("too large")
        return super().predict(before, after, valid)


class Lost(Uneven):
    """The accelerator fails once, after a band."""

    concurrency, left = 1, 6

    def predict(self, before, after, valid):
        type(self).left -= 1
        if type(self).left == 0:
            raise DeviceLostError("the accelerator failed (illegal access): run again with --resume")
        return super().predict(before, after, valid)


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


TILES = ("--tile", "64", "--overlap", "32", "--overwrite")


def test_row_56_out_of_memory(folder, monkeypatch):
    monkeypatch.setitem(METHODS, "plenty", Uneven)
    detect(folder, None, None, *TILES, model="plenty")
    expected = change(folder)
    for name, detector in (("first", lambda: Hungry(1)), ("later", Grown)):
        monkeypatch.setitem(METHODS, name, detector)
        _, events = detect(folder, None, None, *TILES, "--batch-size", "4", model=name)
        assert warned(events, "out of memory", "batches of 1")
        assert np.array_equal(change(folder), expected)
    empty(folder / "out")
    monkeypatch.setitem(METHODS, "none", lambda: Hungry(0))
    fails(folder, "oom", 5, None, None, *TILES, model="none", says="--tile")


def test_row_57_more_memory_than_there_is(folder, monkeypatch):
    monkeypatch.setattr(memory, "memory_limit", lambda: memory.resident() + (4 << 20))
    fails(folder, "oom", 5, None, None, says="GB may be used")
    monkeypatch.setattr(memory, "memory_limit", lambda: int((memory.resident() + (4 << 20)) / memory.SHARE))
    fails(folder, "oom", 5, None, None, "--tile", "1024", "--workers", "8", says="--tile")
    detect(folder, None, None, "--tile", "32", "--overlap", "0")


def test_row_57_the_limit_is_that_of_the_container(tmp_path, monkeypatch):
    machine = memory.memory_limit()
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.memory_limit() >= machine
    (tmp_path / "memory.max").write_text(f"{2 << 30}\n")
    assert memory.memory_limit() == 2 << 30


def test_row_58_a_lost_device(folder, monkeypatch):
    monkeypatch.setitem(METHODS, "lost", Uneven)
    detect(folder, None, None, *TILES, model="lost")
    expected = change(folder)
    empty(folder / "out")
    monkeypatch.setitem(METHODS, "lost", Lost)
    fails(folder, "device-lost", 5, None, None, *TILES, model="lost", says="--resume", leaves=[".c.tif.cdengine"])
    calls = -Lost.left
    _, events = detect(folder, None, None, *TILES, "--resume", model="lost")
    assert np.array_equal(change(folder), expected) and calls == 0
    assert next(event["done"] for event in events if event.get("stage") == "detect") > 0


@pytest.mark.parametrize("name", ["irmad", "network"])
def test_row_59_workers_and_batches(tmp_path, model, name):
    make_pair(tmp_path, size=(300, 280), bands=3, change=(40, 40, 60, 70), compress="deflate")
    (tmp_path / "out").mkdir()
    found = []
    for workers, batch in ((1, 1), (4, 1), (4, 8)):
        options = ("--tile", "96", "--workers", workers, "--batch-size", batch, "--overwrite")
        path = tmp_path / "out" / "p.tif"
        chosen = model if name == "network" else name
        detect(tmp_path, None, None, *options, "--probability", path, model=chosen)
        with rasterio.open(path) as file:
            found.append(file.read(1))
    assert found[0].tobytes() == found[1].tobytes()  # threads never change a bit
    assert np.abs(found[0] - found[2]).max() < 1e-5  # a batch may take another kernel
