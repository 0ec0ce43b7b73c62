"""What `evaluate` hands back: figures as values, as JSON, as a table of images, and as lines for a terminal."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdengine.inference.evaluatescores import COUNTS, RunScores, mean_of_images, over_runs

# figures of the terminal's table, as far as there are such
COLUMNS = ("precision", "recall", "f1", "iou", "oa", "kappa", "ap", "object_f1", "boundary_f1")
SEMANTIC_COLUMNS = ("f1", "iou", "miou", "sek", "fscd", "score", "semantic_kappa")


@dataclass(frozen=True)
class EvaluationResult:
    """Figures of an evaluation.

    Attributes:
        pooled: of all pixels together; several runs: mean over them.
        images: a row for every labelled pair; several runs: mean over them.
        protocol: how it was measured.
        mean: of the images' figures; average precision over images in which something changed.
        spread: sample standard deviation of `pooled` over the runs; empty for one.
        runs: of every run its name, `pooled`, `mean`, and facts such as the threshold.
        details: of the first run: `calibration`, and for semantic sets `class_iou`, `confusion`, `transitions`.
        outputs: name → path.
    """

    pooled: dict[str, float]
    images: list[dict[str, Any]]
    protocol: dict[str, Any]
    mean: dict[str, float]
    spread: dict[str, float]
    runs: list[dict[str, Any]]
    details: dict[str, Any]
    outputs: dict[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """As it is written to a file: `pooled`, `images`, `protocol` of the interface contract, then the rest."""
        found: dict[str, Any] = {"pooled": self.pooled, "images": self.images, "protocol": self.protocol}
        found["mean"] = self.mean
        if self.spread:
            found |= {"spread": self.spread, "runs": self.runs}
        return found | self.details

    def summary(self) -> str:
        """A table for a terminal."""
        head = (
            f"{self.protocol['data']}, split {self.protocol['split']}: {self.protocol['labelled_pairs']} labelled pairs"
        )
        lines = [f"{head}, protocol {self.protocol['protocol']}"]
        if self.runs and self.runs[0]["pooled"]:
            lines += _table(self.runs, self.mean, self.pooled, self.spread)
        return "\n".join([*lines, *(f"{name}: {path}" for name, path in self.outputs.items())])


def result_of(runs: Sequence[RunScores], classes: Sequence[str], protocol: dict[str, Any]) -> EvaluationResult:
    """Figures of finished runs.

    Args:
        runs: one for every model, or the one of the predictions.
        classes: of a semantic set.
        protocol: how it was measured.
    """
    means = [mean_of_images(run.images) for run in runs]
    pooled, spread = over_runs([run.pooled() for run in runs])
    several = len(runs) > 1
    listed = [
        {"name": run.name, "pooled": run.pooled(), "mean": mean, **run.facts}
        for run, mean in zip(runs, means, strict=True)
    ]
    images = runs[0].images
    if several:
        rows = zip(*(run.images for run in runs), strict=True)
        images = [{"name": row[0]["name"], **over_runs(row)[0]} for row in rows]
    else:
        pooled = runs[0].pooled()  # counts stay whole numbers
    return EvaluationResult(
        pooled=pooled,
        images=images,
        protocol=protocol,
        mean=over_runs(means)[0],
        spread=spread if several else {},
        runs=listed,
        details=runs[0].details(classes),
    )


def write_json(path: Path, result: EvaluationResult) -> None:
    """Writes the figures; none of them is NaN."""
    text = json.dumps(result.json(), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def write_csv(path: Path, runs: Sequence[RunScores]) -> None:
    """One line an image and run, and for each run one of all pixels ("pooled") and one of the mean ("mean")."""
    rows: list[Mapping[str, Any]] = []
    for run in runs:
        rows += [{"run": run.name, **row} for row in run.images]
        rows.append({"run": run.name, "name": "pooled", **run.pooled()})
        rows.append({"run": run.name, "name": "mean", **mean_of_images(run.images)})
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def plain_figures(figures: Mapping[str, float]) -> dict[str, float]:
    """Without the counts of pixels."""
    return {name: value for name, value in figures.items() if name not in COUNTS}


def _table(
    runs: Sequence[Mapping[str, Any]],
    mean: Mapping[str, float],
    pooled: Mapping[str, float],
    spread: Mapping[str, float],
) -> list[str]:
    wanted = SEMANTIC_COLUMNS if "score" in pooled else COLUMNS
    shown = [name for name in wanted if name in pooled]
    rows = [(_short(str(run["name"])), [f"{run['pooled'][name]:.4f}" for name in shown]) for run in runs]
    if spread:
        rows.append(("mean ± spread", [f"{pooled[name]:.4f} ± {spread[name]:.4f}" for name in shown]))
    rows.append(("mean of images", [f"{mean[name]:.4f}" for name in shown]))
    first = max(len(name) for name, _ in rows)
    widths = [max(len(name), *(len(cells[i]) for _, cells in rows)) for i, name in enumerate(shown)]
    lines = [" " * first + "".join(f"  {name:>{width}}" for name, width in zip(shown, widths, strict=True))]
    for name, cells in rows:
        lines.append(
            f"{name:<{first}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        )
    return lines


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"…{name[-39:]}"
