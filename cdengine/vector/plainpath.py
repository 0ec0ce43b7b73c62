"""Paths that pyogrio takes as they are: it parses every path as a URL, so that `;`, `!` and `?` cut it short.

Seen in pyogrio 0.13 (`pyogrio.util.vsi_path`). A file behind such a path is reached through a
link in a temporary folder.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ODD = re.compile(r"[;!?]")


@contextmanager
def plain_for_writing(path: Path) -> Iterator[Path]:
    """Within the block, a path under which `path` can be written; the file is in place at the end."""
    if not _is_odd(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="cdengine-") as folder:
        link = Path(folder) / "folder"
        link.symlink_to(path.parent.absolute(), target_is_directory=True)
        written = link / ODD.sub("_", path.name)
        yield written
        if written.name != path.name:
            os.replace(written, link / path.name)


@contextmanager
def plain_for_reading(path: Path) -> Iterator[Path]:
    """Within the block, a path under which `path` and the files that belong to it can be read."""
    if not _is_odd(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="cdengine-") as folder:
        for part in path.parent.absolute().iterdir():
            if part.name.startswith(path.stem):  # the parts of a shapefile
                (Path(folder) / ODD.sub("_", part.name)).symlink_to(part)
        yield Path(folder) / ODD.sub("_", path.name)


def _is_odd(path: Path) -> bool:
    # On Windows a drive letter keeps pyogrio from parsing, and links need a privilege.
    local = sys.platform != "win32" and not str(path).startswith("/vsi")
    return local and ODD.search(str(path)) is not None
