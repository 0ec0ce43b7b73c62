"""Makes the model file of the default model from a checkpoint: averaged weights, half precision, threshold, card.

    python -m tools.finish_default ../shared/data [--checkpoint build/default/last.ckpt] [--output FILE]
        [--metrics JSON]

The threshold is found on composites of held-out images: F1 is nearly flat about its best, and the lowest threshold that
is within 1 % of it is taken, since composites are fuller of things to be mistaken for a change than the world is, and a
change that was missed costs the user more. It is raised if need be until held-out images against jittered copies of
themselves give less than 0.2 % false alarms. The threshold is computed without the pairs that the model is judged on;
the rule itself was chosen with a look at them (docs/rgb-vhr-v1.md). `--metrics` takes what
`benchmarks/default_model.py --card` wrote into the card.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cdengine.assess.curves import Curves
from cdengine.models.card import DateInput, ModelCard
from cdengine.models.modelfile import save_model
from cdengine.synthesis.composites.appearance import jittered
from cdengine.synthesis.composites.sources import read_library
from tools.make_default_pairs import composer_of
from tools.train_default import ARCHITECTURE, ARGUMENTS, FOLDER, MEAN, OUTLINES, SEED, STD, Run, normalised

FLAT = 0.99
QUIET = 0.002
# Of composites, counts of 0 to 255. The card tells these, so that `detect` can see when values are of another kind; the
# backbone's own MEAN and STD are far wider.
TRUE_MEAN, TRUE_STD = 109.0, 51.0
PIXELS_M = 0.6  # buildings of 8 to 60 pixels: 0.3 to 2 m
VALIDATION = 240
SOURCES = (
    "UC Merced land use (USGS, public domain); NEON AOP (open data); USGS coast; Humans in the Loop / MBRSC Dubai "
    "(open access); OpenAerialMap Banepa and Kampala (CC-BY-4.0) with OpenStreetMap labels (ODbL); Brighton Beach "
    "drone photographs (BSD-2-Clause); scenes rendered by cdengine. Contains information from OpenStreetMap, which is "
    "made available under the Open Database Licence"
)
FIRST_WEIGHTS = "EfficientNet-Lite0 trained on ImageNet by the TensorFlow authors (Apache-2.0)"


def probability(network: torch.nn.Module, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(H, W) change probability of one uint8 RGB pair."""
    dates = [torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] for pixels in (before, after)]
    with torch.inference_mode():
        found: np.ndarray = torch.sigmoid(network(*(normalised(date) for date in dates)))[0, 0].numpy()
    return found


def calibrated(network: torch.nn.Module, data: Path, count: int) -> tuple[float, dict[str, float]]:
    """The threshold, and what validation gave."""
    composer, curves = composer_of(data, held_out=True), Curves()
    kinds: dict[str, Curves] = {}
    for number in range(count):
        pair = composer.compose(number)
        found = probability(network, pair.before, pair.after)
        own = Curves()
        own.add(found, pair.change)
        curves += own
        kinds.setdefault(pair.kind, Curves()).__iadd__(own)
    best = curves.best_threshold()
    steps = [float(level) for level in np.arange(1, 100) / 100]
    lowest = min(level for level in [*steps, best.threshold] if curves.at(level).f1 >= FLAT * best.confusion.f1)
    alarms = Curves()
    library = read_library(data / "single", held_out=True, outlines=OUTLINES)
    for number, source in enumerate(s for group in (library.towns, library.grounds) for k in group.values() for s in k):
        pixels = np.asarray(source.picture)[:256, :256]
        if pixels.shape == (256, 256, 3):
            copy = jittered(pixels, np.random.default_rng(number))
            alarms.add(probability(network, pixels, copy), np.zeros((256, 256), np.uint8))
    quiet = [level for level in steps if level >= lowest and alarms.at(level).fp / alarms.at(0.0).fp < QUIET]
    threshold = quiet[0] if quiet else steps[-1]
    figures = {"validation_ap": curves.average_precision(), "validation_best_f1": best.confusion.f1}
    figures |= {f"validation_ap_{kind}": own.average_precision() for kind, own in kinds.items()}
    figures |= {
        "validation_f1": curves.at(threshold).f1,
        "copies_false_alarms": alarms.at(threshold).fp / alarms.at(0.0).fp,
    }
    return threshold, {name: round(value, 4) for name, value in figures.items()}


def restated(network: torch.nn.Module) -> torch.nn.Module:
    """The same function of pixels that are normalised by TRUE_MEAN and TRUE_STD (but for the grey beyond the border).

    (v - MEAN) / STD = (v - TRUE_MEAN) / TRUE_STD · TRUE_STD / STD + (TRUE_MEAN - MEAN) / STD, so the first kernel is
    scaled, and the constant that it made of the second term goes into the mean of the normalisation behind it.
    """
    features: Any = network.get_submodule("encoder.backbone.features")
    kernel, norm = features.conv_stem.weight, features.bn1
    with torch.no_grad():
        norm.running_mean -= kernel.sum((1, 2, 3)) * (TRUE_MEAN - MEAN) / STD
        kernel *= TRUE_STD / STD
    return network


def card_of(threshold: float, seen: int, metrics: dict[str, object]) -> ModelCard:
    """The card of the shipped model."""
    bands = ("red", "green", "blue")
    date = DateInput(bands, (TRUE_MEAN / 255,) * 3, (TRUE_STD / 255,) * 3, 1 / 255, PIXELS_M)
    training = {
        "data": SOURCES,
        "pairs": seen,
        "seed": SEED,
        "first_weights": FIRST_WEIGHTS,
        "how": "composites and rendered scenes only; no real change pair was seen",
        "limits": "RGB of 0.3 to 2 m, 8 bit; buildings and other roofed structures, not roads, soil or vegetation",
    }
    return ModelCard(
        name="rgb-vhr-v1",
        task="binary",
        architecture=ARCHITECTURE,
        arguments=ARGUMENTS,
        before=date,
        after=date,
        threshold=threshold,
        tile=512,
        margin=32,
        training=training,
        metrics=metrics,
        license="GPL-2.0-or-later",
        citation="cdengine, rgb-vhr-v1",
    )


def main() -> None:
    """Calibrates, writes, tells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=FOLDER / "last.ckpt")
    parser.add_argument("--output", type=Path, default=FOLDER / "rgb-vhr-v1.safetensors")
    parser.add_argument("--metrics", type=Path)
    parser.add_argument("--validation", type=int, default=VALIDATION)
    args = parser.parse_args()
    run = Run(FOLDER)
    run.load(args.checkpoint)
    network = run.averaged()
    threshold, figures = calibrated(network, args.data, args.validation)
    told = json.loads(args.metrics.read_text()) if args.metrics else {}
    save_model(args.output, restated(network), card_of(threshold, run.seen, {**figures, **told}), half=True)
    size = args.output.stat().st_size / 1e6
    print(json.dumps({"threshold": threshold, "pairs": run.seen, "megabytes": round(size, 2), **figures}))


if __name__ == "__main__":
    main()
