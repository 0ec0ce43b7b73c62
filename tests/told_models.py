"""A small set in SECOND's layout, and models that say what their names tell, for tests of `pseudo-label`."""

import numpy as np
from affine import Affine
from PIL import Image

from cdengine.inference.evaluatemodel import Output
from cdengine.inference.pseudolabel import PseudoLabelOptions
from cdengine.raster.grid import Grid

NAMES = ("low vegetation", "ground", "tree", "water", "building", "playground")
SIZE = 32


def write_set(root):
    """Three pairs; the upper left quarter changed from tree (3) to building (5)."""
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        label = np.zeros((SIZE, SIZE), np.uint8)
        label[:16, :16] = 1
        layers = {"im1": rng.integers(0, 255, (SIZE, SIZE, 3)), "im2": rng.integers(0, 255, (SIZE, SIZE, 3))}
        for folder, pixels in {**layers, "label1": label * 3, "label2": label * 5}.items():
            path = root / "train" / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root


class Told:
    """Stands for `ModelRun`: says the class that its name tells, "before-after", everywhere."""

    calls = 0

    def __init__(self, models, *_):
        (self.label,) = (self.name,) = models
        self.detector = self
        self.classes = NAMES

    def describe(self):
        return {"model_sha256": self.name}

    def grid(self, _files):
        return Grid(None, Affine.identity(), SIZE, SIZE)

    def run(self, files):
        type(self).calls += 1
        layers = np.zeros((13, SIZE, SIZE), np.float32)
        before, after = map(int, self.name.split("-"))
        layers[1 + before] = layers[7 + after] = 1
        valid = np.ones((SIZE, SIZE), bool)
        valid[-1] = False
        return Output(layers, valid, 0.5, self.grid(files))


def options(pairs, *models, **more):
    return PseudoLabelOptions(str(pairs), str(pairs.parent / "out"), models, **more)
