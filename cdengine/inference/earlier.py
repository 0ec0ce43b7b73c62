"""A result that an earlier run of the same job has finished: recognised, and its figures read back from the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pyogrio
from rasterio.errors import RasterioIOError

from cdengine.events import Reporter
from cdengine.inference.choose import Choice
from cdengine.inference.journal import NAME, journal_folder
from cdengine.inference.layers import NODATA
from cdengine.inference.result import DetectionResult
from cdengine.raster.grid import Grid
from cdengine.raster.quiet import opened
from cdengine.vector.area import PixelArea
from cdengine.vector.plainpath import plain_for_reading

ROWS = 512  # read at a time: the height of the blocks


def finished(targets: dict[str, Path], token: str) -> bool:
    """Whether all outputs are there and the change raster is of this very job."""
    if (journal_folder(targets["change"]) / NAME).exists() or not all(path.is_file() for path in targets.values()):
        return False
    try:
        with opened(targets["change"]) as file:
            return bool(file.tags().get("CDENGINE_JOB") == token)
    except RasterioIOError:
        return False


def read_result(targets: dict[str, Path], choice: Choice, reporter: Reporter) -> DetectionResult:
    """The earlier run's outputs and main figures."""
    stats: dict[str, Any] = {"changed_px": 0, "compared_px": 0}
    areas = {"changed_area_m2": 0.0, "compared_area_m2": 0.0}
    with opened(targets["change"]) as file:
        stats["threshold"] = float(file.tags()["CDENGINE_THRESHOLD"])
        for name in ("tiles", "tta_tiles"):  # of a run with --time-budget
            value = file.tags().get(f"CDENGINE_{name.upper()}")
            stats |= {} if value is None else {name: int(value)}
        grid = Grid(file.crs, file.transform, file.height, file.width)
        ground = PixelArea(grid)
        for window in reporter.each(list(grid.window.split(ROWS)), "read", -(-grid.height // ROWS), "strips"):
            change = file.read(1, window=((window.row, window.row_stop), (0, grid.width)))
            for kind, mask in (("changed", change == 1), ("compared", change != NODATA)):
                stats[f"{kind}_px"] += int(np.count_nonzero(mask))
                areas[f"{kind}_area_m2"] += ground.total(window, mask) or 0.0
    stats |= areas if ground.on_earth else dict.fromkeys(areas)
    stats["changed_percent"] = 100 * stats["changed_px"] / stats["compared_px"] if stats["compared_px"] else 0.0
    if "polygons" in targets:
        stats["polygons"] = _count(targets["polygons"])
    return DetectionResult({name: str(path) for name, path in targets.items()}, stats, choice.label)


def _count(path: Path) -> int:
    if path.suffix.lower() == ".parquet":
        return int(pq.read_metadata(path).num_rows)
    with plain_for_reading(path) as plain:
        return int(pyogrio.read_info(plain)["features"])
