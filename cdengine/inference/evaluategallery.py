"""Which pairs of an evaluation are worth a picture, and the pictures."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdengine.assess.binary import IGNORED
from cdengine.assess.colours import Rgb
from cdengine.assess.errorpictures import class_map, error_map, panel_size, resampled, sheet
from cdengine.assess.preview import Frame, grid_of, read_pair, stretched
from cdengine.data.layouts import PairFiles
from cdengine.events import Reporter
from cdengine.inference.evaluatescores import Predicted
from cdengine.inference.evaluatetruth import Truth
from cdengine.raster.paths import parse
from cdengine.raster.quiet import opened
from cdengine.raster.source import gdal_env

WORST, BEST = 12, 4


@dataclass(frozen=True)
class Shown:
    """One pair with all that its picture needs."""

    files: PairFiles
    predicted: Predicted
    truth: Truth
    row: dict[str, Any]


class Gallery:
    """Keeps the pairs with most wrong pixels, and those with change whose F1 is best; `WORST + BEST` at most."""

    def __init__(self) -> None:
        self._worst: list[tuple[float, int, Shown]] = []
        self._best: list[tuple[float, int, Shown]] = []
        self._count = 0

    def offer(self, shown: Shown) -> None:
        """Looks at one pair."""
        self._count += 1
        row = shown.row
        _keep(self._worst, WORST, (float(row["fp"] + row["fn"]), -self._count, shown))
        if row["tp"] + row["fn"]:
            _keep(self._best, BEST, (float(row["f1"]), -self._count, shown))

    def pictures(self, colours: Sequence[Rgb], reporter: Reporter) -> list[tuple[str, bytes]]:
        """Captions and JPEGs: worst first, then the best that are not among them.

        Args:
            colours: of the classes of a semantic set.
            reporter: for progress.
        """
        worst = [shown for *_, shown in sorted(self._worst, key=lambda item: item[:2], reverse=True)]
        best = [shown for *_, shown in sorted(self._best, key=lambda item: item[:2], reverse=True)]
        chosen = worst + [shown for shown in best if all(shown is not other for other in worst)]
        return [
            (_caption(shown.row), _picture(shown, colours))
            for shown in reporter.each(chosen, "pictures", len(chosen), "pictures")
        ]


def _keep(heap: list[tuple[float, int, Shown]], most: int, item: tuple[float, int, Shown]) -> None:
    (heapq.heappush if len(heap) < most else heapq.heappushpop)(heap, item)


def _caption(row: dict[str, Any]) -> str:
    text = f"{row['name']}: F1 {row['f1']:.3f}, precision {row['precision']:.3f}, recall {row['recall']:.3f}"
    if "score" in row:
        text += f", score {row['score']:.3f}"
    return f"{text}; {row['fn']:,} pixels missed, {row['fp']:,} false alarms"


def _picture(shown: Shown, colours: Sequence[Rgb]) -> bytes:
    files, predicted, truth = shown.files, shown.predicted, shown.truth
    size = panel_size(*truth.change.shape)
    with gdal_env():
        with opened(parse(str(files.before), "BEFORE").gdal) as dataset:
            grid = grid_of(dataset)
        before, after, _ = stretched(*read_pair(str(files.before), str(files.after), Frame(grid, grid.window, *size)))
    change, label, valid = (resampled(layer, size) for layer in (predicted.change, truth.change, predicted.valid))
    errors = error_map(change, label, valid, after)
    if truth.codes is None or predicted.codes is None:
        return sheet([[before, after, errors]])
    maps = [[resampled(class_map(code, colours), size) for code in date] for date in (truth.codes, predicted.codes)]
    wrong = np.zeros(truth.change.shape, bool)
    for labelled, found in zip(truth.codes, predicted.codes, strict=True):
        wrong |= (labelled != found) & (labelled != IGNORED)
    classes = error_map(change, label, valid, after, resampled(wrong, size))
    return sheet([[before, maps[0][0], maps[1][0], errors], [after, maps[0][1], maps[1][1], classes]])
