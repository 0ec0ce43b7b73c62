"""What a user can choose for `detect`: one typed value shared by the command line and Python."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Literal

from cdengine.errors import UsageError
from cdengine.inference.tiles import PHASE

Align = Literal["auto", "strict", "register"]
ReferenceGrid = Literal["before", "after", "finer"]
CHOICES: dict[str, tuple[str, ...]] = {
    "align": ("auto", "strict", "register"),
    "grid": ("before", "after", "finer"),
    "on_corrupt": ("error", "nodata"),
    "probability_dtype": ("float32", "uint8"),
    "class_extent": ("everywhere", "changed"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "tta": ("none", "flip", "six", "d4"),
}
MAX_TILE = 8192
DEFAULT_TILE = 512


@dataclass(frozen=True)
class DetectOptions:
    """Options of `detect`; names and defaults are those of the command line (interface contract).

    Attributes:
        model: a model file, a shipped model's name, or a training-free method; "default" chooses by the bands.
        ensemble: several models, averaged (with `model` too where that is given).
        polygons: changed areas as .gpkg, .geojson, .fgb or .parquet.
        probability: change probability raster.
        probability_dtype: float32, or uint8 scaled 0 to 200.
        before_classes: land cover before (semantic models).
        after_classes: land cover after (semantic models).
        transitions: from-to codes (semantic models).
        class_extent: where the class rasters tell classes: everywhere, or on changed pixels alone (nodata elsewhere).
        report: HTML report.
        quicklook: PNG with both dates, probability and outlined changes.
        bands_before: bands of BEFORE by number or name, e.g. 4,3,2.
        bands_after: bands of AFTER.
        align: auto warps while reading; strict refuses different grids; register also removes a residual shift.
        grid: whose grid the outputs have.
        assume_crs: CRS of a date whose file holds none, such as EPSG:32632.
        allow_coarse: pixel sizes may differ 100 times or more.
        on_corrupt: what to do with a block that cannot be decoded: stop, or fill it with nodata and go on.
        tile: pixels of a tile's side, a multiple of 32 (default: the model's own).
        overlap: pixels that neighbouring tiles share (default: what the model needs).
        batch_size: tiles at a time; "auto" adapts to memory.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: of a network's arithmetic.
        tta: test-time augmentation, none, flip (4 views), six (mirrors and quarter turns) or d4 (8 views).
        time_budget: seconds the run may take: as many tiles have test-time augmentation as fit into it.
        workers: reading threads (default: one per core, at most 4).
        threshold: change is probability >= threshold; "auto": the model card's, or found by the method.
        min_area: smallest polygon, m² (px² without a CRS).
        simplify: tolerance for polygon outlines, m (pixels without a CRS).
        fill_holes: holes in polygons smaller than this are filled, m² (px² without a CRS).
        aoi: limit to the polygons of a vector file, in any CRS.
        resume: continue an interrupted run of the same job.
        cog: write cloud-optimised GeoTIFFs.
        overwrite: replace outputs that exist.
        allow_remote: let a local VRT read remote sources.
    """

    model: str = "default"
    ensemble: tuple[str, ...] = ()
    polygons: str | None = None
    probability: str | None = None
    probability_dtype: str = "float32"
    before_classes: str | None = None
    after_classes: str | None = None
    transitions: str | None = None
    class_extent: str = "everywhere"
    report: str | None = None
    quicklook: str | None = None
    bands_before: str | None = None
    bands_after: str | None = None
    align: Align = "auto"
    grid: ReferenceGrid = "before"
    assume_crs: str | None = None
    allow_coarse: bool = False
    on_corrupt: str = "error"
    tile: int | None = None
    overlap: int | None = None
    batch_size: int | Literal["auto"] = "auto"
    device: str = "auto"
    precision: str = "auto"
    tta: str = "none"
    time_budget: float | None = None
    workers: int | None = None
    threshold: float | Literal["auto"] = "auto"
    min_area: float = 0.0
    simplify: float = 0.0
    fill_holes: float = 0.0
    aoi: str | None = None
    resume: bool = False
    cog: bool = False
    overwrite: bool = False
    allow_remote: bool = False

    def __post_init__(self) -> None:
        """Checks every value on its own; what depends on the files is checked where they are opened."""
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise UsageError(f"{_flag(name)} {value!r}: one of {', '.join(choices)}")
        if self.tile is not None and not (PHASE <= self.tile <= MAX_TILE and self.tile % PHASE == 0):
            raise UsageError(f"--tile {self.tile}: a multiple of {PHASE} from {PHASE} to {MAX_TILE}")
        if self.overlap is not None and not 0 <= self.overlap < (self.tile or MAX_TILE):
            raise UsageError(f"--overlap {self.overlap}: from 0 to less than --tile ({self.tile or MAX_TILE} at most)")
        if self.batch_size != "auto" and not 1 <= self.batch_size <= 4096:
            raise UsageError(f"--batch-size {self.batch_size}: auto, or 1 to 4096")
        if self.threshold != "auto" and not _within(self.threshold, 1):
            raise UsageError(f"--threshold {self.threshold!r}: auto, or from 0 to 1")
        if self.workers is not None and not 1 <= self.workers <= 256:
            raise UsageError(f"--workers {self.workers}: from 1 to 256")
        if self.class_extent != "everywhere" and self.before_classes is self.after_classes is None:
            raise UsageError(f"--class-extent {self.class_extent}: give --before-classes or --after-classes too")
        self._check_time_budget()
        for name in ("min_area", "simplify", "fill_holes"):
            value = getattr(self, name)
            if not _within(value, sys.float_info.max):
                raise UsageError(f"{_flag(name)} {value!r}: a number, 0 or more")

    def _check_time_budget(self) -> None:
        if self.time_budget is None:
            return
        if not (_within(self.time_budget, sys.float_info.max) and self.time_budget > 0):
            raise UsageError(f"--time-budget {self.time_budget!r}: a number of seconds, more than 0")
        if self.tta == "none":
            views = ", ".join(name for name in CHOICES["tta"] if name != "none")
            raise UsageError(
                f"--time-budget {self.time_budget:g} says how long test-time augmentation may take, and there is none: "
                f"give --tta too ({views})"
            )

    @classmethod
    def of(cls, model: str, options: Mapping[str, Any]) -> DetectOptions:
        """From keyword arguments; an unknown one is an error that names the nearest."""
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                raise UsageError(f"detect has no option {name!r}" + (f": did you mean {near[0]!r}?" if near else ""))
        ensemble = tuple(options.get("ensemble", ()))
        return cls(**{"model": model, **options, "ensemble": ensemble})

    def fingerprint(self) -> dict[str, Any]:
        """What of the options makes the job the same job: all but how the run is carried out."""
        carried_out = {"resume", "overwrite", "workers", "batch_size"}
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in carried_out}
        # Whether there is a limit makes another job, how long it is does not: what is left to do may get other time.
        del values["time_budget"]
        values |= {} if self.time_budget is None else {"time_budget": True}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _within(value: object, most: float) -> bool:
    """Whether it is a number from 0 to `most`; from Python anything may come."""
    return isinstance(value, Real) and 0 <= float(value) <= most


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
