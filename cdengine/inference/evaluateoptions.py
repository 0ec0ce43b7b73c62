"""What a user can choose for `evaluate`: one typed value shared by the command line and Python."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from cdengine.data.codings import ChangeCoding
from cdengine.errors import UsageError
from cdengine.inference.options import DetectOptions

PROTOCOLS = ("whole", "tiles256")
SUFFIXES = {"metrics": (".json",), "csv": (".csv",), "report": (".html", ".htm")}
# options of `detect` that mean the same here
SHARED = ("bands_before", "bands_after", "tile", "overlap", "batch_size", "device", "precision", "tta", "workers")


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of `evaluate`; names and defaults are those of the command line (interface contract).

    Attributes:
        data: folder of the data set (or its index file).
        layout: how it lies there: pairs, second, senseearth, hiucd, gold, index.
        split: split folder, list file, or all.
        model: what detect takes; several, or a folder of trained runs: mean and spread over them.
        ensemble: several models as one: the mean of their probabilities.
        predictions: folder of rasters made elsewhere, named like the labels: 0/1, 0/255 or probabilities.
        protocol: whole: tiles blended over each image; tiles256: tiles of 256 px without overlap, each by itself.
        threshold: change is probability >= threshold; auto: the model card's, or found by the method.
        threshold_from: split on which the threshold with the best F1 is found; not the one that is scored.
        classes: names of the land-cover classes in the order of their ids (default: the layout's, or the model's).
        label_coding: of change labels: 0/1, 0/255, soft, or unchanged=1,changed=2,ignored=0 (default: found out).
        output: figures as .json.
        csv: figures of every image as .csv.
        report: HTML page with pictures of hits, misses and false alarms.
        save_predictions: folder for label images of every pair, labelled or not.
        bands_before: bands of the first date by number or name, e.g. 4,3,2.
        bands_after: bands of the second date.
        tile: pixels of a tile's side, a multiple of 32 (default: the model's own).
        overlap: pixels that neighbouring tiles share (default: what the model needs).
        batch_size: tiles at a time; "auto" adapts to memory.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: of a network's arithmetic.
        tta: test-time augmentation, none, flip (4 views), six (mirrors and quarter turns) or d4 (8 views).
        workers: reading threads (default: one per core, at most 4).
        overwrite: replace outputs that exist.
    """

    data: str
    layout: str = "pairs"
    split: str = "test"
    model: tuple[str, ...] = ()
    ensemble: bool = False
    predictions: str | None = None
    protocol: Literal["whole", "tiles256"] = "whole"
    threshold: float | Literal["auto"] = "auto"
    threshold_from: str | None = None
    classes: tuple[str, ...] = ()
    label_coding: str | None = None
    output: str | None = None
    csv: str | None = None
    report: str | None = None
    save_predictions: str | None = None
    bands_before: str | None = None
    bands_after: str | None = None
    tile: int | None = None
    overlap: int | None = None
    batch_size: int | Literal["auto"] = "auto"
    device: str = "auto"
    precision: str = "auto"
    tta: str = "none"
    workers: int | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Checks every value on its own, and which go together."""
        self.detect_options("cva")  # those it shares with detect, by the same rules
        self.change_coding()
        if self.protocol not in PROTOCOLS:
            raise UsageError(f"--protocol {self.protocol!r}: one of {', '.join(PROTOCOLS)}")
        if bool(self.model) == (self.predictions is not None):
            raise UsageError("give either --model or --predictions: what is to be measured")
        if self.ensemble and not self.model:
            raise UsageError("--ensemble takes the mean of several models: give two or more with --model")
        if self.predictions is not None:
            for name in ("threshold_from", "save_predictions", "tile", "overlap"):
                if getattr(self, name) is not None:
                    raise UsageError(f"--{name.replace('_', '-')} needs --model: predictions are measured as they are")
            if self.protocol != "whole":
                raise UsageError("--protocol tiles256 needs --model: predictions are measured as they are")
        if self.protocol == "tiles256" and (self.tile is not None or self.overlap is not None):
            raise UsageError("--protocol tiles256 has tiles of 256 px without overlap: leave out --tile and --overlap")
        if self.threshold_from is not None and self.threshold != "auto":
            raise UsageError("--threshold-from finds the threshold: leave out --threshold")
        if self.threshold_from == self.split:
            raise UsageError(
                f"--threshold-from {self.split}: a threshold chosen on the split that is scored flatters the model; "
                "name the validation split"
            )
        for name, path in self.targets().items():
            if path.suffix.lower() not in SUFFIXES[name]:
                flag = "output" if name == "metrics" else name
                raise UsageError(f"--{flag} {path}: must end in {' or '.join(SUFFIXES[name])}")

    @classmethod
    def of(cls, data: str, options: Mapping[str, Any]) -> EvaluateOptions:
        """From keyword arguments; an unknown one is an error that names the nearest."""
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                raise UsageError(f"evaluate has no option {name!r}" + (f": did you mean {near[0]!r}?" if near else ""))
        return cls(**{"data": data, **options})

    def detect_options(self, model: str, *others: str) -> DetectOptions:
        """What `detect` would be told to run a model, or the mean of several, in the same way."""
        shared: dict[str, Any] = {name: getattr(self, name) for name in SHARED}
        # `detect` takes "default" before others for a --model that was not given; here it was named
        first, *rest = sorted((model, *others), key=lambda name: name == "default")
        return DetectOptions(model=first, ensemble=tuple(rest), threshold=self.threshold, **shared)

    def change_coding(self) -> ChangeCoding | None:
        """What the values of change labels mean, where that was said."""
        return None if self.label_coding is None else ChangeCoding.parse(self.label_coding)

    def targets(self) -> dict[str, Path]:
        """Output name → path."""
        asked = {"metrics": self.output, "csv": self.csv, "report": self.report}
        return {name: Path(path) for name, path in asked.items() if path is not None}
