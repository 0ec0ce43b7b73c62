"""`align`: AFTER on BEFORE's pixels, as a file."""

from __future__ import annotations

import argparse

from cdengine.cli.result import Result
from cdengine.events import Reporter


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("before", metavar="BEFORE", help="the reference image: anything GDAL opens")
    parser.add_argument("after", metavar="AFTER", help="the image that is moved onto the reference's pixels")
    parser.add_argument("--output", required=True, metavar="FILE", help="GeoTIFF to write")
    parser.add_argument(
        "--align",
        choices=("auto", "register"),
        default="register",
        help="auto: by georeference alone; register: also estimate and remove a residual shift (default: register)",
    )
    parser.add_argument(
        "--grid",
        choices=("before", "after", "finer"),
        default="before",
        help="whose pixels the output has (default: before)",
    )
    parser.add_argument(
        "--resampling",
        choices=("nearest", "bilinear", "cubic"),
        default="bilinear",
        help="nearest for class rasters (default: bilinear); pixels that coincide are copied",
    )
    parser.add_argument("--bands-after", metavar="BANDS", help="bands of AFTER, such as 4,3,2 (default: all but alpha)")
    parser.add_argument("--assume-crs", metavar="CRS", help="CRS of a date whose file holds none, such as EPSG:32632")
    parser.add_argument("--allow-coarse", action="store_true", help="pixel sizes may differ 100 times or more")
    parser.add_argument("--allow-remote", action="store_true", help="local VRT files may name remote sources")
    parser.add_argument("--cog", action="store_true", help="write a Cloud-Optimized GeoTIFF")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")


def run(args: argparse.Namespace, reporter: Reporter) -> Result:
    """Runs the job."""
    from cdengine.raster.align import align

    done = align(
        args.before,
        args.after,
        args.output,
        align=args.align,
        grid=args.grid,
        resampling=args.resampling,
        bands_after=args.bands_after,
        assume_crs=args.assume_crs,
        allow_coarse=args.allow_coarse,
        cog=args.cog,
        overwrite=args.overwrite,
        allow_remote=args.allow_remote,
        reporter=reporter,
    )
    shift = done.shift
    stats = {
        "shift_rows_px": shift.rows if shift else None,
        "shift_cols_px": shift.cols if shift else None,
        "shift_x_px": shift.cols if shift else None,  # the same in the words of maps
        "shift_y_px": shift.rows if shift else None,
        "shift_spread_px": round(shift.spread, 3) if shift else None,
        "shift_places": shift.places if shift else None,
        "valid_share": done.valid,
        "seconds": done.seconds,
    }
    lines = [f"{done.output}: {done.text}"] + ([shift.text] if shift else [])
    return Result(outputs={"aligned": done.output}, stats=stats, text="\n".join(lines))
