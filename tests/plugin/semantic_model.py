"""Makes a model file with classes for a pair. Run by the engine's Python: BEFORE AFTER MODEL [SEED [CLASS …]].

The network is tiny and untrained; its heads are set so that on this pair every class occurs and a part is changed.
"""

import sys

import rasterio
import torch
from rasterio.windows import Window

from cdengine.models.card import DateInput, ModelCard
from cdengine.models.modelfile import save_model
from cdengine.models.zoo import build

CLASSES = ("water", "forest", "built up")


def main(before: str, after: str, target: str, seed: str = "3", *classes: str) -> None:
    """Builds, adjusts and saves."""
    window = Window(0, 0, 128, 128)
    images = [torch.from_numpy(rasterio.open(path).read(window=window)).float()[None] for path in (before, after)]
    bands = [image.shape[1] for image in images]
    inputs = [
        DateInput(tuple(f"band {n}" for n in range(1, count + 1)), (0.4,) * count, (0.2,) * count, 1 / 255)
        for count in bands
    ]
    card = ModelCard(
        "some classes", "semantic", "bisrnet", *inputs, classes=classes or CLASSES, tile=64, margin=0,
        arguments={"backbone": "resnet18", "width": 16, "change_depth": 1},
    )  # fmt: skip
    torch.manual_seed(int(seed))
    module = build(card.architecture, card.constructor_arguments())
    pair = [(image / 255 - 0.4) / 0.2 for image in images]
    with torch.no_grad():
        module.train()
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 1.0  # they know the pair after one look
        module(*pair)
        logits = module.eval()(*pair)
        for head, seen in ((module.classify_before, logits[1]), (module.classify_after, logits[2])):
            centre(head, seen.mean((0, 2, 3)), seen.std((0, 2, 3)))
        change = logits[0]
        centre(module.change[-1], change.quantile(0.7)[None], change.std()[None])
    save_model(target, module, card)


def centre(layer: torch.nn.Conv2d, middle: torch.Tensor, spread: torch.Tensor) -> None:
    """Gives a layer's outputs the middle 0 and the spread 3."""
    scale = 3.0 / spread.clamp(min=1e-6)
    layer.weight.mul_(scale[:, None, None, None])
    layer.bias.sub_(middle).mul_(scale)


if __name__ == "__main__":
    main(*sys.argv[1:])
