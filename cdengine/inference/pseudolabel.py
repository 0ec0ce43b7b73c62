"""`pseudo-label`: an ensemble gives classes to what did not change, so that a student learns from whole images."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cdengine import __version__
from cdengine.data.codings import IGNORE
from cdengine.data.labels import read_classes
from cdengine.data.layouts import PairFiles, find_pairs
from cdengine.data.manifest import label_format
from cdengine.errors import DatasetError, ModelTaskError, OutputExistsError, ResumeMismatchError, UsageError
from cdengine.events import Reporter
from cdengine.inference.evaluatefiles import DATES, LabelWriter
from cdengine.inference.evaluatemodel import ModelRun
from cdengine.inference.evaluateoptions import EvaluateOptions
from cdengine.inference.evaluatescores import Predicted
from cdengine.inference.evaluatetruth import Labels
from cdengine.inference.pseudolabelreport import Row, Totals, write_pictures, write_report
from cdengine.inference.votes import ABSTAINED, agreement, majority, vote
from cdengine.raster.diskerrors import writing
from cdengine.raster.lock import OutputLock

Array = np.ndarray[Any, np.dtype[Any]]

JOB, ROWS, FACTS = "job.json", "pairs.jsonl", "pseudo-labels.json"
REPORT, PICTURE = "report.html", "pictures.jpg"
# Options of `evaluate` that mean the same here.
SHARED = (
    *("data", "layout", "split", "model", "classes", "label_coding", "bands_before", "bands_after"),
    *("tta", "tile", "batch_size", "device", "precision", "workers"),
)


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
            "labelled_share": round(totals.labelled_share, 6),
            "unchanged_labelled_share": round(totals.pseudo_share, 6),
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
    folder = _Folder(Path(options.output))
    with folder.claimed(options):
        job = _Job(options, pairs, folder, reporter)
        done = folder.begin(job.facts(), options)
        totals = job.run(done)
        write_pictures(folder.path / PICTURE, pairs, folder.path, job.classes, reporter)
        write_report(folder.path / REPORT, folder.path / PICTURE, totals, job.facts())
        folder.finish({**job.facts(), **totals.figures()})
    return PseudoLabels(folder.path, totals, time.monotonic() - began)


class _Folder:
    """The output folder: pairs are finished one by one, so a run can go on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = OutputLock(Path(os.path.abspath(path)))
        self._options: PseudoLabelOptions | None = None

    def claimed(self, options: PseudoLabelOptions) -> _Folder:
        self._options = options
        return self

    def __enter__(self) -> _Folder:
        assert self._options is not None
        there = self.path.is_dir() and any(self.path.iterdir())
        ours = (self.path / JOB).is_file()
        if there and not ours:
            raise OutputExistsError(f"{self.path} is not a folder of pseudo labels: name another --output")
        if there and not (self._options.resume or self._options.overwrite):
            raise OutputExistsError(f"{self.path} exists already: give --resume to go on, or --overwrite")
        with writing(self.path / JOB):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def begin(self, facts: dict[str, Any], options: PseudoLabelOptions) -> list[Row]:
        """Rows of the pairs that an interrupted run has finished."""
        kept = self.path / JOB
        if options.resume and kept.is_file():
            earlier = json.loads(kept.read_text(encoding="utf-8"))
            differs = next((key for key, value in facts.items() if earlier.get(key) != value), None)
            if differs is not None:
                raise ResumeMismatchError(
                    f"--resume: {self.path} was begun with another {differs}: leave --resume out, with another --output"
                )
            return self._rows()
        for date in DATES:
            shutil.rmtree(self.path / date, ignore_errors=True)
        for name in (ROWS, FACTS, REPORT, PICTURE):
            (self.path / name).unlink(missing_ok=True)
        with writing(kept):
            self.path.mkdir(exist_ok=True)
        self._write(kept, facts)
        return []

    def add(self, row: Row) -> None:
        """A pair is finished; its files are there."""
        with writing(self.path / ROWS), (self.path / ROWS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")

    def finish(self, facts: dict[str, Any]) -> None:
        """The mark of a whole folder."""
        self._write(self.path / FACTS, facts)

    def _rows(self) -> list[Row]:
        found: list[Row] = []
        path = self.path / ROWS
        if path.is_file():
            lines = path.read_bytes().split(b"\n")[:-1]  # the last line may be torn
            found = [Row(**json.loads(line)) for line in lines]
            with writing(path):
                path.write_bytes(b"".join(line + b"\n" for line in lines))
        return found

    def _write(self, path: Path, facts: dict[str, Any]) -> None:
        temporary = path.with_name(f".{path.name}.part")
        with writing(path):
            temporary.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            os.replace(temporary, path)


class _Job:
    """The steps of one run.

    Attributes:
        classes: of models and data set.
    """

    def __init__(
        self, options: PseudoLabelOptions, pairs: list[PairFiles], folder: _Folder, reporter: Reporter
    ) -> None:
        self._options, self._pairs, self._folder, self._reporter = options, pairs, folder, reporter
        evaluation = options.evaluation()
        coding_of_change = evaluation.change_coding()
        form = label_format(options.data, options.layout, classes=options.classes, coding=coding_of_change)
        self._labels = Labels(pairs, form, reporter)
        self._members = [ModelRun((name,), pairs[0], evaluation, reporter) for name in options.model]
        coding = self._labels.format.classes
        first = self._members[0].detector
        for name, member in zip(options.model, self._members, strict=True):
            if not member.detector.classes:
                raise ModelTaskError(f"{name}: gives no classes: pseudo labels need semantic models")
            expected = first.classes if coding is None else coding.names
            if member.detector.classes != expected:
                raise ModelTaskError(
                    f"{name}: tells {', '.join(member.detector.classes)}, but here the classes are "
                    f"{', '.join(expected)}: take a model of the same classes in the same order"
                )
        self.classes: tuple[str, ...] = first.classes
        self._coding = coding

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
                {"name": member.detector.name, "sha256": str(member.detector.describe().get("model_sha256", ""))}
                for member in self._members
            ],
            "label_coding": options.label_coding,
            "bands_before": options.bands_before,
            "bands_after": options.bands_after,
            "tta": options.tta,
            "min_confidence": options.min_confidence,
            "pairs_sha256": hashlib.sha256("\n".join(pair.name for pair in self._pairs).encode()).hexdigest(),
        }

    def run(self, done: Sequence[Row]) -> Totals:
        """Labels what is left."""
        finished = {row.name for row in done}
        left = [pair for pair in self._pairs if pair.name not in finished]
        writer = LabelWriter(self._folder.path, left, self.classes, {"CDENGINE_VERSION": __version__}, overwrite=True)
        totals = Totals(self.classes, tuple(member.detector.name for member in self._members))
        for row in done:
            totals.add(row)
        with self._reporter.stage("pseudo-label", len(self._pairs), "pairs", len(done)) as stage:
            for pair in left:
                self._reporter.check()
                row = self._label(pair, writer)
                self._folder.add(row)
                totals.add(row)
                stage.advance()
        return totals

    def _label(self, pair: PairFiles, writer: LabelWriter) -> Row:
        change = self._labels.read(pair).change
        outputs = []
        for member in self._members:
            outputs.append(member.run(pair))
            self._reporter.check()
        valid = np.logical_and.reduce([output.valid for output in outputs])
        if valid.shape != change.shape:
            raise DatasetError(
                f"{pair.before} is {valid.shape[1]} x {valid.shape[0]} pixels but its label is {change.shape[1]} x "
                f"{change.shape[0]}; bring them to one grid, or leave the pair out by a list file"
            )
        given = [self._given(path, change) for path in (pair.before_classes, pair.after_classes)]
        # what has a class already, in a set whose labels cover unchanged ground too, needs no vote
        unchanged = valid & (change == 0) & (given[0] == ABSTAINED) & (given[1] == ABSTAINED)
        votes = [vote(output.probability, unchanged, self._options.min_confidence) for output in outputs]
        found = majority(votes, len(self.classes))
        first, second = (np.where(real == ABSTAINED, found, real).astype(np.uint8) for real in given)
        everywhere = replace(Predicted(change == 1, valid), codes=(first, second))
        writer.write(pair.name, everywhere, outputs[0].grid, self._reporter)
        return Row(
            name=pair.name,
            pixels=int(valid.sum()),
            given=int(np.count_nonzero(valid & (given[0] != ABSTAINED))),
            unchanged=int(unchanged.sum()),
            classes=np.bincount(found[unchanged], minlength=len(self.classes) + 1)[1:].tolist(),
            agreed=agreement(votes, unchanged),
            abstained=[int(np.count_nonzero(unchanged & (one == ABSTAINED))) for one in votes],
            followed=[int(np.count_nonzero(unchanged & (one == found) & (found != ABSTAINED))) for one in votes],
        )

    def _given(self, path: Path | None, change: Array) -> Array:
        """uint8 (H, W): real labels as codes, 0 where there is none."""
        if path is None or self._coding is None:
            return np.zeros(change.shape, np.uint8)
        channels = self._labels.format.channels
        if channels is not None:
            raise UsageError("layout hiucd labels unchanged ground already: pseudo labels have nothing to add")
        ids = read_classes(path, self._coding)
        return np.where(ids == IGNORE, ABSTAINED, ids + 1).astype(np.uint8)
