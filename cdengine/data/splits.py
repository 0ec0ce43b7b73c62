"""Parts of a split: pairs that are held out, and few-shot subsets as lists.

Subsets are nested, so that 10 % holds all of 5 %, and drawn so that change is shared alike.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cdengine.data.codings import LabelFormat
from cdengine.data.labels import find_coding
from cdengine.data.layouts import PairFiles, find_pairs
from cdengine.data.lists import LIST_FOLDERS
from cdengine.data.sampling import change_shares
from cdengine.errors import OutputExistsError, UsageError
from cdengine.events import Reporter
from cdengine.raster.diskerrors import writing

Array = np.ndarray[Any, np.dtype[Any]]
T = TypeVar("T")

TENTH = 10  # the SenseEarth2020 release validates on every tenth training pair by name, the first included


@dataclass(frozen=True)
class Subset:
    """One list file.

    Attributes:
        path: of it.
        share: of the split that was asked for.
        pairs: listed.
        change_share: of changed pixels among labelled ones, mean over its pairs.
    """

    path: Path
    share: float
    pairs: int
    change_share: float


def held_out(pairs: Sequence[T], every: int) -> tuple[list[T], list[T]]:
    """The pairs without every n-th of them, and these, the first pair included."""
    return [pair for number, pair in enumerate(pairs) if number % every], list(pairs[::every])


def draw_order(shares: Array, seed: int) -> Array:
    """An order of pairs of which every beginning resembles the whole in its share of change.

    Pairs are sorted by change and cut into strata of neighbours; rounds take one pair of every stratum by chance.

    Args:
        shares: (N,) of changed pixels of each pair.
        seed: of the order.

    Returns:
        (N,) indices.
    """
    rng = np.random.default_rng(seed)
    count = len(shares)
    by_change = np.lexsort((rng.random(count), shares))
    strata = np.array_split(by_change, max(1, min(20, count // 5)))
    queues = [rng.permutation(stratum).tolist() for stratum in strata]
    order: list[int] = []
    while any(queues):
        for place in rng.permutation(len(queues)).tolist():
            if queues[place]:
                order.append(queues[place].pop())
    return np.array(order)


def write_subsets(
    root: Path,
    layout: str,
    split: str,
    percents: Sequence[float],
    *,
    labels: LabelFormat | None = None,
    seed: int = 0,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> list[Subset]:
    """Writes `list/SPLIT_5.txt`, … into the data set; `--split SPLIT_5` then takes that part.

    Args:
        root: the data set's folder, or its index file.
        layout: a name of `layouts.LAYOUTS`.
        split: that is drawn from.
        percents: of its pairs, such as 5 and 10.
        labels: how labels are read; None: plain change. Unlabelled splits are drawn without regard to change.
        seed: of the order.
        overwrite: replace lists that exist.
        reporter: takes the progress of looking at labels.

    Raises:
        UsageError: a percentage is not in (0, 100], or gives no pair.
        OutputExistsError: a list exists.
        DatasetError: the data set cannot be used.
    """
    reporter = reporter or Reporter()
    wrong = [percent for percent in percents if not 0 < percent <= 100]
    if wrong or not percents or len(set(percents)) < len(percents):
        raise UsageError(f"--percent {','.join(f'{p:g}' for p in percents)}: give different numbers above 0, up to 100")
    pairs = find_pairs(root, layout, split)
    # as find_pairs names them when it looks at all of the set, which is how a list is read
    names = _names_in_whole(root, layout, pairs)
    folder = (root.parent if root.is_file() else root) / LIST_FOLDERS[0]
    stem = Path(split).stem
    targets = {percent: folder / f"{stem}_{percent:g}.txt" for percent in sorted(percents)}
    for path in targets.values():
        if path.exists() and not overwrite:
            raise OutputExistsError(f"{path} exists already; give --overwrite to replace it")
    shares = _shares(pairs, labels or LabelFormat(), reporter)
    order = draw_order(shares, seed)
    found = []
    for percent, path in targets.items():
        count = max(1, round(len(pairs) * percent / 100))
        some = order[:count]
        text = f"# {percent:g} % of {split} ({count} of {len(pairs)} pairs), seed {seed}\n"
        text += "".join(f"{name}\n" for name in sorted(names[i] for i in some))
        _write(path, text)
        found.append(Subset(path, percent / 100, count, float(shares[some].mean())))
    return found


def _names_in_whole(root: Path, layout: str, pairs: Sequence[PairFiles]) -> list[str]:
    by_before = {pair.before: pair.name for pair in find_pairs(root, layout, "all")}
    return [by_before[pair.before] for pair in pairs]


def _shares(pairs: Sequence[PairFiles], labels: LabelFormat, reporter: Reporter) -> Array:
    if not all(pair.labelled for pair in pairs):
        reporter.info("not all pairs are labelled: the subsets are drawn without regard to change")
        return np.zeros(len(pairs))
    changes = [pair.change for pair in pairs if pair.change is not None]
    coding = labels.change
    if coding is None and changes:
        coding = find_coding(changes, reporter, labels.channels[0] if labels.channels else None)
    return change_shares(pairs, LabelFormat(coding, labels.classes, labels.channels), reporter)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with writing(temporary):
        path.parent.mkdir(exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
