"""Checksums of input files: compared with a sidecar where one lies beside the file, and noted in the outputs' tags.

TIFF codecs do not protect data: a flipped bit mostly reads as another pixel value, without an error.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from cdengine.errors import ChecksumError
from cdengine.events import Cancellation, Reporter
from cdengine.raster.strips import WAIT_S

CHUNK = 4 << 20
SIDECARS = ("sha256", "md5")


def digest(path: Path, algorithm: str = "sha256", reporter: Reporter | None = None) -> str:
    """Hexadecimal digest of a file's bytes."""
    state = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            if reporter is not None:
                reporter.check()
            state.update(chunk)
    return state.hexdigest()


def check_sidecars(paths: Iterable[Path], reporter: Reporter) -> None:
    """Compares each file that has `NAME.sha256` or `NAME.md5` beside it (as `sha256sum` writes them).

    Raises:
        ChecksumError: the file is not what the sidecar says.
    """
    for path in paths:
        for algorithm in SIDECARS:
            sidecar = Path(f"{path}.{algorithm}")
            if not os.path.isfile(sidecar):  # Path.is_file raises where a name becomes too long
                continue
            length = hashlib.new(algorithm, usedforsecurity=False).digest_size * 2
            found = re.match(rf"[0-9a-fA-F]{{{length}}}\b", sidecar.read_text("utf-8", "replace").strip())
            if found is None:
                reporter.warning(f"{sidecar}: no {algorithm} sum in it; {path.name} was not checked")
                continue
            with reporter.stage("checksum", 1, "files") as stage:
                if digest(path, algorithm, reporter) != found[0].lower():
                    raise ChecksumError(f"{path} does not match {sidecar.name}: damaged or replaced; copy it again")
                stage.advance()


class Checksums:
    """Digests of files, made in a thread beside the real work."""

    def __init__(self, groups: Mapping[str, Iterable[Path]], reporter: Reporter) -> None:
        self._reporter, self._ended = reporter, Cancellation()
        self._pool = ThreadPoolExecutor(1, "cdengine-checksum")
        quiet = Reporter(cancellation=self._ended)
        self._sums = {
            name: [self._pool.submit(digest, path, "sha256", quiet) for path in paths if path.is_file()]
            for name, paths in groups.items()
        }

    def result(self) -> dict[str, str]:
        """Group → digests of its files, comma-separated in their order; waits for them, in a stage."""
        waiting = {sum_ for sums in self._sums.values() for sum_ in sums if not sum_.done()}
        if waiting:
            with self._reporter.stage("checksum", len(waiting), "files") as stage:
                while waiting:
                    done, waiting = wait(waiting, timeout=WAIT_S)
                    stage.advance(len(done))
        return {name: ",".join(sum_.result() for sum_ in sums) for name, sums in self._sums.items()}

    def close(self) -> None:
        """Ends the thread, its work done or not."""
        self._ended.cancel()
        self._pool.shutdown(cancel_futures=True)
