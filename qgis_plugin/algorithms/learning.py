"""Fields and checks that the algorithms about data sets share: where the pairs are, and how they lie there."""

from __future__ import annotations

import re
from typing import List, Tuple

from . import fields

GROUP = ("training", "Training")
LAYOUTS = ("pairs", "second", "senseearth", "hiucd", "gold", "index")
LAYOUT_HELP = (
    "pairs: folders A, B and label (LEVIR-CD and its kin, and what Prepare training data writes). "
    "second: im1, im2, label1, label2 with classes. senseearth, hiucd, gold: those data sets. "
    "index: a table (index.csv) that names the files."
)


def data_folder(optional: bool = False, more: str = "") -> fields.Folder:
    """Field DATA."""
    return fields.Folder(
        "DATA",
        "Data set",
        f"Folder of the pairs of images with their labels, as Prepare training data writes it. {more}".strip(),
        "--data",
        optional=optional,
    )


def layout(choices: Tuple[str, ...] = LAYOUTS, default: str = "pairs") -> fields.Choice:
    """Field LAYOUT."""
    return fields.Choice(
        "LAYOUT",
        "Layout of the data set",
        LAYOUT_HELP,
        "--layout",
        choices=choices,
        default=default,
    )


CLASSES = fields.Words(
    "CLASSES",
    "Names of the classes",
    "Land-cover classes in the order of their numbers, separated by semicolons, where neither the layout nor the data "
    "set tells them. Empty: plain change, or the data set's own.",
    "--classes",
    advanced=True,
    optional=True,
)
CODING = fields.Text(
    "CODING",
    "Values of the labels",
    "Of change labels: 0/1, 0/255, soft, or such as unchanged=1,changed=2,ignored=0. Empty: found out.",
    "--label-coding",
    advanced=True,
    optional=True,
)
BANDS: List[fields.Text] = [
    fields.Text(
        f"BANDS_{date}",
        f"Bands of the images {date.lower()}",
        "Numbers of the bands that are used, separated by commas, such as 4,3,2. Empty: all.",
        f"--bands-{date.lower()}",
        advanced=True,
        optional=True,
    )
    for date in ("BEFORE", "AFTER")
]


def bands(call: fields.Call) -> str:
    """Bands are numbers here: a data set's images have no common names."""
    for field in BANDS:
        value = field.value(call)
        if value is not None and not re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*", value):
            return f"{field.label}: {value!r} has to be numbers with commas between them, such as 4,3,2."
    return ""
