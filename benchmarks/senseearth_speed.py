"""A model file of SenseEarth2020's student as large as the real one, for `cdengine bench`; it was never trained.

    python -m benchmarks.senseearth_speed --output build/senseearth/w18.safetensors
    cdengine bench --model build/senseearth/w18.safetensors --size 4096 --repeats 3

Random weights; batch normalisation has the statistics of the benchmark's own tiles, and the threshold is such that 4 %
of their pixels are changed: polygons are as many as of a trained model.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import torch

from benchmarks.senseearth import NAMES
from cdengine.cli.bench import _corner_tiles
from cdengine.events import Reporter
from cdengine.models.card import ModelCard
from cdengine.models.modelfile import save_model
from cdengine.models.speed import RGB, _normalised
from cdengine.models.zoo import build
from cdengine.synthesis.texture import write_texture_pair

CHANGED = 0.04


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--backbone", default="hrnet_w18")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        before, after = map(str, write_texture_pair(Path(folder), 1024, 1024, Reporter()))
        tiles = _corner_tiles(before, after, 512, 2, {"bands_before": None, "bands_after": None})
    torch.manual_seed(0)
    arguments = {"backbone": args.backbone, "head": "psp"}
    card = ModelCard("student", "semantic", "senseearth", RGB, RGB, arguments, classes=NAMES)
    network = build(card.architecture, card.constructor_arguments())
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = None  # the plain mean of what it sees
        batch = tuple(map(_normalised, tiles))
        network.train()(*batch)
        change = network.eval()(*batch).change.sigmoid().flatten()
    threshold = float(change.quantile(1 - CHANGED))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    save_model(args.output, network, dataclasses.replace(card, threshold=threshold))
    print(args.output)


if __name__ == "__main__":
    main()
