"""Accuracy of the training-free methods themselves, without the runner, on labelled real pairs.

    python benchmarks/methods_auc.py ../shared/data [--thresholds] [--sample N] [--pictures DIR] [--output FILE.md]

AUC of the probability over labelled pixels (ties ranked by their average), F1 and kappa at the automatic threshold,
and the share called changed. `--thresholds` compares Otsu with Kittler-Illingworth; `--sample` limits the sample to
N pixels and tells what that changes. `real_pairs.py` scores the rasters that `detect` writes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from scipy.stats import rankdata

from cdengine.events import Reporter
from cdengine.methods import sample
from cdengine.methods.cva import ChangeVectorAnalysis
from cdengine.methods.irmad import IRMAD
from cdengine.methods.log_ratio import LogRatio
from cdengine.methods.sfa import SlowFeatureAnalysis
from cdengine.methods.table import METHODS
from cdengine.raster.pair import Pair

CITIES = ("aguasclaras", "abudhabi", "beihai", "bercy", "bordeaux", "nantes", "saclay_e")
WITH_THRESHOLD = {"cva": ChangeVectorAnalysis, "irmad": IRMAD, "sfa": SlowFeatureAnalysis, "log-ratio": LogRatio}


def pairs(data):
    """Name, before, after, label file, values that are scored, value that means changed."""
    for city in CITIES:
        folder = data / "oscd" / city
        yield city, folder / "before.tif", folder / "after.tif", folder / "label.tif", (0, 1), 1
    folder = data / "landsat_taizhou"
    yield "taizhou", folder / "before.tif", folder / "after.tif", folder / "label.tif", (1, 2), 2
    for name in ("yellowriver_A", "yellowriver_C"):
        folder = data / "sar_sar" / name
        yield name, folder / "t1_sar.png", folder / "t2_sar.png", folder / "gt.png", None, 255
    folder = data / "vhr_building" / "levir1024"
    for before in sorted((folder / "A").iterdir()):
        others = [next((folder / part).glob(f"{before.stem}.*")) for part in ("B", "label")]
        yield f"levir1024/{before.stem}", before, *others, None, 255


def load(before, after, label, scored, changed):
    """The pair as a source, its pixels at once, where it is scored and the truth there."""
    pair = Pair.open(str(before), str(after))
    block = pair.read(pair.window)
    with rasterio.open(label) as file:
        values = file.read(1)[pair.window.slices]
    use = block.valid if scored is None else block.valid & np.isin(values, scored)
    return pair, block, use, (values > 127 if scored is None else values == changed)[use]


def auc(score, truth):
    ranks, count = rankdata(score), truth.sum()
    return (ranks[truth].sum() - count * (count + 1) / 2) / (count * (truth.size - count))


def f1_kappa(found, truth):
    both = (found & truth).sum()
    f1 = 2 * both / max(1, found.sum() + truth.sum())
    p, q = found.mean(), truth.mean()
    chance = p * q + (1 - p) * (1 - q)
    return f1, ((found == truth).mean() - chance) / (1 - chance)


def figures(detector, pair, block, use, truth):
    """AUC, F1, kappa, share called changed; and the probability (H, W)."""
    detector.prepare(pair, Reporter())
    probability = detector.predict(block.before[None], block.after[None], block.valid[None])[0, 0]
    found = probability[use] >= 0.5
    return (auc(probability[use], truth), *f1_kappa(found, truth), found.mean()), probability


def table(rows, columns):
    """Markdown from {pair: {column: (AUC, F1, kappa, share)}}, with the mean over the OSCD cities."""
    lines = ["| pair | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]

    def line(name, values):
        cells = [" / ".join(f"{figure:.3f}" for figure in values[column]) for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    for name, values in rows.items():
        line(name, values)
    cities = [rows[city] for city in CITIES if city in rows]
    if cities:
        line("**mean of OSCD**", {column: np.mean([row[column] for row in cities], axis=0) for column in columns})
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--thresholds", action="store_true")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    if args.thresholds:
        makers = {
            f"{name} {method}": lambda kind=kind, method=method: kind(threshold_method=method)
            for name, kind in WITH_THRESHOLD.items()
            for method in ("kittler-illingworth", "otsu")
        }
    else:
        makers = dict(METHODS)
    if args.sample:
        sample._SAMPLE_PIXELS = args.sample
    rows = {}
    for name, *where in pairs(args.data):
        pair, block, use, truth = load(*where)
        rows[name] = {}
        for column, make in makers.items():
            rows[name][column], probability = figures(make(), pair, block, use, truth)
            if args.pictures:
                args.pictures.mkdir(parents=True, exist_ok=True)
                grey = Image.fromarray((probability * 255).astype(np.uint8))
                grey.save(args.pictures / f"{name.replace('/', '_')}_{column.replace(' ', '_')}.png")
        print(table({name: rows[name]}, list(makers)).splitlines()[2], flush=True)
        pair.close()
    text = "AUC / F1 / kappa / share called changed\n\n" + table(rows, list(makers))
    print(text)
    if args.output:
        args.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
