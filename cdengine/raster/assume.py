"""A CRS that the user states for a date whose file holds none."""

from __future__ import annotations

from dataclasses import replace

from rasterio.crs import CRS
from rasterio.errors import CRSError

from cdengine.errors import UsageError
from cdengine.events import Reporter
from cdengine.raster.source import Raster


def stated_crs(text: str) -> CRS:
    """The CRS that `--assume-crs` names.

    Args:
        text: a code of an authority (EPSG:32632), WKT or a PROJ string.

    Raises:
        UsageError: PROJ does not know it, or positions on a map cannot be given in it.
    """
    option = f"--assume-crs {' '.join(text.split())[:60]!r}"
    try:
        crs = CRS.from_user_input(text)
    except CRSError as error:
        raise UsageError(
            f"{option}: no coordinate reference system that PROJ knows; give a code such as EPSG:32632"
        ) from error
    if not (crs.is_projected or crs.is_geographic):
        raise UsageError(f"{option}: neither projected nor geographic; give a code such as EPSG:32632 or EPSG:4326")
    return crs


def with_stated_crs(before: Raster, after: Raster, stated: str | None, reporter: Reporter) -> tuple[Raster, Raster]:
    """Both rasters, those without a CRS in the stated one. The CRS that a file holds is never replaced.

    Args:
        before: of the first date.
        after: of the second date.
        stated: see `stated_crs`; None changes nothing.
        reporter: is told what was assumed, and warned where there was nothing to assume.

    Raises:
        UsageError: see `stated_crs`.
    """
    if stated is None:
        return before, after
    crs = stated_crs(stated)
    if before.grid.crs is not None and after.grid.crs is not None:
        reporter.warning(f"--assume-crs {stated} is not used: both files have a coordinate reference system")
    return (
        _with_crs(before, crs, f"BEFORE ({before.name})", stated, reporter),
        _with_crs(after, crs, f"AFTER ({after.name})", stated, reporter),
    )


def _with_crs(raster: Raster, crs: CRS, label: str, stated: str, reporter: Reporter) -> Raster:
    if raster.grid.crs is not None:
        return raster
    if raster.grid.transform.is_identity:
        reporter.warning(f"--assume-crs is not used for {label}: it has no geotransform, so a CRS would not place it")
        return raster
    reporter.info(f"{label} has no coordinate reference system; {stated} is assumed")
    return replace(raster, grid=replace(raster.grid, crs=crs))
