"""`pseudo-label`: an ensemble gives classes to what did not change, so that a student learns from whole images."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cdengine import __version__
from cdengine.data.codings import IGNORE
from cdengine.data.labels import read_classes
from cdengine.data.layouts import PairFiles, find_pairs
from cdengine.data.manifest import label_format
from cdengine.data.pseudo import MANIFEST
from cdengine.errors import DatasetError, ModelTaskError, UsageError
from cdengine.events import Reporter
from cdengine.inference.evaluatefiles import LabelWriter
from cdengine.inference.evaluatemodel import ModelRun, Output
from cdengine.inference.evaluateoptions import EvaluateOptions
from cdengine.inference.evaluatescores import Predicted
from cdengine.inference.evaluatetruth import Labels, colours_of, label_colours
from cdengine.inference.labelshift import ClassShift, LabelShift, corrected
from cdengine.inference.modelnames import labels, refuse_twins
from cdengine.inference.pseudolabelfolder import JOB as JOB  # with FACTS: what tells a folder of pseudo labels
from cdengine.inference.pseudolabelfolder import PICTURE, REPORT, Folder, inputs, state
from cdengine.inference.pseudolabelreport import draw_pictures, report_page
from cdengine.inference.pseudolabelrows import Row, Totals
from cdengine.inference.votes import ABSTAINED, agreement, majority, vote
from cdengine.raster.grid import Grid
from cdengine.raster.source import inspect

Array = np.ndarray[Any, np.dtype[Any]]

FACTS = MANIFEST  # written last
# Options of `evaluate` that mean the same here.
SHARED = (
    *("data", "layout", "split", "model", "classes", "label_coding", "bands_before", "bands_after"),
    *("tta", "tile", "batch_size", "device", "precision", "workers"),
)
# Those that shape the labels, besides models and classes.
SHAPING = ("label_coding", "bands_before", "bands_after", "tile", "precision", "tta", "min_confidence", "label_shift")
SAMPLE = 64  # pairs, spread over the split, that tell how common the classes are on unchanged ground
FEW = 16  # with fewer that is rough


@dataclass(frozen=True)
class PseudoLabelOptions:
    """Options of `pseudo-label`.

    Attributes:
        data: folder of the data set (or its index file).
        output: folder to make.
        model: files of semantic models, the members of the ensemble.
        layout: how the data set lies there.
        split: whose pairs are labelled.
        tta: test-time augmentation: none, flip, six or d4.
        min_confidence: probability that a class must have at both dates, or the member abstains.
        label_shift: estimate how common each class is on unchanged ground, and vote accordingly.
        classes: names of the classes, where neither layout nor data set tells them.
        label_coding: of change labels: 0/1, 0/255, soft, or unchanged=1,changed=2,ignored=0; None: found out.
        bands_before: bands of the first date by number or name, e.g. 4,3,2; None: all.
        bands_after: bands of the second date.
        tile, batch_size, device, precision, workers: as of `detect`.
        resume: go on with an interrupted run.
        overwrite: replace an earlier run's folder.
    """

    data: str
    output: str
    model: tuple[str, ...]
    layout: str = "second"
    split: str = "train"
    tta: str = "six"
    min_confidence: float = 0.0
    label_shift: bool = False
    classes: tuple[str, ...] = ()
    label_coding: str | None = None
    bands_before: str | None = None
    bands_after: str | None = None
    tile: int | None = None
    batch_size: int | str = "auto"
    device: str = "auto"
    precision: str = "auto"
    workers: int | None = None
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Checks what needs no file.

        Raises:
            UsageError: it names the option.
        """
        if not self.model:
            raise UsageError("--model: name at least one model file")
        if len(set(self.model)) < len(self.model):
            raise UsageError("--model: a model is named twice, which would give it two votes")
        if not 0 <= self.min_confidence < 1:
            raise UsageError(f"--min-confidence {self.min_confidence}: from 0 to less than 1")
        if self.resume and self.overwrite:
            raise UsageError("--resume goes on with a run, --overwrite begins anew: give one of them")
        self.evaluation()

    def evaluation(self) -> EvaluateOptions:
        """What `evaluate` would be told to run the same models on the same pairs."""
        return EvaluateOptions(**{name: getattr(self, name) for name in SHARED})


@dataclass(frozen=True)
class PseudoLabels:
    """What a run made.

    Attributes:
        folder: with label1/, label2/, pseudo-labels.json, report and pictures.
        totals: of all pairs.
        seconds: of this run.
    """

    folder: Path
    totals: Totals
    seconds: float

    @property
    def outputs(self) -> dict[str, str]:
        """Name → path."""
        return {
            "pseudo_labels": str(self.folder),
            "report": str(self.folder / REPORT),
            "picture": str(self.folder / PICTURE),
        }

    @property
    def stats(self) -> dict[str, float]:
        """Figures for the result."""
        totals = self.totals
        return {
            "pairs": totals.pairs,
            "labelled_share_of_pixels": round(totals.labelled_share, 6),
            "labelled_share_of_unchanged": round(totals.pseudo_share, 6),
            "agreement": round(totals.agreement, 6),
            "seconds": round(self.seconds, 3),
        }


def pseudo_label(options: PseudoLabelOptions, reporter: Reporter | None = None) -> PseudoLabels:
    """Labels the unchanged pixels of a split by the vote of several models; real labels stay as they are.

    Each pair gets `label1/NAME` and `label2/NAME`, index-coded (0 unlabelled, class + 1): GeoTIFF where the pair is
    georeferenced, else PNG. A recipe takes the folder as `data.pseudo_labels`.

    Raises:
        CDEngineError: a subclass names the file or option, and the remedy.
    """
    began, reporter = time.monotonic(), reporter or Reporter()
    pairs = find_pairs(options.data, options.layout, options.split)
    lone = next((pair for pair in pairs if not pair.labelled), None)
    if lone is not None:
        raise DatasetError(f"{lone.before} has no label, which tells what did not change; take a labelled split")
    output = Path(options.output)
    with Folder(output, reporter, resume=options.resume, overwrite=options.overwrite) as folder:
        job = _Job(options, pairs, folder, reporter)
        facts = job.facts()
        job.look()
        done = folder.begin(facts, pairs)
        with reporter.cancellation.resumable("--resume"):
            totals = job.run(done)
            picture = draw_pictures(pairs, folder.label, job.given, job.colours, reporter)
            folder.write(PICTURE, picture)
            folder.write(REPORT, report_page(picture, totals, facts, job.shifts, job.colours).encode())
            folder.finish({**facts, **totals.figures(), "shifts": [shift.figures() for shift in job.shifts]})
    return PseudoLabels(output, totals, time.monotonic() - began)


class _Job:
    """The steps of one run.

    Attributes:
        classes: of models and data set.
        colours: of the classes.
        shifts: of each member, with `label_shift`.
    """

    def __init__(self, options: PseudoLabelOptions, pairs: list[PairFiles], folder: Folder, reporter: Reporter) -> None:
        self._options, self._pairs, self._folder, self._reporter = options, pairs, folder, reporter
        evaluation = options.evaluation()
        form = label_format(options.data, options.layout, classes=options.classes, coding=evaluation.change_coding())
        if form.channels is not None:
            raise UsageError(f"layout {options.layout} labels unchanged ground already: pseudo labels add nothing")
        nameless = next((pair.before_classes for pair in pairs if pair.before_classes is not None), None)
        if form.classes is None and nameless is not None:
            raise UsageError(f"{nameless}: neither layout nor data set names its classes; give them with --classes")
        self._labels = Labels(pairs, form, reporter)
        refuse_twins(options.model)
        self._names = labels(options.model)
        self._members = [ModelRun((name,), pairs[0], evaluation, reporter) for name in options.model]
        self._coding = self._labels.format.classes
        first = self._members[0].detector
        for name, member in zip(options.model, self._members, strict=True):
            if not member.detector.classes:
                raise ModelTaskError(f"{name}: gives no classes: pseudo labels need semantic models")
            expected = first.classes if self._coding is None else self._coding.names
            if member.detector.classes != expected:
                raise ModelTaskError(
                    f"{name}: tells {', '.join(member.detector.classes)}, but here the classes are "
                    f"{', '.join(expected)}: take a model of the same classes in the same order"
                )
        self.classes: tuple[str, ...] = first.classes
        self.colours = colours_of(self.classes, self._coding)
        self.shifts: list[ClassShift] = []

    def facts(self) -> dict[str, Any]:
        """What makes the job the same job, and what the folder says of itself."""
        options = self._options
        return {
            "version": __version__,
            "data": str(Path(options.data).resolve()),
            "layout": options.layout,
            "split": options.split,
            "classes": list(self.classes),
            "models": [
                {"name": name, "sha256": str(member.detector.describe().get("model_sha256", ""))}
                for name, member in zip(self._names, self._members, strict=True)
            ],
            **{name: getattr(options, name) for name in SHAPING},
            "inputs": inputs(self._pairs, self._labels.format),
        }

    def look(self) -> None:
        """Reads all labels and all images' grids: a fault in the last pair is told before the first vote.

        Raises:
            CDEngineError: it names the file.
        """
        for pair in self._reporter.each(self._pairs, "looking at the labels", len(self._pairs), "pairs"):
            shape = self._labels.read(pair).change.shape
            self._same_size(pair.before, self._members[0].grid(pair), shape)
            # models take two grids, but those who learn from the votes read pixel by pixel
            self._same_size(pair.after, inspect(pair.after, "after").grid, shape)
            self._reporter.check()

    def run(self, done: Sequence[Row]) -> Totals:
        """Labels what is left."""
        finished = {row.name: row for row in done}
        if self._options.label_shift:
            self.shifts = self._folder.shifts(self.classes, len(self._members)) or self._estimated()
            self._folder.keep(self.shifts)
        left = [pair for pair in self._pairs if pair.name not in finished]
        tags = {"CDENGINE_VERSION": __version__}
        colours = label_colours(self.classes, self._coding)
        writer = LabelWriter(
            self._folder.path, left, self.classes, tags, overwrite=True, colours=colours, everywhere=True
        )
        totals = Totals(self.classes, self._names)
        contradictions = self._labels.contradictions
        for pair in self._pairs:
            row = finished.get(pair.name)
            if row is not None:
                totals.add(row)
                if row.contradicting and pair.before_classes is not None:
                    contradictions.found[pair.before_classes] = row.contradicting
        with self._reporter.stage("pseudo-label", len(self._pairs), "pairs", len(done)) as stage:
            for pair in left:
                self._reporter.check()
                row = self._label(pair, writer)
                self._folder.add(row)
                totals.add(row)
                stage.advance()
        if contradictions.found:
            self._reporter.warning(f"{contradictions.warning()}, and nobody votes on them")
        return totals

    def _estimated(self) -> list[ClassShift]:
        """How common the classes are, by each member's view of some pairs.

        Raises:
            DatasetError: no pair has class labels to compare with.
        """
        step = max(1, len(self._pairs) / SAMPLE)
        chosen = [self._pairs[int(at * step)] for at in range(min(SAMPLE, len(self._pairs)))]
        counts = [LabelShift(len(self.classes)) for _ in self._members]
        for pair in self._reporter.each(chosen, "label shift", len(chosen), "pairs"):
            _, given, unchanged = self._truth(pair)
            for member, count in zip(self._members, counts, strict=True):
                self._count(count, self._output(member, pair, unchanged.shape), given, unchanged)
                self._reporter.check()
        if not counts[0].known:
            raise DatasetError(
                f"{self._options.data}: --label-shift compares labelled with unchanged pixels, and {len(chosen)} pairs "
                "of the split have too few of one kind: leave it out"
            )
        if len(chosen) < FEW:
            self._reporter.warning(f"--label-shift: {len(chosen)} pairs tell only roughly how common the classes are")
        return [ClassShift.of(name, self.classes, count) for name, count in zip(self._names, counts, strict=True)]

    def given(self, pair: PairFiles) -> tuple[Array, Array]:
        """uint8 (H, W) of both dates: real labels as codes, 0 where there is none."""
        if pair.before_classes is None or pair.after_classes is None or self._coding is None:
            return (np.zeros(self._labels.read(pair).change.shape, np.uint8),) * 2
        before, after = (read_classes(path, self._coding) for path in (pair.before_classes, pair.after_classes))
        first, second = (np.where(ids == IGNORE, ABSTAINED, ids + 1).astype(np.uint8) for ids in (before, after))
        return first, second

    def _label(self, pair: PairFiles, writer: LabelWriter) -> Row:
        change, given, unchanged = self._truth(pair)
        valid, votes = np.ones(change.shape, bool), []
        for number in range(len(self._members)):
            own, seen, grid = self._asked(number, pair, unchanged)
            votes.append(own)
            valid &= seen
            self._reporter.check()
        unchanged &= valid
        votes = [np.where(unchanged, own, ABSTAINED).astype(np.uint8) for own in votes]
        found = majority(votes, len(self.classes))
        first, second = (np.where(real == ABSTAINED, found, real).astype(np.uint8) for real in given)
        everywhere = replace(Predicted(change == 1, valid), codes=(first, second))
        writer.write(pair.name, everywhere, grid, self._reporter)
        contradicting = 0 if pair.before_classes is None else self._labels.contradictions.found.get(pair.before_classes)
        return Row(
            name=pair.name,
            files=state(pair),
            pixels=int(valid.sum()),
            given=int(np.count_nonzero(valid & (given[0] != ABSTAINED))),
            unchanged=int(unchanged.sum()),
            contradicting=contradicting or 0,
            classes=np.bincount(found[unchanged], minlength=len(self.classes) + 1)[1:].tolist(),
            agreed=agreement(votes, unchanged),
            abstained=[int(np.count_nonzero(unchanged & (one == ABSTAINED))) for one in votes],
            followed=[int(np.count_nonzero(unchanged & (one == found) & (found != ABSTAINED))) for one in votes],
        )

    @staticmethod
    def _count(count: LabelShift, output: Output, given: Sequence[Array], unchanged: Array) -> None:
        for own, real in zip(np.split(output.probability[1:], 2), given, strict=True):
            count.add(own, np.where(output.valid, real, ABSTAINED), unchanged & output.valid)

    def _truth(self, pair: PairFiles) -> tuple[Array, tuple[Array, Array], Array]:
        """The change label, the labels of both dates as codes, and bool (H, W): what is voted on."""
        change, given = self._labels.read(pair).change, self.given(pair)
        # what has a class already, in a set whose labels cover unchanged ground too, needs no vote
        return change, given, (change == 0) & (given[0] == ABSTAINED) & (given[1] == ABSTAINED)

    def _output(self, member: ModelRun, pair: PairFiles, shape: tuple[int, ...]) -> Output:
        output = member.run(pair)
        self._same_size(pair.before, output.grid, shape)
        return output

    @staticmethod
    def _same_size(path: Path, grid: Grid, shape: tuple[int, ...]) -> None:
        if (grid.height, grid.width) != shape:
            raise DatasetError(
                f"{path} is {grid.width} x {grid.height} pixels but its label is {shape[1]} x {shape[0]}; bring "
                "them to one grid, or leave the pair out by a list file"
            )

    def _asked(self, number: int, pair: PairFiles, unchanged: Array) -> tuple[Array, Array, Grid]:
        """A member's vote, and where it saw data; its probabilities, many times as large, are not kept."""
        output = self._output(self._members[number], pair, unchanged.shape)
        if self.shifts:
            for own in np.split(output.probability[1:], 2):
                own[...] = corrected(own, self.shifts[number].factors)
        return vote(output.probability, unchanged, self._options.min_confidence), output.valid, output.grid
