"""The recipe configs/oscd.yaml, leaving two cities out at a time, against IR-MAD and CVA.

    python -m benchmarks.oscd ../shared/data [--output docs/results/oscd.md] [--pictures DIR] [--set KEY=VALUE …]

Seven cities in four folds; of the five that are left one validates (epoch and threshold), four train. Each city is
scored once, whole, by a model that saw neither it nor its neighbour in the fold. AFTER is warped onto BEFORE's grid
first. The labels are for research: figures only are kept, never imagery.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

import rasterio

from cdengine.assess.binary import BinaryConfusion
from cdengine.data.indexfile import write_index
from cdengine.inference.evaluate import evaluate
from cdengine.raster.align import align
from cdengine.training.config import load_config
from cdengine.training.fit import train

CITIES = ("aguasclaras", "abudhabi", "beihai", "bercy", "bordeaux", "nantes", "saclay_e")
FOLDS = (("aguasclaras", "bercy"), ("abudhabi", "nantes"), ("beihai", "saclay_e"), ("bordeaux", "aguasclaras"))
BASELINES = ("irmad", "cva")
RECIPE = Path("configs/oscd.yaml")
BUILD = Path("build/oscd")


def prepared(data: Path) -> None:
    """Both dates of every city on one grid, in build/oscd."""
    for city in CITIES:
        folder, source = BUILD / "cities" / city, data / "oscd" / city
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("before", "label"):
            shutil.copyfile(source / f"{name}.tif", folder / f"{name}.tif")
        align(source / "before.tif", source / "after.tif", folder / "after.tif", align="auto", overwrite=True)
        with rasterio.open(folder / "label.tif") as label, rasterio.open(folder / "after.tif") as after:
            assert label.shape == after.shape, city


def index_of(fold: int) -> Path:
    """The table of scenes of one fold."""
    tested = FOLDS[fold]
    left = [city for city in CITIES if city not in tested]
    validation = left[fold % len(left)]
    rows = []
    for city in CITIES:
        split = "test" if city in tested else "val" if city == validation else "train"
        files = {kind: f"cities/{city}/{kind}.tif" for kind in ("before", "after", "label")}
        rows.append({"name": city, "split": split, **files})
    path = BUILD / f"fold{fold}.csv"
    write_index(path, rows, list(rows[0]))
    return path


def scored(index: Path, model: str, pictures: Path | None) -> dict[str, dict[str, float]]:
    """Figures of each city of the test split."""
    page = pictures / f"{index.stem}_{Path(model).parent.name or model}.html" if pictures else None
    options = {"report": page, "overwrite": True} if page else {}
    found = evaluate(index, "index", "test", model, **options)
    return {row["name"]: row for row in found.images}


def table(rows: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: a row a city, then means and pooled figures."""
    names = list(rows)
    lines = ["| city | " + " | ".join(f"{name}: F1 | AP" for name in names) + " |"]
    lines.append("|---" * (2 * len(names) + 1) + "|")
    for city in CITIES:
        cells = [f"{rows[name][city][figure]:.3f}" for name in names for figure in ("f1", "ap")]
        lines.append(f"| {city} | " + " | ".join(cells) + " |")
    means = [
        f"{sum(rows[name][city][figure] for city in CITIES) / len(CITIES):.3f}"
        for name in names
        for figure in ("f1", "ap")
    ]
    lines.append("| mean | " + " | ".join(means) + " |")
    pooled = []
    for name in names:
        total = BinaryConfusion(0, 0, 0, 0)
        for city in CITIES:
            row = rows[name][city]
            total += BinaryConfusion(*(int(row[key]) for key in ("tp", "fp", "fn", "tn")))
        pooled += [f"{total.f1:.3f}", ""]
    lines.append("| pooled | " + " | ".join(pooled) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Trains every fold, scores, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(len(FOLDS))))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
    prepared(args.data)
    rows: dict[str, dict[str, dict[str, float]]] = {"model": {}, **{name: {} for name in BASELINES}}
    for fold in args.folds:
        index, run, began = index_of(fold), BUILD / f"run{fold}", time.monotonic()
        config = load_config(RECIPE, [*args.set, f"data.root={index}", f"output={run}"])
        result = train(config, overwrite=True)
        print(json.dumps({"fold": fold, "seconds": round(time.monotonic() - began), **result.metrics}), flush=True)
        for name, model in (("model", str(result.model)), *((name, name) for name in BASELINES)):
            found = scored(index, model, args.pictures)
            for city, row in found.items():
                rows[name].setdefault(city, row)
                print(json.dumps({"model": name, "city": city, "f1": row["f1"], "ap": row["ap"]}), flush=True)
    if len(args.folds) == len(FOLDS):
        text = table(rows)
        print(text)
        if args.output:
            args.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
