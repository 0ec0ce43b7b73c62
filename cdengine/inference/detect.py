"""The main job: two rasters in, change layers out. Everything else in this room serves this one function."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdengine.errors import CDEngineError, ModelTaskError, NothingToEstimateError, OutputError, ResourceError
from cdengine.events import Reporter
from cdengine.inference import job as plan
from cdengine.inference.allocator import release_freed
from cdengine.inference.assemble import Assembly, Totals
from cdengine.inference.augment import Augmented
from cdengine.inference.choose import Choice, build, default_bands, resolve, wants_default
from cdengine.inference.detector import Detector, channels
from cdengine.inference.earlier import finished, read_result
from cdengine.inference.journal import Journal, journal_folder
from cdengine.inference.layers import LayerFormat
from cdengine.inference.memory import require_memory
from cdengine.inference.options import DEFAULT_TILE, DetectOptions
from cdengine.inference.result import DetectionResult
from cdengine.inference.run import Runner
from cdengine.inference.show import Shown, write_page, write_picture
from cdengine.inference.source import MaskedSource
from cdengine.inference.stats import figures
from cdengine.inference.tiles import Tiling
from cdengine.inference.timebudget import TimeBudgeted, reserve_s
from cdengine.raster.checksum import Checksums, check_sidecars
from cdengine.raster.pair import Pair
from cdengine.raster.publish import Publication
from cdengine.raster.register import estimate_shift
from cdengine.raster.source import gdal_env, members
from cdengine.vector.aoi import Aoi, load_aoi
from cdengine.vector.stream import LargePolygon, PolygonStream

LEAST_SHARE = 0.05  # of their uncompressed size: nodata and even ground compress that well, textured ground does not
SEMANTIC_OUTPUTS = ("before_classes", "after_classes", "transitions")


def detect(
    before: str | os.PathLike[str],
    after: str | os.PathLike[str],
    output: str | os.PathLike[str],
    model: str = "default",
    *,
    reporter: Reporter | None = None,
    **options: Any,  # noqa: ANN401 (checked by DetectOptions)
) -> DetectionResult:
    """Finds what changed between two georeferenced images.

    Args:
        before: image of the first date, anything GDAL opens.
        after: image of the second date; warped onto the first one's grid while it is read.
        output: change raster to write: uint8, 0 unchanged, 1 changed, 255 nodata.
        model: a model file, a shipped model's name, or "cva", "irmad", "pca-kmeans", "sfa", "log-ratio".
        reporter: for progress, log and cancelling.
        **options: fields of `DetectOptions`, e.g. probability="p.tif", polygons="changes.gpkg", min_area=50.

    Returns:
        The files written and figures such as `changed_area_m2`.

    Raises:
        CDEngineError: a subclass names the file, band or option, and the remedy.
    """
    paths = [os.fspath(path) for path in (before, after, output)]
    plain = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in options.items()}
    return run_detect(paths[0], paths[1], paths[2], DetectOptions.of(model, plain), reporter or Reporter())


def run_detect(before: str, after: str, output: str, options: DetectOptions, reporter: Reporter) -> DetectionResult:
    """`detect` with its options checked."""
    began = time.monotonic()
    targets = plan.targets(output, options)
    with gdal_env(), ExitStack() as stack:
        pair = stack.enter_context(_open(before, after, options, reporter))
        if options.polygons is None and (options.min_area or options.simplify or options.fill_holes):
            reporter.warning(
                "--min-area, --simplify and --fill-holes concern polygons only, and none were asked for: "
                "give --polygons too; the change raster keeps every pixel"
            )
        choice = resolve(options, pair.before.count if pair.before.count == pair.after.count else 0, reporter)
        facts = plan.fingerprint_job(before, after, choice, options)
        token = plan.token(facts)
        if options.resume and finished(targets, token):
            reporter.info(f"{output} is finished already; nothing to do")
            return read_result(targets, choice, reporter)
        inputs = [*members(before), *members(after), *choice.files]
        inputs += [Path(options.aoi.split("|")[0])] if options.aoi else []
        publication = stack.enter_context(
            Publication(targets, inputs=inputs, overwrite=options.overwrite, job=token, reporter=reporter)
        )
        check_sidecars([*members(before), *members(after)], reporter)
        sums = Checksums({"before": members(before), "after": members(after)}, reporter)
        stack.callback(sums.close)
        journal = Journal(journal_folder(targets["change"]), facts, resume=options.resume)
        _tell_of_resume(journal, options.resume, reporter)
        stack.enter_context(reporter.cancellation.cleanup(lambda: _drop(journal, options.resume)))
        if options.resume:
            stack.enter_context(reporter.cancellation.resumable("--resume"))  # what is finished is kept
        try:
            result = _Job(before, after, pair, choice, options, token, sums, publication, journal, reporter).run(began)
        except BaseException as error:
            _after_failure(error, journal, options.resume, reporter)
            raise
        journal.remove()
        return result


def _open(before: str, after: str, options: DetectOptions, reporter: Reporter) -> Pair:
    """The pair with the bands asked for; red, green and blue alone where the default RGB model is to see them."""
    arguments: dict[str, Any] = {
        "bands_before": options.bands_before,
        "bands_after": options.bands_after,
        "align": options.align,
        "grid": options.grid,
        "assume_crs": options.assume_crs,
        "allow_coarse": options.allow_coarse,
        "allow_remote": options.allow_remote,
        "fill_damaged": options.on_corrupt == "nodata",
        "reporter": reporter,
    }
    if wants_default(options):
        # Looked at in silence first: what there is to tell is told once, when the pair is opened for good.
        silent = Reporter(cancellation=reporter.cancellation)
        with Pair.open(before, after, **{**arguments, "reporter": silent}) as seen:
            arguments |= default_bands(seen.before, seen.after)
    return Pair.open(before, after, **arguments)


@dataclass
class _Job:
    """The steps of one detection."""

    before: str
    after: str
    pair: Pair
    choice: Choice
    options: DetectOptions
    token: str
    sums: Checksums
    publication: Publication
    journal: Journal
    reporter: Reporter

    def run(self, began: float) -> DetectionResult:
        """Align, prepare, compute, assemble, show, publish."""
        options, reporter = self.options, self.reporter
        pair = self._registered()
        aoi = self._aoi(pair)
        detector = build(self.choice, options, reporter)
        self._check_task(detector)
        workers = options.workers or min(4, os.cpu_count() or 1)
        self._check_memory(detector, pair, workers)
        self.journal.agree(**_arithmetic(detector))
        self._prepare(detector, pair, aoi, workers)
        threshold = detector.threshold if options.threshold == "auto" else options.threshold
        layers = self._layers(detector, threshold)
        tiling = self._tiling(detector, pair)
        batch = self._batch(detector)
        self.publication.require_space(self._least_space(pair, layers))
        budget = self._time_budget(detector, pair, began)
        detector = budget or detector
        runner = Runner(detector, pair, tiling, layers, batch=batch, workers=workers, aoi=aoi, budget=budget)
        runner.run(self.journal, reporter)
        if budget is not None:
            budget.tell()
        pair.check_unchanged()
        damaged = self._damaged(pair)
        described = detector.describe()
        assembly = self._assembly(pair, tiling, layers, detector.classes, threshold, described)
        del detector, budget, runner  # a network is not needed any more, and the outputs have need of its memory
        release_freed()
        totals, polygons = self._assemble(assembly)
        if totals.valid == 0:
            reporter.warning("no pixel could be compared: nowhere do both dates have data (in the area of interest)")
        largest = polygons.largest if polygons is not None else ()
        stats: dict[str, Any] = {"threshold": float(threshold)}
        stats |= figures(totals, assembly.classes, pair.overlap)
        if polygons is not None:
            stats["polygons"] = polygons.count
        stats |= damaged
        rows, cols = pair.alignment.shift
        stats |= {"shift_rows_px": rows, "shift_cols_px": cols} if options.align == "register" else {}
        stats |= {name: value for name, value in described.items() if isinstance(value, (int, float))}
        stats["seconds"] = round(time.monotonic() - began, 3)
        self._show(assembly, pair, totals, largest, stats, described)
        published = self.publication.commit()
        outputs = {name: str(path) for name, path in published.items()}
        return DetectionResult(outputs, stats, self.choice.label)

    def _time_budget(self, detector: Detector, pair: Pair, began: float) -> TimeBudgeted | None:
        """The detector within the time it may take, where that was said."""
        seconds = self.options.time_budget
        if seconds is None:
            return None
        assert isinstance(detector, Augmented)  # the options refuse a budget without augmentation
        if self.options.resume and self.journal.interrupted:
            self.reporter.info(
                "--time-budget counts anew from here; which tiles have test-time augmentation, and with it the pixels, "
                "are not those of an uninterrupted run"
            )
        reserve = reserve_s(pair.grid.window.pixels, self.publication.targets, seconds, cog=self.options.cog)
        earlier = self.journal.settings
        return TimeBudgeted(detector, seconds, self.reporter, began=began, reserve=reserve, earlier=earlier)

    def _registered(self) -> Pair:
        if self.options.align != "register":
            return self.pair
        try:
            shift = estimate_shift(self.pair, self.reporter)
        except NothingToEstimateError as error:
            self.reporter.warning(f"residual shift not removed: {error}")
            return self.pair
        self.reporter.info(shift.text)
        return self.pair.with_shift((shift.rows, shift.cols))

    def _aoi(self, pair: Pair) -> Aoi | None:
        if self.options.aoi is None:
            return None
        aoi = load_aoi(self.options.aoi)
        for note in aoi.notes:
            self.reporter.warning(note)
        pair.limit(aoi.on(pair.grid, pair.window))
        return aoi

    def _check_task(self, detector: Detector) -> None:
        asked = [name for name in SEMANTIC_OUTPUTS if getattr(self.options, name) is not None]
        if asked and not detector.classes:
            flags = ", ".join("--" + name.replace("_", "-") for name in asked)
            raise ModelTaskError(f"{self.choice.label} gives no classes: leave out {flags}, or name a semantic model")

    def _check_memory(self, detector: Detector, pair: Pair, workers: int) -> None:
        """Refuses now what the system would end later, without a word."""
        threads = getattr(detector, "concurrency", workers)
        tiling, layers, batch = self._tiling(detector, pair), self._layers(detector, 0.5), self._batch(detector)
        require_memory(pair, tiling, layers, channels(detector), batch * (threads + 1))

    def _least_space(self, pair: Pair, layers: LayerFormat) -> int:
        """Bytes that parts and outputs take at the very least, compression taken at its best; for all pixels."""
        stored = sum(layer.itemsize for layer in layers.empty(1, 1).values())
        written = stored if "probability" in self.publication.targets else 0
        return int(LEAST_SHARE * (stored + written) * pair.window.pixels)

    def _batch(self, detector: Detector) -> int:
        size = self.options.batch_size
        return int(getattr(detector, "batch", 1)) if size == "auto" else size

    def _damaged(self, pair: Pair) -> dict[str, int]:
        """Tells of blocks that were filled with nodata because they could not be decoded."""
        if self.options.on_corrupt == "error":
            return {}
        for name, blocks in pair.damaged.items():
            first = blocks[0]
            self.reporter.warning(
                f"{name}: {len(blocks)} block(s) could not be decoded and became nodata, the first at rows {first.row}-"
                f"{first.row_stop - 1}, columns {first.col}-{first.col_stop - 1}; get a fresh copy of the file"
            )
        return {"corrupt_blocks": sum(map(len, pair.damaged.values()))}

    def _prepare(self, detector: Detector, pair: Pair, aoi: Aoi | None, workers: int) -> None:
        """Statistics of the pair, taken from the journal when an interrupted run has gathered them already."""
        source = MaskedSource(pair, aoi, workers)
        state = self.journal.stored("prepared")
        if state is not None and hasattr(detector, "restore"):
            detector.restore(state)
            return
        detector.prepare(source, self.reporter)
        if hasattr(detector, "state"):
            self.journal.store("prepared", detector.state())

    def _layers(self, detector: Detector, threshold: float) -> LayerFormat:
        # Without a probability raster the stored values serve the polygons' means and the pictures: 1/200 is enough.
        dtype = self.options.probability_dtype if self.options.probability else "uint8"
        return LayerFormat(len(detector.classes), threshold, dtype)

    def _tiling(self, detector: Detector, pair: Pair) -> Tiling:
        tile = self.options.tile or int(getattr(detector, "tile", DEFAULT_TILE))
        overlap = self.options.overlap
        if overlap is None:
            overlap = 2 * detector.margin
        return Tiling.of(pair.window.height, pair.window.width, tile, overlap, detector.margin)

    def _assembly(
        self,
        pair: Pair,
        tiling: Tiling,
        layers: LayerFormat,
        classes: tuple[str, ...],
        threshold: float,
        described: dict[str, str | float],
    ) -> Assembly:
        rasters = {name: self.publication.temporary(name) for name in plan.RASTERS if name in self.publication.targets}
        needs_picture = {"quicklook", "report"} & self.publication.targets.keys()
        if needs_picture and "probability" not in rasters:
            rasters["probability"] = self.journal.folder / "probability.tif"
        tags = plan.tags(pair, self.choice, self.options, threshold, described, self.token)
        tags |= {f"CDENGINE_{date.upper()}_SHA256": value for date, value in self.sums.result().items()}
        changed_classes = self.options.class_extent == "changed"
        return Assembly(
            pair.grid, pair.window, tiling, layers, classes, rasters, tags, self.options.cog, changed_classes
        )

    def _assemble(self, assembly: Assembly) -> tuple[Totals, PolygonStream | None]:
        if "polygons" not in self.publication.targets:
            return assembly.run(self.journal, None, self.reporter), None
        stream = PolygonStream(
            self.publication.temporary("polygons"),
            assembly.grid,
            columns=(assembly.window.col, assembly.window.col_stop),
            classes=assembly.classes,
            min_area=self.options.min_area,
            simplify=self.options.simplify,
            fill_holes=self.options.fill_holes,
            reporter=self.reporter,
        )
        with stream:
            totals = assembly.run(self.journal, stream, self.reporter)
        return totals, stream

    def _drawn_polygons(self) -> Path | None:
        """The vector file, if its outlines differ from the raster's and it can be read back by GDAL."""
        shaped = self.options.min_area or self.options.simplify or self.options.fill_holes
        target = self.publication.targets.get("polygons")
        if target is None or not shaped or target.suffix.lower() == ".parquet":
            return None
        return self.publication.temporary("polygons")

    def _show(
        self,
        assembly: Assembly,
        pair: Pair,
        totals: Totals,
        largest: tuple[LargePolygon, ...],
        stats: dict[str, Any],
        described: dict[str, str | float],
    ) -> None:
        targets = self.publication.targets
        if not {"quicklook", "report"} & targets.keys():
            return
        shown = Shown(
            self.before,
            self.after,
            assembly.rasters["change"],
            assembly.rasters["probability"],
            self._drawn_polygons(),
            largest,
            totals,
            stats,
            described,
            targets,
            plan.chosen(self.options),
            assembly.classes,
        )
        picture = self.publication.temporary("quicklook") if "quicklook" in targets else self.journal.folder / "q.png"
        write_picture(shown, picture, self.reporter)
        if "report" in targets:
            page = self.publication.temporary("report")
            write_page(shown, picture, pair, self.choice.label, page, self.reporter)


def _arithmetic(detector: Detector) -> dict[str, str]:
    """Devices and precisions in force: with others the last bits of the probabilities differ."""
    return {name: str(value) for name, value in detector.describe().items() if name.endswith(("device", "precision"))}


def _tell_of_resume(journal: Journal, resume: bool, reporter: Reporter) -> None:
    """What `--resume` did not find, or what leaving it out throws away."""
    if resume and not journal.interrupted:
        reporter.info("nothing to resume: no interrupted run of this output; starting afresh")
    elif journal.interrupted and not resume:
        reporter.warning("an interrupted run of this output is thrown away (--resume would have gone on with it)")


def _after_failure(error: BaseException, journal: Journal, resume: bool, reporter: Reporter) -> None:
    """Keeps finished bands where a rerun can use them; else leaves nothing behind."""
    worth = isinstance(error, (OutputError, ResourceError)) and any(journal.folder.glob("*.part"))
    if worth and not resume:
        reporter.warning("finished parts are kept; run the same command with --resume to go on from there")
    _drop(journal, resume or worth or not isinstance(error, (CDEngineError, KeyboardInterrupt)))


def _drop(journal: Journal, keep: bool) -> None:
    if not keep:
        journal.remove()
