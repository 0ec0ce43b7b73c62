"""Figures of the default model, and of training-free methods, on very-high-resolution RGB pairs it never saw.

    python benchmarks/default_model.py ../shared/data [--models …] [--output FILE.md] [--card FILE.json]
        [--pictures DIR]

Average precision and F1 (at the model's own threshold) of each source; F1 pooled over LEVIR and Beijing; false alarms
on the unchanged windows of the large LEVIR tile and on images against jittered copies of themselves (other colours,
blur, noise, JPEG, up to 2 px shifted). Tiles and blending are those of `detect`. The labels are for research: figures
only are kept, never imagery.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from cdengine.assess.binary import BinaryConfusion
from cdengine.assess.curves import Curves
from cdengine.data.layouts import PairFiles, find_pairs
from cdengine.events import Reporter
from cdengine.inference.evaluatemodel import ModelRun
from cdengine.inference.evaluateoptions import EvaluateOptions
from cdengine.synthesis.composites.appearance import jittered

SOURCES = ("levir256", "levir512", "levir1024", "beijing500", "dsifn256")
POOLED = SOURCES[:4]
WINDOW = 256
JITTERED = 24  # free images that are held against their own copies


def copies(images, folder):
    """Each image beside its jittered copy, as pairs on disk."""
    pairs = []
    for number, path in enumerate(images):
        with Image.open(path) as file:
            pixels = np.asarray(file.convert("RGB"))
        side = min(pixels.shape[:2])
        pixels = pixels[:side, :side]
        names = [folder / f"{number:03d}_{date}.png" for date in ("before", "after")]
        Image.fromarray(pixels).save(names[0])
        Image.fromarray(jittered(pixels, np.random.default_rng(number))).save(names[1])
        pairs.append(PairFiles(f"{number:03d}", names[0], names[1], None, None, None))
    return pairs


def read_label(path):
    """(H, W) bool."""
    with Image.open(path) as file:
        label = np.asarray(file)
    return (label if label.ndim == 2 else label[..., 0]) > 127


def measure(model, data, copied, pictures):
    """All figures of one model as a flat dict."""
    run, figures, pooled = None, {}, BinaryConfusion(0, 0, 0, 0)
    pooled_curves = Curves()
    for source in SOURCES:
        curves, confusion = Curves(), BinaryConfusion(0, 0, 0, 0)
        for pair in find_pairs(data / "vhr_building" / source, "pairs", "all"):
            run = run or ModelRun((model,), pair, EvaluateOptions(str(data), model=(model,)), Reporter())
            output, truth = run.run(pair), read_label(pair.change)
            probability = output.probability[0]
            found = probability >= output.threshold
            curves.add(probability, truth)
            confusion += BinaryConfusion.of(found, truth)
            if source == "levir1024":
                figures["unchanged windows, false alarms"] = quiet(found, truth)
            if pictures:
                picture(pictures / f"{Path(model).stem}_{source}_{pair.name}.png", pair, truth, found, probability)
        figures[f"{source} AP"], figures[f"{source} F1"] = curves.average_precision(), confusion.f1
        if source in POOLED:
            pooled += confusion
            pooled_curves += curves
    figures |= {"pooled F1": pooled.f1, "pooled precision": pooled.precision, "pooled recall": pooled.recall}
    best = pooled_curves.best_threshold()
    figures |= {"pooled AP": pooled_curves.average_precision(), "pooled F1 at its best": best.confusion.f1}
    for name, pairs in copied.items():
        shares = [np.mean((out := run.run(pair)).probability[0] >= out.threshold) for pair in pairs]
        figures[f"{name} against copies, false alarms"] = float(np.mean(shares))
    return figures


def quiet(found, truth):
    """Share of false alarms over the windows in which nothing changed."""
    alarms = []
    for row in range(0, truth.shape[0] - WINDOW + 1, WINDOW):
        for col in range(0, truth.shape[1] - WINDOW + 1, WINDOW):
            here = (slice(row, row + WINDOW), slice(col, col + WINDOW))
            if not truth[here].any():
                alarms.append(found[here].mean())
    return float(np.mean(alarms))


def picture(path, pair, truth, found, probability):
    """Both dates, the probability, and hits (green), misses (red), false alarms (yellow)."""
    with Image.open(pair.before) as first, Image.open(pair.after) as second:
        dates = [np.asarray(file.convert("RGB")) for file in (first, second)]
    score = np.zeros((*truth.shape, 3), np.uint8)
    score[truth & found], score[truth & ~found], score[~truth & found] = (60, 200, 90), (220, 50, 50), (240, 220, 60)
    grey = np.repeat((probability * 255).astype(np.uint8)[..., None], 3, 2)
    Image.fromarray(np.concatenate([*dates, grey, score], 1)).save(path)


def table(results):
    """Markdown: a row a figure, a column a model."""
    lines = ["| figure | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    for name in next(iter(results.values())):
        share = "false alarms" in name
        cells = [f"{figures[name]:.2%}" if share else f"{figures[name]:.3f}" for figures in results.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", nargs="+", default=["rgb-vhr-v1", "cva", "irmad"])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--card", type=Path, help="for tools.finish_default --metrics: the first model's, others named")
    parser.add_argument("--pictures", type=Path)
    args = parser.parse_args()
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
    free = sorted((args.data / "single/unlabelled/ucmerced").glob("*.jpg"))
    own = [pair.before for s in POOLED for pair in find_pairs(args.data / "vhr_building" / s, "pairs", "all")]
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        copied = {}
        for name, images in (("free images", free[:: len(free) // JITTERED][:JITTERED]), ("LEVIR and Beijing", own)):
            (Path(folder) / name).mkdir()
            copied[name] = copies(images, Path(folder) / name)
        for model in args.models:
            results[Path(model).stem] = measure(model, args.data, copied, args.pictures)
            print(json.dumps({"model": model, **results[Path(model).stem]}), flush=True)
    text = table(results)
    print(text)
    if args.output:
        args.output.write_text(text, encoding="utf-8")
    if args.card:
        first, *others = results.items()
        told = dict(first[1]) | {f"{name}: {key}": value for name, own in others for key, value in own.items()}
        args.card.write_text(json.dumps({key: round(value, 4) for key, value in told.items()}), encoding="utf-8")


if __name__ == "__main__":
    main()
