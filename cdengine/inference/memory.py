"""What a run will take of the host's memory, known before it begins, against what there is.

A system that runs out of memory ends the process without a word; refusing beforehand says which option helps.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from cdengine.errors import ResourceError
from cdengine.inference.layers import LayerFormat
from cdengine.inference.tiles import PHASE, Tiling
from cdengine.raster.grid import Window
from cdengine.raster.pair import SourceInfo

SHARE = 0.8  # of the memory there is
STRIPS = 3  # the one being used and two that are read ahead
SLACK = 1.25  # temporaries of the arithmetic; measured on a raster of 200 000 columns
BANDS = 4  # the one being filled, two that wait for the disk, one being compressed
CGROUP = Path("/sys/fs/cgroup")


class Strips(Protocol):
    """What of a pair decides over memory."""

    window: Window
    before: SourceInfo
    after: SourceInfo
    strip_rows: int


def required(source: Strips, tiling: Tiling, layers: LayerFormat, channels: int, tiles: int) -> int:
    """Bytes that reading, tiling, blending and storing hold at a time; a network's own activations come on top.

    Args:
        source: the pair.
        tiling: over its window.
        layers: what is stored.
        channels: of the detector.
        tiles: how many are with the detector at a time.
    """
    rows, cols, width = tiling.rows, tiling.cols, source.window.width
    pixel = sum(info.count * info.dtype.itemsize + 1 for info in (source.before, source.after))
    strips = STRIPS * min(source.strip_rows, source.window.height) * width * pixel
    feed = rows.size * width * pixel
    shared = max(rows.size - (rows.starts[-1] - rows.starts[-2]) if len(rows.starts) > 1 else 0, 0)
    blend = 2 * channels * shared * width * 4
    stored = sum(layer.itemsize for layer in layers.empty(1, 1).values())
    bands = BANDS * rows.size * width * stored
    # arithmetic in float32: both dates, their difference, and the result
    each = rows.size * cols.size * (pixel + 4 * (2 * (source.before.count + source.after.count) + channels))
    return int(SLACK * (strips + feed + blend + bands + tiles * each))


def require_memory(source: Strips, tiling: Tiling, layers: LayerFormat, channels: int, tiles: int) -> None:
    """Refuses a run that cannot fit.

    Raises:
        ResourceError: it names the tile size that would fit, or another way out.
    """
    there = memory_limit()
    if there is None:
        return
    allowed = SHARE * there - resident()
    needed = required(source, tiling, layers, channels, tiles)
    if needed <= allowed:
        return
    size = max(tiling.rows.size, tiling.cols.size)
    advice = "limit the area with --aoi, or rewrite the rasters in tiles and split them"
    smaller = size // 2 // PHASE * PHASE
    while smaller >= PHASE:
        rows, cols = (
            replace(axis, tile=smaller, overlap=min(axis.overlap, smaller - PHASE))
            for axis in (tiling.rows, tiling.cols)
        )
        if required(source, Tiling(rows, cols), layers, channels, tiles) <= allowed:
            advice = f"use --tile {smaller}"
            break
        smaller = smaller // 2 // PHASE * PHASE
    raise ResourceError(
        f"{source.window.width:,} pixels a row in tiles of {size} need about {needed / 1e9:.1f} GB of memory, but "
        f"{max(allowed, 0) / 1e9:.1f} of {there / 1e9:.1f} GB may be used: {advice}"
    )


def memory_limit() -> int | None:
    """Bytes of memory that this process may have: the machine's, or less in a container; None where unknown."""
    found = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in _cgroup_files():
        with suppress(OSError, ValueError):  # absent, or "max"
            found.append(int(path.read_text()))
    return min(found, default=None)


def resident() -> int:
    """Bytes of memory that this process has now; 0 where unknown."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _cgroup_files() -> list[Path]:
    """Where control groups of either version state their limit, the process's own and those above it."""
    files = [CGROUP / "memory.max", CGROUP / "memory" / "memory.limit_in_bytes"]
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, own = line.split(":", 2)
            if not kinds:
                folder = CGROUP / own.lstrip("/")
                files += [part / "memory.max" for part in (folder, *folder.parents) if part.is_relative_to(CGROUP)]
            elif "memory" in kinds.split(","):
                files.append(CGROUP / "memory" / own.lstrip("/") / "memory.limit_in_bytes")
    return files
