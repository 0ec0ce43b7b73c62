"""What a run of `pseudo-label` tells: how much was labelled, how far the members agree, and pictures."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cdengine import __version__
from cdengine.assess.colours import Rgb, css
from cdengine.assess.errorpictures import class_map, panel_size, resampled, sheet
from cdengine.assess.page import PAGE, section, table
from cdengine.assess.preview import Frame, grid_of, read_pair, stretched
from cdengine.assess.report import text_of
from cdengine.data.images import read_stored
from cdengine.data.layouts import PairFiles
from cdengine.events import Reporter
from cdengine.inference.evaluatefiles import DATES
from cdengine.raster.diskerrors import writing
from cdengine.raster.paths import parse
from cdengine.raster.quiet import opened
from cdengine.raster.source import gdal_env
from cdengine.raster.spec import class_colours

SHOWN = 6  # pairs in the picture, spread over the split


@dataclass(frozen=True)
class Row:
    """Pixels of one pair.

    Attributes:
        name: of the pair.
        pixels: with data at both dates.
        given: with a real label.
        unchanged: voted on.
        classes: K: labelled by the vote, by class.
        agreed: voted on alike, mean over pairs of members.
        abstained: of each member, pixels without a vote.
        followed: of each member, pixels that got the class it had voted for.
    """

    name: str
    pixels: int
    given: int
    unchanged: int
    classes: list[int]
    agreed: float
    abstained: list[int]
    followed: list[int]


class Totals:
    """Sums over pairs.

    Attributes:
        names: of the classes.
        members: names of the models.
        pairs: how many were added.
    """

    def __init__(self, names: Sequence[str], members: Sequence[str]) -> None:
        self.names, self.members, self.pairs = tuple(names), tuple(members), 0
        self._pixels = self._given = self._unchanged = 0
        self._agreed = 0.0
        self._classes = np.zeros(len(names), np.int64)
        self._abstained, self._followed = np.zeros((2, len(members)), np.int64)

    def add(self, row: Row) -> None:
        """Takes one pair."""
        self.pairs += 1
        self._pixels += row.pixels
        self._given += row.given
        self._unchanged += row.unchanged
        self._agreed += row.agreed
        self._classes += row.classes
        self._abstained += row.abstained
        self._followed += row.followed

    @property
    def labelled_share(self) -> float:
        """Of all pixels: what has a class now, real or by vote."""
        return (self._given + int(self._classes.sum())) / max(1, self._pixels)

    @property
    def pseudo_share(self) -> float:
        """Of the pixels voted on: what got a class."""
        return int(self._classes.sum()) / max(1, self._unchanged)

    @property
    def agreement(self) -> float:
        """Of the pixels voted on: what two members say alike, mean over pairs of members; 1 for a single one."""
        return self._agreed / self._unchanged if self._unchanged else 1.0

    def figures(self) -> dict[str, Any]:
        """As JSON takes them; shares of the pixels voted on, unless the name says otherwise."""
        voted = max(1, self._unchanged)
        return {
            "pairs": self.pairs,
            "pixels": self._pixels,
            "given_share_of_pixels": self._given / max(1, self._pixels),
            "labelled_share_of_pixels": self.labelled_share,
            "labelled_share": self.pseudo_share,
            "class_share": {name: int(count) / voted for name, count in zip(self.names, self._classes, strict=True)},
            "agreement": self.agreement,
            "members": [
                {"name": name, "abstained_share": int(out) / voted, "followed_share": int(own) / voted}
                for name, out, own in zip(self.members, self._abstained, self._followed, strict=True)
            ],
        }


def _colours(names: Sequence[str]) -> list[Rgb]:
    """Those of class rasters."""
    return [(red, green, blue) for red, green, blue, _ in class_colours(names)]


def write_pictures(
    path: Path, pairs: Sequence[PairFiles], folder: Path, classes: Sequence[str], reporter: Reporter
) -> None:
    """A sheet of some pairs: images, real labels and pseudo labels of both dates, two rows a pair.

    Args:
        path: JPEG to write.
        pairs: of the run.
        folder: with label1/ and label2/.
        classes: names.
        reporter: for progress.
    """
    chosen = [pairs[at * len(pairs) // min(SHOWN, len(pairs))] for at in range(min(SHOWN, len(pairs)))]
    colours, rows = _colours(classes), []
    size = None
    for pair in reporter.each(chosen, "pictures", len(chosen), "pictures"):
        with gdal_env():
            with opened(parse(str(pair.before), "BEFORE").gdal) as dataset:
                grid = grid_of(dataset)
            size = size or panel_size(grid.height, grid.width)
            frame = Frame(grid, grid.window, *size)
            before, after, _ = stretched(*read_pair(str(pair.before), str(pair.after), frame))
        for image, date in zip((before, after), DATES, strict=True):
            stored = read_stored(_written(folder / date / pair.name))
            codes = np.where(stored.valid, stored.values[0], 255).astype(np.uint8)
            rows.append([image, resampled(class_map(codes, colours), size)])
    joined = [one + other for one, other in zip(rows[::2], rows[1::2], strict=True)]
    with writing(path):
        path.write_bytes(sheet(joined))


def write_report(path: Path, picture: Path, totals: Totals, facts: Mapping[str, Any]) -> None:
    """One HTML file with the figures and the picture."""
    figures = totals.figures()
    lead = (
        f"{totals.pairs} pairs: {100 * totals.pseudo_share:.1f} % of the unchanged pixels got a class by the vote of "
        f"{len(totals.members)} model{'s' if len(totals.members) > 1 else ''}; with the real labels "
        f"{100 * totals.labelled_share:.1f} % of all pixels have one."
    )
    colours = _colours(totals.names)
    classes = [
        [f'<span style="color:{css(tint)}">■</span> {text_of(name)}', _percent(share)]
        for (name, share), tint in zip(figures["class_share"].items(), colours, strict=True)
    ]
    members = [
        [text_of(member["name"]), _percent(member["abstained_share"]), _percent(member["followed_share"])]
        for member in figures["members"]
    ]
    encoded = base64.b64encode(picture.read_bytes()).decode()
    shown = (
        f'<figure><img src="data:image/jpeg;base64,{encoded}" alt="images and labels of some pairs"><figcaption>'
        "Before and its labels, after and its labels; pale where no class was given.</figcaption></figure>"
    )
    told = {key: value for key, value in facts.items() if key not in ("models", "pairs_sha256")}
    body = "\n".join(
        [
            f"<p class=lead>{text_of(lead)}</p>",
            section("Labelled by the vote, of the unchanged pixels", table(("Class", "Share"), classes)),
            section(
                "Members",
                table(("Model", "Abstained", "Followed by the vote"), members)
                + f"<p>Two members say the same on {_percent(totals.agreement)} of the unchanged pixels.</p>",
            ),
            section("Some pairs", shown),
            section("How", table(("", ""), ([text_of(key), text_of(value)] for key, value in told.items()))),
        ]
    )
    footer = f"cdengine {__version__}, {time.strftime('%Y-%m-%d %H:%M')}"
    with writing(path):
        path.write_text(PAGE.substitute(title="Pseudo labels", footer=text_of(footer), body=body), "utf-8")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _written(path: Path) -> Path:
    tif = path.with_name(path.name + ".tif")
    return tif if tif.is_file() else path.with_name(path.name + ".png")
