"""Polygons against GDAL's, in one run: the tracer alone (GDAL in rasterio's wheel) and `gdal_polygonize`, file to file.

A ratio is cdengine's time by GDAL's: below 1 is faster. cdengine's file carries ellipsoidal areas and mean
probabilities as well, GDAL's does not.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.features
from affine import Affine
from scipy.ndimage import gaussian_filter

from cdengine.vector.polygonize import Polygonizer

Array = np.ndarray[Any, np.dtype[Any]]

SIDE = 4096
STRIP = 512
PIXEL_M = 10.0
MIN_PIXELS = 8


def scenes(side: int) -> dict[str, Array]:
    """Change masks, uint8: smooth as a network gives, the same with 1 % specks, and coin tosses."""
    rng = np.random.default_rng(0)
    field = gaussian_filter(rng.standard_normal((side, side)).astype(np.float32), 8)
    smooth = (field > field.std()).astype(np.uint8)
    specks = np.where(rng.random((side, side)) < 0.01, 1, smooth).astype(np.uint8)
    return {"smooth": smooth, "specks": specks, "noise": (rng.random((side, side)) < 0.5).astype(np.uint8)}


def trace(labels: Array, min_pixels: int = 1) -> int:
    """Polygons of all strips, made and dropped."""
    polygonizer = Polygonizer(labels.shape[1], min_pixels=min_pixels)
    count = sum(len(polygonizer.add(row, labels[row : row + STRIP])) for row in range(0, len(labels), STRIP))
    return count + len(polygonizer.finish())


def gdal_trace(labels: Array) -> int:
    """The same by GDALPolygonize, as rasterio hands its polygons out."""
    return sum(1 for _ in rasterio.features.shapes(labels, mask=labels, connectivity=4))


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall time."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def measure(side: int = SIDE, repeats: int = 3) -> dict[str, float | int]:
    """Times and ratios for each scene."""
    figures: dict[str, float | int] = {"side_px": side}
    with tempfile.TemporaryDirectory(prefix="cdengine-bench-") as name:
        folder = Path(name)
        for scene, labels in scenes(side).items():
            times = repeats if scene != "noise" else 1
            figures[f"{scene}_polygons"] = trace(labels)
            own, gdal = seconds(lambda: trace(labels), times), seconds(lambda: gdal_trace(labels), times)  # noqa: B023
            sieved = seconds(lambda: trace(labels, MIN_PIXELS), times)  # noqa: B023
            figures[f"{scene}_trace_s"] = round(own, 3)
            figures[f"{scene}_gdal_trace_s"] = round(gdal, 3)
            figures[f"{scene}_trace_ratio"] = round(own / gdal, 3)
            figures[f"{scene}_trace_from_{MIN_PIXELS}_px_ratio"] = round(sieved / gdal, 3)
            if scene != "noise" and shutil.which("gdal_polygonize.py"):
                figures |= {f"{scene}_{key}": value for key, value in _files(folder, labels, times).items()}
    return figures


def _files(folder: Path, labels: Array, repeats: int) -> dict[str, float]:
    """GeoTIFF to GeoPackage as processes of their own, start-up of the interpreters included."""
    raster, output = folder / "labels.tif", folder / "out.gpkg"
    transform = Affine(PIXEL_M, 0, 400_000, 0, -PIXEL_M, 5_100_000)
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "crs": "EPSG:32633",
        "transform": transform,
        "nodata": 0,
    }
    height, width = labels.shape
    with rasterio.open(raster, "w", height=height, width=width, tiled=True, compress="deflate", **profile) as file:
        file.write(labels, 1)

    def run(*command: str) -> None:
        output.unlink(missing_ok=True)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    command = [sys.executable, "-m", "cdengine", "vectorize", str(raster), "--output", str(output)]
    minimum = str(MIN_PIXELS * PIXEL_M**2)
    gdal = seconds(lambda: run("gdal_polygonize.py", "-q", "-f", "GPKG", str(raster), str(output)), repeats)
    own = seconds(lambda: run(*command), repeats)
    sieved = seconds(lambda: run(*command, "--min-area", minimum), repeats)
    return {
        "file_s": round(own, 3),
        "gdal_file_s": round(gdal, 3),
        "file_ratio": round(own / gdal, 3),
        f"file_from_{MIN_PIXELS}_px_ratio": round(sieved / gdal, 3),
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
