"""`split`: nested few-shot subsets of a data set's split, as list files."""

from __future__ import annotations

import argparse

from cdengine.cli.result import Result
from cdengine.errors import UsageError
from cdengine.events import Reporter


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("--data", required=True, metavar="DIR", help="the data set's folder, or its index file")
    parser.add_argument("--layout", default="pairs", metavar="L", help="how it lies on disk: pairs, second, index, …")
    parser.add_argument("--split", default="train", metavar="S", help="the split that is drawn from")
    parser.add_argument("--percent", default="5,10,20", metavar="LIST", help="sizes in percent; each holds the smaller")
    parser.add_argument("--label-coding", metavar="CODING", help="values of change labels, as in prepare")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the order of pairs")
    parser.add_argument("--overwrite", action="store_true", help="replace lists that exist")


def run(args: argparse.Namespace, reporter: Reporter) -> Result:
    """Runs the job."""
    from pathlib import Path

    from cdengine.data.codings import ChangeCoding
    from cdengine.data.manifest import label_format
    from cdengine.data.splits import write_subsets

    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}: give a whole number from 0 on")
    root = Path(args.data)
    coding = ChangeCoding.parse(args.label_coding) if args.label_coding else None
    subsets = write_subsets(
        root,
        args.layout,
        args.split,
        _percents(args.percent),
        labels=label_format(root, args.layout, coding=coding),
        seed=args.seed,
        overwrite=args.overwrite,
        reporter=reporter,
    )
    stats: dict[str, float | None] = {}
    lines = []
    for subset in subsets:
        stats |= {f"{subset.path.stem}_pairs": subset.pairs}
        stats |= {f"{subset.path.stem}_change_share": round(subset.change_share, 6)}
        lines.append(f"{subset.path}: {subset.pairs} pairs, {subset.change_share:.2%} changed")
    lines.append(f"take one with --split {subsets[0].path.stem}")
    return Result(
        outputs={subset.path.stem: str(subset.path) for subset in subsets}, stats=stats, text="\n".join(lines)
    )


def _percents(text: str) -> list[float]:
    try:
        return [float(part.strip().rstrip("%")) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--percent {text!r}: give numbers, such as 5,10,20") from error
