"""`detect` with every training-free method on real pairs, scored against their labels.

    python benchmarks/real_pairs.py ../shared/data [--methods irmad cva] [--output docs/results/real_pairs.md]

Scores: pixel AUC of the probability (ties ranked by their average), F1 at the automatic threshold. Pictures go to
`--pictures` (default build/real_pairs). The labels are for research: figures only are kept, never imagery.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import rasterio
from scipy.stats import rankdata

from cdengine.inference.detect import detect

CITIES = ("aguasclaras", "abudhabi", "beihai", "bercy", "bordeaux", "nantes", "saclay_e")
METHODS = ("cva", "irmad", "pca-kmeans", "sfa")


def auc(score, positive):
    """Area under the ROC curve of `score` (N,) for `positive` (N,) bool; ties count half."""
    ranks = rankdata(score)
    count = positive.sum()
    return (ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(score) - count))


def score(output, probability, label, scored, changed_value):
    """AUC, F1, precision and recall over the pixels that are labelled and computed."""
    with rasterio.open(output) as file:
        change = file.read(1)
    with rasterio.open(probability) as file:
        values = file.read(1)
    use = scored & (change != 255)
    truth, found = label[use] == changed_value, change[use] == 1
    hits = (truth & found).sum()
    precision, recall = hits / max(found.sum(), 1), hits / max(truth.sum(), 1)
    f1 = 2 * hits / max(found.sum() + truth.sum(), 1)
    return {"auc": auc(values[use], truth), "f1": f1, "precision": precision, "recall": recall}


def pairs(data):
    """Name, before, after, label values, where it is scored, the value that means changed."""
    for city in CITIES:
        folder = data / "oscd" / city
        with rasterio.open(folder / "label.tif") as file:
            label = file.read(1)
        yield f"oscd/{city}", folder / "before.tif", folder / "after.tif", label, np.ones(label.shape, bool), 1
    folder = data / "landsat_taizhou"
    with rasterio.open(folder / "label.tif") as file:
        label = file.read(1)
    yield "landsat_taizhou", folder / "before.tif", folder / "after.tif", label, label > 0, 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--pictures", type=Path, default=Path("build/real_pairs"))
    args = parser.parse_args()
    args.pictures.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, before, after, label, scored, changed in pairs(args.data):
        for method in args.methods:
            stem = args.pictures / f"{name.replace('/', '_')}_{method}"
            output, probability = stem.with_suffix(".tif"), Path(f"{stem}_probability.tif")
            began = time.perf_counter()
            detect(
                str(before),
                str(after),
                str(output),
                method,
                probability=str(probability),
                quicklook=str(stem.with_suffix(".png")),
                polygons=str(stem.with_suffix(".gpkg")),
                overwrite=True,
            )
            seconds = time.perf_counter() - began
            figures = score(output, probability, label, scored, changed)
            rows.append({"pair": name, "method": method, "seconds": seconds, **figures})
            print(json.dumps(rows[-1]), flush=True)
    text = table(rows, args.methods)
    print(text)
    if args.output:
        args.output.write_text(text, encoding="utf-8")


def table(rows, methods):
    """Markdown: a row a pair, AUC and F1 a method, then the mean over the OSCD cities."""
    names = list(dict.fromkeys(row["pair"] for row in rows))
    by = {(row["pair"], row["method"]): row for row in rows}
    lines = ["| pair | " + " | ".join(f"{method} AUC / F1" for method in methods) + " |"]
    lines.append("|---" * (len(methods) + 1) + "|")
    for name in names:
        cells = [f"{by[name, method]['auc']:.3f} / {by[name, method]['f1']:.3f}" for method in methods]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    cities = [name for name in names if name.startswith("oscd/")]
    means = []
    for method in methods:
        figures = [[by[name, method][key] for name in cities] for key in ("auc", "f1")]
        means.append(" / ".join(f"{np.mean(values):.3f}" for values in figures))
    lines.append(f"| **mean of the {len(cities)} OSCD cities** | " + " | ".join(means) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
