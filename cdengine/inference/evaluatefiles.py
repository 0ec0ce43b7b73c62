"""Predictions as files: those made elsewhere are read, those of a model are written as label images."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cdengine.assess.binary import IGNORED
from cdengine.assess.colours import Rgb
from cdengine.data.codings import ChangeCoding, ClassCoding
from cdengine.data.folders import images, listed
from cdengine.data.images import read_stored
from cdengine.data.labels import find_coding, read_change, read_classes
from cdengine.data.layouts import PairFiles
from cdengine.errors import (
    DatasetError,
    InputError,
    OutputExistsError,
    OutputFolderError,
    OutputIsInputError,
)
from cdengine.events import Reporter
from cdengine.inference.evaluatescores import Predicted
from cdengine.raster.grid import Grid
from cdengine.raster.sink import GeoTiffSink
from cdengine.raster.spec import change_spec, classes_spec
from cdengine.raster.whole import move_whole, write_whole

Array = np.ndarray[Any, np.dtype[Any]]
DATES = ("label1", "label2")  # folders of a semantic prediction


class PredictionFolder:
    """Rasters made elsewhere, named like the labels.

    Attributes:
        semantic: whether both dates' classes are there (DIR/label1, DIR/label2; index-coded, 0 unchanged).
    """

    def __init__(
        self,
        folder: Path,
        pairs: Sequence[PairFiles],
        classes: ClassCoding | None,
        threshold: float,
        reporter: Reporter,
    ) -> None:
        """Finds a file for every pair, and what their values mean.

        Args:
            folder: where they lie.
            pairs: the labelled ones.
            classes: of a semantic set.
            threshold: for rasters of probabilities.
            reporter: for progress.

        Raises:
            DatasetError: predictions are missing.
        """
        self._threshold, self._classes, self._reporter = threshold, classes, reporter
        self.semantic = classes is not None and all((folder / date).is_dir() for date in DATES)
        roots = [folder / date for date in DATES] if self.semantic else [folder]
        self._files = [_assigned(pairs, root) for root in roots]
        self._coding: ChangeCoding | None = None
        self._uneven = False
        if not self.semantic:
            paths = list(self._files[0].values())
            if read_stored(paths[0]).values.dtype.kind != "f":
                self._coding = find_coding(paths, reporter)

    def read(self, pair: PairFiles) -> Predicted:
        """The prediction for one pair.

        Raises:
            LabelError: values that are neither a mask nor class indices.
            InputError: a raster of floats that are no probabilities.
        """
        paths = [files[pair.name] for files in self._files]
        if self.semantic:
            return self._semantic(paths[0], paths[1])
        if self._coding is not None:
            change = read_change(paths[0], self._coding)
            return Predicted(change == 1, change != IGNORED)
        return self._probabilities(paths[0])

    def _probabilities(self, path: Path) -> Predicted:
        stored = read_stored(path)
        values, valid = stored.values[0], stored.valid & np.isfinite(stored.values[0])
        if values.dtype.kind != "f":
            raise InputError(f"{path}: holds {values.dtype}, the first prediction floats; give one kind for all")
        if ((values < 0) | (values > 1))[valid].any():
            raise InputError(
                f"{path}: holds values beyond 0 and 1, which are no probabilities; rescale or threshold it"
            )
        probability = np.where(valid, values, 0).astype(np.float32)
        return Predicted(probability >= np.float32(self._threshold), valid, probability)

    def _semantic(self, before: Path, after: Path) -> Predicted:
        assert self._classes is not None
        dates, valid = [], None
        for path in (before, after):
            stored = read_stored(path)
            known = stored.valid & ~((stored.values == IGNORED).all(axis=0) & (len(stored.values) == 1))
            valid = known if valid is None else valid & known if valid.shape == known.shape else None
            if valid is None:
                raise InputError(f"{path}: has another size than {before}; write both on one grid")
            ids = read_classes(path, self._classes)
            dates.append(np.where(ids == IGNORED, 0, ids + 1).astype(np.uint8))
        assert valid is not None
        one, two = dates[0] > 0, dates[1] > 0
        if not self._uneven and (one != two)[valid].any():
            self._uneven = True
            self._reporter.warning(
                f"{before} and {after.parent.name}/ do not agree where it changed (0 = unchanged); "
                "pixels with a class at one date only count as unchanged"
            )
        change = one & two
        return Predicted(change, valid, None, (dates[0] * change, dates[1] * change))


def _assigned(pairs: Sequence[PairFiles], folder: Path) -> dict[str, Path]:
    """Pair's name → file, by the pair's name or by its label's."""
    there = images(folder)
    found: dict[str, Path] = {}
    for pair in pairs:
        labels = [path.stem for path in (pair.change, pair.before_classes) if path is not None]
        match = next((there[name] for name in (pair.name, *labels) if name in there), None)
        if match is not None:
            found[pair.name] = match
    missing = [pair.name for pair in pairs if pair.name not in found]
    if missing:
        raise DatasetError(
            f"{folder}: no prediction for {listed(missing)} ({len(missing)} of {len(pairs)} pairs); "
            "name the files like the labels, whatever their suffix"
        )
    return found


class LabelWriter:
    """Writes label images: GeoTIFF where the pair is georeferenced, else PNG; each file appears when it is whole.

    Change is one file a pair, `DIR/NAME`: PNG 0 and 255, GeoTIFF 0, 1 and nodata 255. Classes are two files,
    `DIR/label1/NAME` and `DIR/label2/NAME`: 0 unchanged, 1 … K the class of a changed pixel, nodata 255; or, for
    classes everywhere, 0 unlabelled, 1 … K the class of a pixel.
    """

    def __init__(
        self,
        folder: Path,
        pairs: Sequence[PairFiles],
        classes: Sequence[str],
        tags: Mapping[str, str],
        overwrite: bool,
        *,
        colours: Sequence[Rgb] = (),
        everywhere: bool = False,
    ) -> None:
        """Checks the folder.

        Args:
            folder: made if it is not there.
            pairs: that will be written.
            classes: names; empty: change is written.
            tags: for GeoTIFFs.
            overwrite: whether label images of an earlier run may be replaced.
            colours: of 0 and of each class.
            everywhere: unchanged pixels have classes too.

        Raises:
            OutputIsInputError: a file of the data set would be replaced.
            OutputExistsError: label images are there already.
            OutputFolderError: the folder cannot be made or written to.
        """
        self._folder, self._classes, self._tags = folder, tuple(classes), tags
        self._colours = list(colours)
        self._zero, self._meaning = ("unlabelled", "class") if everywhere else ("unchanged", "class of changed pixels")
        inputs = {
            os.path.realpath(path)
            for pair in pairs
            for path in (pair.before, pair.after, pair.change, pair.before_classes, pair.after_classes)
            if path is not None
        }
        for pair in pairs:
            for target in self._targets(pair.name):
                for path in (target.with_name(target.name + suffix) for suffix in (".png", ".tif")):
                    if os.path.realpath(path) in inputs:
                        raise OutputIsInputError(f"{path} is a file of the data set; name another --save-predictions")
                    if path.exists() and not overwrite:
                        raise OutputExistsError(f"{path} exists already; give --overwrite to replace it")
        try:
            for pair in pairs:
                for target in self._targets(pair.name):
                    target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputFolderError(f"{folder}: cannot be made ({error.strerror}); name another folder") from error

    def write(self, name: str, predicted: Predicted, grid: Grid, reporter: Reporter) -> None:
        """Writes the label image or images of one pair."""
        layers = predicted.codes if self._classes and predicted.codes is not None else (predicted.change,)
        for target, layer in zip(self._targets(name), layers, strict=True):
            if grid.crs is None:
                pixels = layer.astype(np.uint8) if self._classes else np.where(layer, 255, 0).astype(np.uint8)
                self._png(target.with_name(target.name + ".png"), np.where(predicted.valid, pixels, 0).astype(np.uint8))
            else:
                pixels = np.where(predicted.valid, layer, IGNORED).astype(np.uint8)
                self._tif(target.with_name(target.name + ".tif"), pixels, grid, reporter)

    def _targets(self, name: str) -> list[Path]:
        """Without suffix."""
        return [self._folder / date / name for date in DATES] if self._classes else [self._folder / name]

    def _png(self, path: Path, pixels: Array) -> None:
        picture, payload = Image.fromarray(pixels), io.BytesIO()
        if self._classes:  # indices as they are, with colours for those who look at them
            picture.putpalette([level for colour in self._colours for level in colour])
        picture.save(payload, "PNG", optimize=False)
        write_whole(path, payload.getvalue())

    def _tif(self, path: Path, pixels: Array, grid: Grid, reporter: Reporter) -> None:
        spec = change_spec(self._tags)
        if self._classes:
            names, colours = (self._zero, *self._classes), [(*colour, 255) for colour in self._colours]
            spec = classes_spec(names, self._tags, colours, description=self._meaning)
        temporary = path.with_name(f".{path.stem}.part.tif")
        with GeoTiffSink(temporary, grid, spec, reporter=reporter) as sink:
            sink.write(0, pixels[None])
        for suffix in (".aux.xml", ""):  # the sidecar first, so that a reader of the file finds it
            source = Path(f"{temporary}{suffix}")
            if source.exists():
                move_whole(source, Path(f"{path}{suffix}"))
