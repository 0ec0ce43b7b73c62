"""A data set of small pairs made by seeded code, a network of a few hundred weights, and recipes for both."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from torch import nn

from cdengine.models import zoo
from cdengine.models.logits import Logits

TINY = "tiny"  # registered by `register`, in this process alone


class TinyNet(nn.Module):
    """Differences through two convolutions; group norm, so that a sample's answer does not see its batch."""

    stride = 4

    def __init__(self, bands_before=3, bands_after=3, width=8, classes=0, dropout=0.1):
        super().__init__()
        self.stem = nn.Conv2d(max(bands_before, bands_after), width, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(2, width)
        self.drop = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(width, 1, 3, padding=1)
        self.tell = nn.Conv2d(width, classes, 1) if classes else None

    def forward(self, before, after):
        one, two = self.drop(self.norm(self.stem(before)).relu()), self.norm(self.stem(after)).relu()
        change = self._up(self.head((one - two).abs()))
        if self.tell is None:
            return change
        return Logits(change, self._up(self.tell(one)), self._up(self.tell(two)))

    def _up(self, x):
        return nn.functional.interpolate(x, scale_factor=2, mode="nearest")


class BatchNormed(TinyNet):
    """With batch normalisation, whose buffers must be averaged, saved and restored too."""

    def __init__(self, bands_before=3, bands_after=3, width=8):
        super().__init__(bands_before, bands_after, width)
        self.norm = nn.BatchNorm2d(width)


def register():
    zoo.ARCHITECTURES[TINY] = TinyNet
    zoo.ARCHITECTURES["tiny-bn"] = BatchNormed


def make_pairs(root, train=6, val=2, size=64, seed=0, classes=False):
    """`root/{train,val}/{A,B,label}`: noise with squares that appear; labels 0/255. With `classes`: layout second."""
    rng = np.random.default_rng(seed)
    names = ("im1", "im2") if classes else ("A", "B")
    for split, count in (("train", train), ("val", val)):
        for number in range(count):
            before = rng.integers(60, 120, (size, size, 3), np.uint8)
            after = (before + rng.integers(0, 20, before.shape)).astype(np.uint8)
            change = np.zeros((size, size), np.uint8)
            row, col = rng.integers(4, size - 28, 2)
            change[row : row + 20, col : col + 20] = 255
            after[change > 0] = rng.integers(200, 250, 3)
            layers = {names[0]: before, names[1]: after}
            if classes:
                layers |= {"label1": (change > 0) * np.uint8(2), "label2": (change > 0) * np.uint8(5)}
            else:
                layers["label"] = change
            for folder, layer in layers.items():
                path = Path(root) / split / folder / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(layer).save(path)
    return Path(root)


def recipe(root, output, **changes):
    """A recipe as nested dicts; `changes` are sections, merged in."""
    tree = {
        "name": "small",
        "output": str(output),
        "data": {"root": str(root), "batch_size": 2, "workers": 0, "augmentation": {"crop": 32}},
        "model": {"architecture": TINY},
        "optimiser": {"learning_rate": 0.02},
        "trainer": {"epochs": 3, "epoch_batches": 4, "device": "cpu", "pictures": 2},
    }
    for section, values in changes.items():
        if isinstance(values, dict):
            inner = dict(values)
            if "augmentation" in inner:
                inner["augmentation"] = {**tree["data"]["augmentation"], **inner["augmentation"]}
            tree[section] = {**tree.get(section, {}), **inner}
        else:
            tree[section] = values
    return tree


def write_recipe(path, tree):
    Path(path).write_text(yaml.safe_dump(tree), encoding="utf-8")
    return Path(path)


def config(root, output, **changes):
    from cdengine.training.config import TrainConfig, check, completed
    from cdengine.training.strict import fill

    made = completed(fill(TrainConfig, recipe(root, output, **changes), "test"))
    check(made)
    return made


def weights(path):
    """The tensors of a model file."""
    from safetensors.torch import load_file

    return load_file(path)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def replaced(made, **changes):
    """A configuration with sections' values changed: replaced(config, trainer={"epochs": 2})."""
    parts = {name: dataclasses.replace(getattr(made, name), **values) for name, values in changes.items()}
    return dataclasses.replace(made, **parts)


if __name__ == "__main__":  # the command line with the small networks known, for tests that need processes
    from cdengine.cli.main import entry

    register()
    entry()
