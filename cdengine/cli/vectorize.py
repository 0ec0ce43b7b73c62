"""`vectorize`: polygons of a change or class raster."""

from __future__ import annotations

import argparse
import re

from cdengine.cli.result import Result
from cdengine.errors import UsageError
from cdengine.events import Reporter


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.formatter_class = argparse.HelpFormatter  # the help texts say what the defaults mean
    parser.add_argument("raster", metavar="RASTER", help="change or class raster: whole numbers in the first band")
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="vector file: .gpkg, .geojson, .fgb or .parquet, by suffix"
    )
    parser.add_argument(
        "--probability", metavar="FILE", help="probability raster on the same grid, for polygons' means"
    )
    parser.add_argument(
        "--values", metavar="1,2", default="all", help="values to turn into polygons (default: all but 0 and nodata)"
    )
    parser.add_argument(
        "--min-area", type=float, default=0.0, metavar="M2", help="drop smaller polygons, m² (without a CRS: pixels)"
    )
    parser.add_argument(
        "--simplify", type=float, default=0.0, metavar="M", help="simplify outlines by this tolerance, m (pixels)"
    )
    parser.add_argument(
        "--fill-holes", type=float, default=0.0, metavar="M2", help="fill smaller holes, m² (pixels); before --min-area"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")


def run(args: argparse.Namespace, reporter: Reporter) -> Result:
    """Runs the job."""
    values = _values(args.values)
    from cdengine.vector.area import area_text
    from cdengine.vector.vectorize import vectorize

    result = vectorize(
        args.raster,
        args.output,
        probability=args.probability,
        values=values,
        min_area=args.min_area,
        simplify=args.simplify,
        fill_holes=args.fill_holes,
        overwrite=args.overwrite,
        reporter=reporter,
    )
    area = f"{result.area_px:,.0f} px" if result.area_m2 is None else area_text(result.area_m2)
    return Result(
        outputs={"polygons": result.output},
        stats={
            "polygons": result.polygons,
            "area_m2": result.area_m2,
            "area_px": result.area_px,
            "seconds": result.seconds,
        },
        text=f"{result.output}: {result.polygons:,} polygons, {area}",
    )


def _values(text: str) -> list[int] | None:
    if text == "all":
        return None
    if not re.fullmatch(r"\s*-?\d+\s*(,\s*-?\d+\s*)*", text):
        raise UsageError(f"--values {text!r}: whole numbers with commas between, such as 1,2 (or all)")
    return [int(part) for part in text.split(",")]
