"""Measures a model, or predictions made elsewhere, on a data set of pairs with labels."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cdengine import __version__
from cdengine.assess import boundary, curves, objects
from cdengine.assess.binary import IGNORED
from cdengine.assess.evaluation import EvaluationPage, write_evaluation
from cdengine.data.codings import ClassCoding
from cdengine.data.layouts import PairFiles, find_pairs
from cdengine.data.manifest import label_format
from cdengine.errors import DatasetError, InputError, ModelTaskError, UsageError
from cdengine.events import Reporter, Stage
from cdengine.inference.evaluatefiles import LabelWriter, PredictionFolder
from cdengine.inference.evaluategallery import Gallery, Shown
from cdengine.inference.evaluatemodel import CROP, ModelRun, Output, distinct, model_paths
from cdengine.inference.evaluateoptions import EvaluateOptions
from cdengine.inference.evaluateresult import EvaluationResult, plain_figures, result_of, write_csv, write_json
from cdengine.inference.evaluatescores import Predicted, RunScores
from cdengine.inference.evaluatetruth import Labels, Truth, colours_of, label_colours
from cdengine.inference.modelnames import labels, refuse_twins
from cdengine.raster.publish import Publication

Array = np.ndarray[Any, np.dtype[Any]]
PathLike = str | os.PathLike[str]
TOLD = ("precision", "recall", "f1", "iou", "ap", "miou", "sek", "fscd", "score")  # as metric events
PER_PAIR = "found by the method for each pair"
FACTS = re.compile(r"model_sha256|architecture|device|precision|members|member_\d+(_model_sha256)?")  # of a detector
EMPTY = "0/0 is 1 where neither labels nor prediction hold a change, else 0; average precision without change is 0"


def evaluate(
    data: PathLike,
    layout: str = "pairs",
    split: str = "test",
    model: PathLike | Sequence[PathLike] = (),
    predictions: PathLike | None = None,
    *,
    reporter: Reporter | None = None,
    **options: Any,  # noqa: ANN401 (checked by EvaluateOptions)
) -> EvaluationResult:
    """Measures change maps against labels.

    Args:
        data: folder of the data set, or its index file.
        layout: "pairs", "second", "senseearth", "hiucd", "gold" or "index".
        split: split folder, list file, or "all".
        model: what `detect` takes; several, or a folder of trained runs, give mean and spread.
        predictions: in place of a model: folder of rasters made elsewhere, named like the labels.
        reporter: for progress, log and cancelling.
        **options: fields of `EvaluateOptions`, e.g. output="figures.json", report="errors.html".

    Returns:
        Figures pooled over all pixels and of every image.

    Raises:
        CDEngineError: a subclass names the file or option, and the remedy.
    """
    several = [model] if isinstance(model, (str, os.PathLike)) else model
    plain = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in options.items()}
    plain |= {"layout": layout, "split": split, "model": tuple(os.fspath(item) for item in several)}
    plain |= {"predictions": None if predictions is None else os.fspath(predictions)}
    plain |= {"classes": tuple(plain.get("classes", ()))}
    return run_evaluate(EvaluateOptions.of(os.fspath(data), plain), reporter or Reporter())


def run_evaluate(options: EvaluateOptions, reporter: Reporter) -> EvaluationResult:
    """`evaluate` with its options checked."""
    began = time.monotonic()
    pairs = find_pairs(options.data, options.layout, options.split)
    search = find_pairs(options.data, options.layout, options.threshold_from) if options.threshold_from else []
    _check_pairs(pairs, search, options)
    named = model_paths(options.model)
    if options.ensemble and len(named) < 2:
        raise UsageError("--ensemble takes the mean of several models: give two or more with --model")
    if options.ensemble:
        refuse_twins(named)
    models = [tuple(named)] if options.ensemble else [(name,) for name in distinct(named)]
    if len(models) > 1 and options.save_predictions is not None:
        raise UsageError("--save-predictions takes one model: their label images have the same names")
    files = [path for pair in pairs for path in vars(pair).values() if isinstance(path, Path)]
    inputs = [*files, *(Path(name) for group in models for name in group if os.path.isfile(name))]
    token = f"evaluate-{os.getpid()}"
    with Publication(
        options.targets(), inputs=inputs, overwrite=options.overwrite, job=token, reporter=reporter, main="metrics"
    ) as publication:
        job = _Job(options, pairs, search, reporter)
        runs = job.run(models)
        result = result_of(runs, job.labels.classes, job.protocol(runs, began))
        outputs = job.write(publication, runs, result)
    return replace(result, outputs=outputs)


def _check_pairs(pairs: Sequence[PairFiles], search: Sequence[PairFiles], options: EvaluateOptions) -> None:
    if not any(pair.labelled for pair in pairs) and options.save_predictions is None:
        raise DatasetError(
            f"{options.data}: split {options.split!r} has no labels to measure against; choose another split, "
            "or let a model label it with --save-predictions"
        )
    if search and not any(pair.labelled for pair in search):
        raise DatasetError(f"{options.data}: split {options.threshold_from!r} has no labels to find a threshold on")
    shared = {pair.before for pair in pairs} & {pair.before for pair in search}
    if shared:
        raise UsageError(
            f"--threshold-from {options.threshold_from}: has pairs of split {options.split} ({min(shared)}); "
            "a threshold chosen on what is scored flatters the model"
        )


class _Job:
    """The steps of one evaluation."""

    def __init__(
        self, options: EvaluateOptions, pairs: list[PairFiles], search: list[PairFiles], reporter: Reporter
    ) -> None:
        self.options, self.reporter = options, reporter
        self.pairs, self.search = pairs, [pair for pair in search if pair.labelled]
        self.labelled = [pair for pair in pairs if pair.labelled]
        form = label_format(options.data, options.layout, classes=options.classes, coding=options.change_coding())
        self.labels = Labels([*pairs, *search], form, reporter)
        self.gallery = Gallery()
        self.wanted = pairs if options.save_predictions is not None else self.labelled

    def run(self, models: Sequence[Sequence[str]]) -> list[RunScores]:
        """Every model, or group of models as one, in turn; or the predictions."""
        total = (len(self.wanted) + len(self.search)) * max(1, len(models))
        if self.options.predictions is not None:
            with self.reporter.stage("evaluate", total, "pairs") as stage:
                return [self._told(self._measure_files(Path(self.options.predictions), stage), 1)]
        runs = []
        names = labels([name for group in models for name in group]) if len(models) > 1 else []
        # the stage is opened for each model, after its loading, which is a stage of its own
        for number, group in enumerate(models, 1):
            model = ModelRun(group, self.wanted[0], self.options, self.reporter)
            label = names[number - 1] if names else model.label
            with self.reporter.stage("evaluate", total, "pairs", total // len(models) * (number - 1)) as stage:
                runs.append(self._told(self._measure_model(model, label, stage, gallery=number == 1), number))
        return runs

    def _told(self, run: RunScores, number: int) -> RunScores:
        pooled = run.pooled()
        run.facts |= _best(run, self.options.split)
        for name in TOLD:
            if name in pooled:
                self.reporter.metric(name, pooled[name], step=number)
        if run.unpredicted:
            self.reporter.warning(
                f"{run.name}: {run.unpredicted:,} labelled pixels have no prediction and are not scored"
            )
        for line in self.labels.contradictions.warnings() if number == 1 else ():
            self.reporter.warning(line)
        return run

    def _measure_model(self, model: ModelRun, label: str, stage: Stage, *, gallery: bool) -> RunScores:
        detector, options = model.detector, self.options
        order = self._order(model)
        scores = RunScores(label, len(self.labels.classes))
        writer = None
        if options.save_predictions is not None:
            names = self._classes(model)
            tags = {"CDENGINE_VERSION": __version__, "CDENGINE_MODEL": model.label}
            colours = label_colours(names, self.labels.format.classes if names else None)
            folder = Path(options.save_predictions)
            writer = LabelWriter(folder, self.pairs, names, tags, options.overwrite, colours=colours)
        threshold, source = self._threshold(model, stage)
        for pair in self.wanted:
            output = model.run(pair)
            predicted = _predicted(output, output.threshold if threshold is None else threshold, order)
            if pair.labelled:
                self._score(scores, pair, predicted, gallery)
            if writer is not None:
                writer.write(pair.name, predicted, output.grid, model.quiet)
            stage.advance()
        scores.facts = {"threshold": float(detector.threshold) if threshold is None else threshold}
        scores.facts |= {"threshold_source": source, **_facts(model)}
        if options.protocol == "whole":
            scores.facts |= {"tile": model.tile, "overlap": model.overlap}
        return scores

    def _threshold(self, model: ModelRun, stage: Stage) -> tuple[float | None, str]:
        """The threshold of a run (None: the detector's own for each pair), and where it comes from."""
        if self.options.threshold != "auto":
            return float(self.options.threshold), "given"
        if not self.search:
            return None, PER_PAIR if model.per_pair else "model card"
        found = curves.Curves()
        for pair in self.search:
            output = model.run(pair)
            truth = self.labels.read(pair)
            _check_size(pair, output.valid, truth)
            found.add(output.probability[0], truth.change, output.valid)
            stage.advance()
        best = found.best_threshold()
        text = f"best F1 ({best.confusion.f1:.4f}) on split {self.options.threshold_from}"
        self.reporter.info(f"threshold {best.threshold:.4f}: {text}")
        return best.threshold, text

    def _measure_files(self, folder: Path, stage: Stage) -> RunScores:
        threshold = 0.5 if self.options.threshold == "auto" else float(self.options.threshold)
        coding: ClassCoding | None = self.labels.format.classes if self.labels.classes else None
        source = PredictionFolder(folder, self.labelled, coding, threshold, self.reporter)
        scores = RunScores(str(folder), len(self.labels.classes) if source.semantic else 0)
        for pair in self.labelled:
            predicted = source.read(pair)
            self._score(scores, pair, predicted, gallery=True)
            if predicted.probability is not None:
                given = "0.5, as none was given" if self.options.threshold == "auto" else "given"
                scores.facts = {"threshold": threshold, "threshold_source": given}
            stage.advance()
        return scores

    def _score(self, scores: RunScores, pair: PairFiles, predicted: Predicted, gallery: bool) -> None:
        truth = self.labels.read(pair)
        _check_size(pair, predicted.change, truth)
        row = scores.add(pair.name, predicted, truth)
        if gallery and self.options.report is not None:
            self.gallery.offer(Shown(pair, predicted, truth, row))

    def _classes(self, model: ModelRun) -> tuple[str, ...]:
        """The classes of a semantic model in the order of the data set; () for a model of change alone.

        Raises:
            ModelTaskError: the model knows other classes than the labels.
        """
        ours, theirs, form = model.detector.classes, self.labels.classes, self.labels.format.classes
        if not theirs and form is not None and sorted(form.names) == sorted(ours):
            theirs = form.names  # an unlabelled split: predictions are coded as the layout codes labels
        if not ours or not theirs:
            return ours
        if sorted(ours) != sorted(theirs):
            raise ModelTaskError(
                f"{model.label} tells {', '.join(ours)}; the labels are {', '.join(theirs)}: "
                "name the labels' classes with --classes, or take a model of the same classes"
            )
        return theirs

    def _order(self, model: ModelRun) -> Array | None:
        """The data set's id of each of the model's classes; None for a model of change alone."""
        names = self._classes(model)
        return np.array([names.index(name) for name in model.detector.classes], np.uint8) if names else None

    def protocol(self, runs: Sequence[RunScores], began: float) -> dict[str, Any]:
        """How it was measured, in words and numbers."""
        options = self.options
        found: dict[str, Any] = {"data": options.data, "layout": options.layout, "split": options.split}
        found |= {"pairs": len(self.pairs), "labelled_pairs": len(self.labelled), "protocol": options.protocol}
        if options.predictions is not None:
            found |= {"protocol": "predictions as they are", "predictions": options.predictions}
        elif options.protocol == "whole":
            found["tiles"] = "blended over each whole image, as detect does"
        else:
            found["tiles"] = f"{CROP} px without overlap, each by itself; objects and boundaries on the joined map"
        if len(runs) == 1:
            found |= runs[0].facts
        else:
            found["models"] = [run.name for run in runs]
            found["models_sha256"] = [str(run.facts.get("model_sha256", "")) for run in runs]
        if options.predictions is None:
            found["tta"] = options.tta
        found |= {"unpredicted_px": sum(run.unpredicted for run in runs), "ignored_label": IGNORED}
        found |= {"object_iou": objects.IOU, "object_connectivity": 8, "boundary_tolerance_px": boundary.TOLERANCE}
        found["empty"] = EMPTY
        if any(run.curves.counts.any() for run in runs):
            found["ap"] = f"sum over {curves.BINS} equal bins of probability, ties together"
            found["ece_bins"] = curves.CALIBRATION_BINS
        if len(runs) > 1:
            found["spread"] = f"sample standard deviation over {len(runs)} runs; pooled and images are means over them"
        if self.labels.classes:
            found["contradicting_label_px"] = self.labels.contradictions.pixels
            found["disagreeing_label_px"] = sum(self.labels.contradictions.disagreeing.values())
            found["score"] = "0.3 mIoU + 0.7 SeK; matrix of both dates stacked, rows labels, columns prediction"
        return found | {"version": __version__, "seconds": round(time.monotonic() - began, 3)}

    def write(self, publication: Publication, runs: Sequence[RunScores], result: EvaluationResult) -> dict[str, str]:
        """The files that were asked for."""
        for name in publication.targets:
            path = publication.temporary(name)
            if name == "metrics":
                write_json(path, result)
            elif name == "csv":
                write_csv(path, runs)
            else:
                write_evaluation(path, self._page(runs, result))
        outputs = {name: str(path) for name, path in publication.commit().items()} if publication.targets else {}
        if self.options.save_predictions is not None:
            outputs["predictions"] = self.options.save_predictions
        return outputs

    def _page(self, runs: Sequence[RunScores], result: EvaluationResult) -> EvaluationPage:
        first, classes = runs[0], self.labels.classes
        rows = {f"{run.name}, all pixels": plain_figures(run.pooled()) for run in runs}
        if result.spread:
            rows |= {"mean of runs": plain_figures(result.pooled), "spread of runs": plain_figures(result.spread)}
        rows["mean of images"] = result.mean
        colours = colours_of(classes, self.labels.format.classes)
        counts = first.confusion
        lead = (
            f"Of {counts.tp + counts.fn:,} changed pixels in {len(self.labelled)} pairs {first.name} finds "
            f"{counts.recall:.1%}; {counts.precision:.1%} of what it reports has changed."
        )
        threshold = first.facts.get("threshold")
        notes = (
            [f"{first.unpredicted:,} labelled pixels without a prediction are not scored"] if first.unpredicted else []
        )
        return EvaluationPage(
            title=f"Evaluation on {Path(self.options.data).resolve().name}, split {self.options.split}",
            lead=lead,
            rows=rows,
            images=first.images,
            pictures=self.gallery.pictures(colours, self.reporter),
            classes=list(zip(classes, colours, strict=True)) if first.semantic is not None else [],
            transitions={k: v for k, v in result.details.get("transitions", {}).items() if k != "classes"},
            curves=first.curves if "ap" in result.pooled else None,
            threshold=float(threshold) if threshold is not None else None,
            protocol=result.protocol,
            notes=notes,
            footer=f"cdengine {__version__} · {time.strftime('%Y-%m-%d %H:%M')}",
        )


def _check_size(pair: PairFiles, predicted: Array, truth: Truth) -> None:
    if predicted.shape != truth.change.shape:
        label = pair.change or pair.before_classes
        (rows, cols), (height, width) = truth.change.shape, predicted.shape
        raise InputError(
            f"{label}: is {cols} x {rows} pixels, the prediction {width} x {height}; bring them to one grid"
        )


def _predicted(output: Output, threshold: float, order: Array | None) -> Predicted:
    """Change and coded classes from probabilities; compared in float32, as `detect` does."""
    probability = output.probability[0]
    change = (probability >= np.float32(threshold)) & output.valid
    if order is None:
        return Predicted(change, output.valid, probability)
    dates = np.split(output.probability[1:], 2)
    before, after = (np.where(change, order[date.argmax(axis=0)] + 1, 0).astype(np.uint8) for date in dates)
    return Predicted(change, output.valid, probability, (before, after))


def _facts(model: ModelRun) -> dict[str, Any]:
    """Which model, by its name, file and sum, those of every member of an ensemble, and on what it ran."""
    found: dict[str, Any] = {"model": model.label}
    found |= {"model_files": [str(path) for path in model.files]} if model.files else {}
    return found | {key: value for key, value in model.detector.describe().items() if FACTS.fullmatch(key)}


def _best(scores: RunScores, split: str) -> dict[str, float]:
    """The threshold that would have been best; not told of test data, on which nobody may choose one."""
    if Path(split).stem.startswith("test") or not scores.curves.counts.any():
        return {}
    best = scores.curves.best_threshold()
    return {"best_threshold_on_this_split": best.threshold, "best_f1_on_this_split": best.confusion.f1}
