"""The folder of a run of `pseudo-label`: which job it is, which pairs are finished, and the mark of a whole one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cdengine.data.codings import LabelFormat
from cdengine.data.layouts import PairFiles
from cdengine.data.pseudo import MANIFEST
from cdengine.errors import CorruptError, OutputExistsError, OutputIsInputError, ResumeMismatchError
from cdengine.events import Reporter
from cdengine.inference.evaluatefiles import DATES
from cdengine.inference.labelshift import ClassShift
from cdengine.inference.pseudolabelrows import Row
from cdengine.raster.lock import OutputLock
from cdengine.raster.source import fingerprint
from cdengine.raster.whole import append_line, failure, write_whole

JOB, ROWS, SHIFTS = "job.json", "pairs.jsonl", "label-shift.json"
REPORT, PICTURE = "report.html", "pictures.jpg"
# Told of a job, and free to differ where it goes on: where the data set lies, and how its pairs were named. The files
# themselves are in `inputs`.
TOLD = ("data", "split")
ANEW = "give --overwrite in place of --resume, or delete the folder"


class Folder:
    """The output folder: pairs are finished one by one, so a run can go on."""

    def __init__(self, path: Path, reporter: Reporter, *, resume: bool, overwrite: bool) -> None:
        self.path, self._reporter = path, reporter
        self._resume, self._overwrite = resume, overwrite
        self._lock = OutputLock(Path(os.path.abspath(path)))

    def __enter__(self) -> Folder:
        if self.path.exists() and not self.path.is_dir():
            raise OutputExistsError(f"{self.path} is a file: name a folder as --output")
        # a run that was killed while it wrote its first file has left that alone
        there = self.path.is_dir() and any(entry.name != f".{JOB}.part" for entry in self.path.iterdir())
        if there and not (self.path / JOB).is_file():
            raise OutputExistsError(f"{self.path} is not a folder of pseudo labels: name another --output")
        if there and not (self._resume or self._overwrite):
            raise OutputExistsError(f"{self.path} exists already: give --resume to go on, or --overwrite")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise failure(self.path, error) from error
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def begin(self, facts: dict[str, Any], pairs: Sequence[PairFiles]) -> list[Row]:
        """Rows of the pairs that an interrupted run has finished; where nothing is finished the folder begins anew.

        Args:
            facts: of the job.
            pairs: of the job.

        Raises:
            ResumeMismatchError: the folder holds another job.
            CorruptError: it does not tell which.
            OutputIsInputError: the data set has files in it.
        """
        self._refuse_inputs(pairs)
        lines = self._lines() if self._resume else []
        if lines or (self._resume and (self.path / MANIFEST).is_file()):
            self._compare(facts)
            return self._finished(lines, facts, {pair.name: state(pair) for pair in pairs})
        if self._resume:
            self._reporter.info(f"nothing to resume: no pair is finished in {self.path}; starting afresh")
        try:
            # First what says that labels are there: without it a folder that loses them half-way is an unfinished one.
            for name in (MANIFEST, ROWS, SHIFTS, REPORT, PICTURE):
                (self.path / name).unlink(missing_ok=True)
            for date in DATES:
                if (self.path / date).exists():
                    shutil.rmtree(self.path / date)
            self.path.mkdir(exist_ok=True)
        except OSError as error:
            raise failure(self.path, error) from error
        self.write(JOB, _json(facts))
        return []

    def add(self, row: Row) -> None:
        """A pair is finished; its files are there."""
        append_line(self.path / ROWS, json.dumps(asdict(row), ensure_ascii=False))

    def shifts(self, classes: Sequence[str], members: int) -> list[ClassShift]:
        """What `keep` wrote; empty where it did not.

        Raises:
            CorruptError: that is damaged.
        """
        path = self.path / SHIFTS
        if not path.is_file():
            return []
        try:
            found = [ClassShift.read(row, classes) for row in json.loads(path.read_bytes())]
            if len(found) != members:
                raise ValueError(f"{len(found)} models")
        except (ValueError, TypeError, AttributeError) as error:
            raise CorruptError(f"{path} is damaged, so later pairs would be labelled otherwise: {ANEW}") from error
        return found

    def keep(self, shifts: Sequence[ClassShift]) -> None:
        """For the rest of the pairs, should this run be interrupted."""
        self.write(SHIFTS, (json.dumps([shift.figures() for shift in shifts], indent=2) + "\n").encode())

    def write(self, name: str, payload: bytes) -> None:
        """A file of the folder, whole."""
        write_whole(self.path / name, payload, self._reporter.cancellation.cleanup)

    def finish(self, facts: dict[str, Any]) -> None:
        """The mark of a whole folder."""
        self.write(MANIFEST, _json(facts))

    def label(self, date: str, name: str) -> Path | None:
        """The label image of a pair, where there is one."""
        target = self.path / date / name
        found = (target.with_name(target.name + suffix) for suffix in (".tif", ".png"))
        return next((path for path in found if path.is_file() and path.stat().st_size), None)

    def _lines(self) -> list[bytes]:
        """Of finished pairs; the last one, without its end, is that of a crash."""
        path = self.path / ROWS
        return path.read_bytes().split(b"\n")[:-1] if path.is_file() else []

    def _finished(self, lines: Sequence[bytes], facts: dict[str, Any], states: dict[str, str]) -> list[Row]:
        rows = [Row.of(line, len(facts["classes"]), len(facts["models"])) for line in lines]
        known = {row.name: row for row in rows if row is not None and row.name in states}
        same = [row for row in known.values() if row.files == states[row.name]]
        kept = [row for row in same if all(self.label(date, row.name) for date in DATES)]
        damaged, changed, lost = sum(row is None for row in rows), len(known) - len(same), len(same) - len(kept)
        if damaged:
            self._reporter.warning(
                f"{self.path / ROWS}: {damaged} damaged line(s); pairs that are not in another line are labelled again"
            )
        if changed:
            self._reporter.warning(
                f"{facts['data']}: files of {changed} finished pair(s) changed since; they are labelled again"
            )
        if lost:
            self._reporter.warning(
                f"{self.path}: label images of {lost} finished pair(s) are gone; they are made again"
            )
        if len(kept) < len(states):
            (self.path / MANIFEST).unlink(missing_ok=True)  # first: the folder is no whole one now
        self.write(ROWS, "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in kept).encode())
        return kept

    def _compare(self, facts: dict[str, Any]) -> None:
        path = self.path / JOB
        try:
            earlier = json.loads(path.read_bytes())
            told = _difference(earlier, json.loads(json.dumps(facts)), str(facts["data"]))
        except (ValueError, TypeError, AttributeError) as error:  # no JSON, or not what was written
            raise CorruptError(f"{path} is damaged, so it does not tell what was begun here: {ANEW}") from error
        if told:
            raise ResumeMismatchError(f"--resume: {self.path}: {told}: {ANEW}")

    def _refuse_inputs(self, pairs: Sequence[PairFiles]) -> None:
        own = Path(os.path.realpath(self.path))
        for pair in pairs:
            for path in _files(pair):
                if own in Path(os.path.realpath(path)).parents:
                    raise OutputIsInputError(
                        f"{self.path} holds a file of the data set ({path}); name another --output"
                    )


def inputs(pairs: Sequence[PairFiles], form: LabelFormat) -> dict[str, Any]:
    """What identifies the data set of a job, wherever it lies; its files are identified pair by pair, see `state`.

    Args:
        pairs: of the job.
        form: how the labels are read.
    """
    names = (pair.name for pair in pairs)
    return {"pairs": len(pairs), "names_sha256": _digest(names), "reading_sha256": _digest([repr(form)])}


def state(pair: PairFiles) -> str:
    """What identifies the files of a pair, wherever they lie: names, sizes and times, as a short sum."""
    files = (fingerprint(path) for path in _files(pair))
    return _digest(repr([(Path(name).name, size, changed) for name, size, changed in one]) for one in files)[:16]


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _files(pair: PairFiles) -> list[Path]:
    return [path for path in vars(pair).values() if isinstance(path, Path)]


def _difference(earlier: dict[str, Any], now: dict[str, Any], data: str) -> str:
    """How the job that was begun is another one, in words; empty where it is the same."""
    if earlier.get("version") != now["version"]:
        return f"it was begun with cdengine {earlier.get('version')}, this is {now['version']}"
    was, files = earlier.get("inputs") or {}, now["inputs"]
    if was.get("names_sha256") != files["names_sha256"]:
        return f"it was begun with other pairs ({was.get('pairs')}, now {files['pairs']})"
    if was.get("reading_sha256") != files["reading_sha256"]:
        return f"how the labels of {data} are read changed since it was begun"
    if _sums(earlier) != _sums(now):
        return f"it was begun with other models ({', '.join(_names(earlier))}; now {', '.join(_names(now))})"
    for key in [*now, *(key for key in earlier if key not in now)]:
        if key not in ("inputs", "models", *TOLD) and earlier.get(key) != now.get(key):
            return f"it was begun with {key} {earlier.get(key)!r}, now it is {now.get(key)!r}"
    return ""


def _sums(facts: dict[str, Any]) -> list[str]:
    return [str(model.get("sha256")) for model in facts.get("models") or []]


def _names(facts: dict[str, Any]) -> list[str]:
    return [f"{model.get('name')} {str(model.get('sha256'))[:8]}" for model in facts.get("models") or []]


def _json(facts: dict[str, Any]) -> bytes:
    return (json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode()
