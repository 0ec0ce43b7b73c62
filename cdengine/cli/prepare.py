"""`prepare`: raw rasters and labels, or a published download, to a data set that training reads."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from cdengine.cli.result import Result
from cdengine.errors import UsageError
from cdengine.events import Reporter

if TYPE_CHECKING:
    from cdengine.data.prepare.cut import PrepareResult

CUT = ("pairs", "single")  # recipes that cut patches
CONVERT = ("second", "senseearth", "hiucd")  # recipes that bring a download to one form
SPLITS = "train=0.7,val=0.15,test=0.15"
# options of patches alone, with what they are when they are not given
PATCHES: dict[str, Any] = {
    "label": None,
    "before_classes": None,
    "after_classes": None,
    "aoi": None,
    "patch": 256,
    "block": None,
    "buffer": None,
    "min_valid": 0.5,
    "keep_unchanged": 1.0,
    "format": "tif",
    "world_files": False,
    "align": "auto",
    "bands_before": None,
    "bands_after": None,
    "label_coding": None,
    "classes": None,
    "class_field": None,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.formatter_class = argparse.HelpFormatter  # the texts below say their own defaults
    parser.add_argument(
        "recipe",
        choices=(*CUT, *CONVERT),
        metavar="RECIPE",
        help="pairs: two dates with change labels; single: one date with classes; second, senseearth, hiucd: "
        "a download to index-coded labels",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="pairs: BEFORE AFTER; single: IMAGE; either: a table of scenes (.csv, .parquet) with columns before, "
        "after (or image), label, and where wanted name, split, aoi, label1, label2; a download: its folder",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to make")
    labels = parser.add_argument_group("labels")
    labels.add_argument("--label", metavar="FILE", help="raster or polygons of change; of land cover for single images")
    labels.add_argument("--before-classes", metavar="FILE", help="land cover of the first date (semantic change)")
    labels.add_argument("--after-classes", metavar="FILE", help="land cover of the second date")
    labels.add_argument(
        "--label-coding",
        metavar="CODING",
        help="values of a raster of change: 0/1, 0/255, or for example unchanged=1,changed=2,ignored=0 "
        "(default: 0/1 or 0/255, whichever it is)",
    )
    labels.add_argument(
        "--classes", metavar="LIST", help="names with their values, such as water=1,forest=2 (default: one per value)"
    )
    labels.add_argument("--class-field", metavar="NAME", help="attribute of polygons that holds the class")
    labels.add_argument(
        "--rgb-labels",
        action="store_true",
        help="second, senseearth: write classes as colours, not as indices with a colour table",
    )
    labels.add_argument("--aoi", metavar="FILE", help="polygons of what was labelled; the rest is ignored")
    _patch_options(parser.add_argument_group("patches"))
    parser.add_argument("--overwrite", action="store_true", help="replace a data set that prepare made")


def _patch_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--patch", type=int, default=PATCHES["patch"], metavar="N", help="side in pixels (default: 256)")
    add("--splits", metavar="SHARES", help=f"shares of the splits (default: {SPLITS}; a download keeps its own)")
    add(
        "--block",
        type=int,
        metavar="N",
        help="side in pixels of the blocks that go to one split (default: 1 to 4 patches)",
    )
    add("--buffer", type=int, metavar="N", help="pixels between patches of different splits (default: a quarter patch)")
    add(
        "--min-valid",
        type=float,
        default=PATCHES["min_valid"],
        metavar="SHARE",
        help="least share of a patch that is valid and labelled (default: 0.5)",
    )
    add(
        "--keep-unchanged",
        type=float,
        default=PATCHES["keep_unchanged"],
        metavar="SHARE",
        help="share of the training patches without change that is kept (default: 1)",
    )
    add("--format", choices=("tif", "png"), default="tif", help="GeoTIFF, or PNG for 8 bits (default: tif)")
    add("--world-files", action="store_true", help="write a world file beside each PNG")
    add(
        "--align",
        choices=("auto", "strict", "register"),
        default="auto",
        help="auto: by georeference; strict: refuse unless grids agree; register: also remove a residual shift "
        "(default: auto)",
    )
    add(
        "--bands-before",
        metavar="BANDS",
        help="bands of BEFORE, or of the image, such as 4,3,2 (default: all but alpha)",
    )
    add("--bands-after", metavar="BANDS", help="bands of AFTER (default: all but alpha)")
    add("--seed", type=int, default=0, metavar="N", help="of splits and of what is left out (default: 0)")


def run(args: argparse.Namespace, reporter: Reporter) -> Result:
    """Runs the job."""
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}: give a whole number from 0 on")
    done = _convert(args, reporter) if args.recipe in CONVERT else _cut(args, reporter)
    stats: dict[str, float | None] = {"patches": done.patches, "left_out_invalid": done.invalid}
    stats |= {"left_out_unchanged": done.unchanged, "seconds": done.seconds}
    if args.recipe in CONVERT:
        stats |= {"contradicting_pairs": done.contradicting_pairs, "contradicting_px": done.contradicting_pixels}
    for split, count in done.counts.items():
        stats |= {f"{split}_patches": count.patches, f"{split}_change_share": round(count.change_share, 6)}
    outputs = {"dataset": done.output}
    if done.picture is not None:
        outputs |= {"index": f"{done.output}/index.csv", "picture": done.picture}
    return Result(outputs=outputs, stats=stats, text=done.summary())


def _cut(args: argparse.Namespace, reporter: Reporter) -> PrepareResult:
    from pathlib import Path

    from cdengine.data.codings import ChangeCoding
    from cdengine.data.prepare.blocks import parse_shares
    from cdengine.data.prepare.classes import ClassTable
    from cdengine.data.prepare.cut import prepare_scenes
    from cdengine.data.prepare.options import PrepareOptions
    from cdengine.data.prepare.scenes import given_scenes

    single = args.recipe == "single"
    if args.rgb_labels:
        raise UsageError(f"--rgb-labels has no meaning for recipe {args.recipe}; leave it out")
    if single:
        _refuse(args, ("before_classes", "after_classes", "bands_after", "label_coding", "keep_unchanged"))
    elif (args.before_classes is None) != (args.after_classes is None):
        raise UsageError("--before-classes and --after-classes go together: give both or none")
    given = {
        "before_classes" if single else "change": args.label,
        **({} if single else {"before_classes": args.before_classes, "after_classes": args.after_classes}),
    }
    labels = {role: path for role, path in given.items() if path}
    options = PrepareOptions(
        patch=args.patch,
        shares=parse_shares(args.splits or SPLITS),
        block=args.block,
        buffer=args.buffer,
        min_valid=args.min_valid,
        keep_unchanged=args.keep_unchanged,
        format=args.format,
        world_files=args.world_files,
        bands=(args.bands_before, args.bands_after),
        align=args.align,
        coding=ChangeCoding.parse(args.label_coding) if args.label_coding else None,
        classes=ClassTable.parse(args.classes) if args.classes else None,
        class_field=args.class_field,
        seed=args.seed,
        overwrite=args.overwrite,
    )
    scenes = given_scenes(args.inputs, dates=1 if single else 2, labels=labels, aoi=args.aoi)
    return prepare_scenes(scenes, Path(args.output), options, reporter)


def _convert(args: argparse.Namespace, reporter: Reporter) -> PrepareResult:
    from pathlib import Path

    from cdengine.data.prepare.blocks import parse_shares
    from cdengine.data.prepare.convert import convert

    _refuse(args, tuple(PATCHES))
    if len(args.inputs) != 1:
        raise UsageError(f"{len(args.inputs)} inputs given: {args.recipe} takes the folder of the download")
    return convert(
        args.recipe,
        Path(args.inputs[0]),
        Path(args.output),
        shares=parse_shares(args.splits) if args.splits else None,
        seed=args.seed,
        rgb_labels=args.rgb_labels,
        overwrite=args.overwrite,
        reporter=reporter,
    )


def _refuse(args: argparse.Namespace, names: tuple[str, ...]) -> None:
    """An option that a recipe would pass over is an error."""
    for name in names:
        if getattr(args, name) != PATCHES[name]:
            raise UsageError(f"--{name.replace('_', '-')} has no meaning for recipe {args.recipe}; leave it out")
