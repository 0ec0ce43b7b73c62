"""Finished bands on disk: what a killed run left for `--resume`, and what the final pass assembles.

A folder `.<output name>.cdengine` beside the output holds one file per finished band and `journal.jsonl`: a header
line that fingerprints the job, then a line per band with the sha256 of its file. A band counts once its line is on
disk; a torn last line and a band whose hash fails are done again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cdengine.errors import DiskFullError, OutputError, ResumeMismatchError
from cdengine.events import Reporter
from cdengine.raster.diskerrors import FULL
from cdengine.raster.lock import hidden_name

Array = np.ndarray[Any, np.dtype[Any]]
SCHEMA = 1
NAME = "journal.jsonl"


def journal_folder(output: Path) -> Path:
    """Where the parts of the job that writes `output` lie."""
    return output.with_name(hidden_name(output, ".cdengine"))


class Journal:
    """The parts of one job.

    Args:
        folder: see `journal_folder`.
        job: flat fingerprint of all that determines the pixels and of the outputs asked for.
        resume: go on with what is there; otherwise start afresh.

    Raises:
        ResumeMismatchError: `resume`, and the folder belongs to another job; names the first difference.
    """

    def __init__(self, folder: Path, job: Mapping[str, Any], *, resume: bool) -> None:
        self.folder, self._job = folder, dict(job)
        self._done: dict[int, tuple[str, str]] = {}
        self._stored: dict[str, str] = {}  # name → sha256
        self.settings: dict[str, Any] = {}
        self._path = folder / NAME
        self.interrupted = self._path.exists()  # an earlier run left something
        if resume and self.interrupted:
            self._load()
        else:
            shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(exist_ok=True)
            if not self._path.exists():
                self._append({"schema": SCHEMA, "job": self._job}, mode="x")
        except OSError as error:
            raise _failure(error, f"{folder}: cannot keep finished parts", "then run again") from error

    def _load(self) -> None:
        lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        records = []
        for line in lines:
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break  # torn by a crash: this line and what follows never counted
        if not records or records[0].get("schema") != SCHEMA:
            shutil.rmtree(self.folder)
            return
        self._compare(records[0]["job"])
        for record in records[1:]:
            if "settings" in record:
                self.settings.update(record["settings"])
            elif "stored" in record:
                self._stored[record["stored"]] = record["sha256"]
            else:
                self._done[record["band"]] = (record["file"], record["sha256"])
        # Rewritten whole, so that a torn line does not swallow the next one.
        fresh = self._path.with_suffix(".new")
        text = "".join(json.dumps(record) + "\n" for record in records)
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, self._path)

    def _compare(self, earlier: dict[str, Any]) -> None:
        now = json.loads(json.dumps(self._job))
        for key in [*earlier, *(key for key in now if key not in earlier)]:
            if earlier.get(key) != now.get(key):
                raise ResumeMismatchError(
                    f"{self.folder}: the interrupted run is another job ({key} was {earlier.get(key)!r}, "
                    f"now {now.get(key)!r}): run without --resume to start afresh"
                )

    def first_missing(self, bands: int, reporter: Reporter) -> int:
        """The first band of 0 … bands - 1 whose part is not on disk, or is damaged."""
        if self._done:  # no stage: the progress of a resumed run begins where the earlier one stopped
            reporter.info(f"{len(self._done)} of {bands} bands were finished before; checking them")
        for band in range(bands):
            reporter.check()
            if band not in self._done:
                return band
            name, digest = self._done[band]
            part = self.folder / name
            if not part.exists() or hashlib.sha256(part.read_bytes()).hexdigest() != digest:
                return band
        return bands

    def agree(self, **facts: str) -> None:
        """Notes what was found while running and decides over pixels (the device that "auto" took).

        Raises:
            ResumeMismatchError: the interrupted run had it otherwise.
        """
        for key, value in facts.items():
            earlier = self.settings.get(key, value)
            if earlier != value:
                raise ResumeMismatchError(
                    f"{self.folder}: the interrupted run had {key} {earlier} and this one has {value}: resume where it "
                    "began, or run without --resume to start afresh"
                )
        self.set(**facts)

    def set(self, **settings: int | str) -> None:
        """Keeps settings found while running (the batch size in force) for a later resume."""
        if {**self.settings, **settings} != self.settings:
            self.settings.update(settings)
            self._append({"settings": settings})

    def write(self, band: int, layers: Mapping[str, Array]) -> None:
        """Stores a finished band; when this returns, it survives a crash.

        Raises:
            OutputError: the part cannot be written; a DiskFullError where the disk is full.
        """
        data = _pack(layers)
        name = f"{band:06d}.part"
        try:
            with open(self.folder / name, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            digest = hashlib.sha256(data).hexdigest()
            self._append({"band": band, "file": name, "sha256": digest})
        except OSError as error:
            raise _failure(error, f"{self.folder}: cannot store band {band}", "then run again with --resume") from error
        self._done[band] = (name, digest)

    def read(self, band: int) -> dict[str, Array]:
        """The layers of a finished band."""
        return _unpack((self.folder / self._done[band][0]).read_bytes())

    def store(self, name: str, arrays: Mapping[str, Array]) -> None:
        """Keeps small arrays of the job (a method's statistics) under `name`."""
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        fresh = self.folder / f"{name}.new"
        with open(fresh, "wb") as file:
            file.write(buffer.getvalue())
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.folder / f"{name}.npz")
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        self._append({"stored": name, "sha256": digest})
        self._stored[name] = digest

    def stored(self, name: str) -> dict[str, Array] | None:
        """What `store` kept; None where it kept nothing, or it is damaged."""
        path = self.folder / f"{name}.npz"
        if name not in self._stored or not path.exists():
            return None
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != self._stored[name]:
            return None
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}

    def remove(self) -> None:
        """Deletes the folder; the result is whole, or is not wanted."""
        # First, and at once: the parts take a while, and a run that is killed meanwhile must not seem unfinished.
        self._path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _append(self, record: dict[str, Any], mode: str = "a") -> None:
        with open(self._path, mode, encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _failure(error: OSError, what: str, then: str) -> OutputError:
    """A full disk and a vanished or forbidden folder have different remedies."""
    if error.errno in FULL:
        return DiskFullError(f"{what} ({error.strerror}): free some space, {then}")
    return OutputError(f"{what} ({error.strerror}): check the folder and the right to write there, {then}")


def _pack(layers: Mapping[str, Array]) -> bytes:
    """A JSON line that lists the arrays, then each array compressed with zstd level 1 (5 times faster than deflate)."""
    codec = pa.Codec("zstd", compression_level=1)
    head, body = [], []
    for name, array in layers.items():
        packed = codec.compress(np.ascontiguousarray(array).data.cast("B"), asbytes=True)
        head.append({"name": name, "dtype": array.dtype.str, "shape": array.shape, "bytes": len(packed)})
        body.append(packed)
    return b"".join([json.dumps(head).encode() + b"\n", *body])


def _unpack(data: bytes) -> dict[str, Array]:
    codec = pa.Codec("zstd")
    end = data.index(b"\n")
    layers, at = {}, end + 1
    for item in json.loads(data[:end]):
        dtype, shape = np.dtype(item["dtype"]), tuple(item["shape"])
        size = int(np.prod(shape)) * dtype.itemsize
        raw = codec.decompress(data[at : at + item["bytes"]], decompressed_size=size)
        layers[item["name"]] = np.frombuffer(raw, dtype).reshape(shape)
        at += item["bytes"]
    return layers
