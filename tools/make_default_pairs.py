"""Makes what the default model is trained on: rendered scenes (needed), and composites on disk (to look at, to share).

    python -m tools.make_default_pairs ../shared/data --scenes 400 [--part 0/2]
    python -m tools.make_default_pairs ../shared/data --pairs 200 --output build/default/validation --held-out
    python -m tools.make_default_pairs ../shared/data --pairs 2000 --output build/default/pairs [--part 0/2]
    python -m tools.make_default_pairs ../shared/data --sheet build/default/sheet.png

Several processes share the work by `--part I/N`; what is there already is left. The pairs lie as `--layout pairs` reads
them, with truth/ beside for what that layout cannot hold.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from cdengine.events import Reporter
from cdengine.synthesis.composites.compose import Composer
from cdengine.synthesis.composites.scenepool import read_scenes, write_scenes
from cdengine.synthesis.composites.sources import UNKNOWN, read_library
from cdengine.synthesis.composites.writing import write_pairs

FOLDER = Path("build/default")
OUTLINES = Path("configs/rgb-vhr-v1.outlines.json")
SCENES_HELD_OUT = 16  # the first ones
SEED, SEED_HELD_OUT = 1, 99


def composer_of(data: Path, held_out: bool) -> Composer:
    """The composer of training, or the one of validation: other images, other scenes, other seed."""
    library = read_library(data / "single", held_out, OUTLINES)
    scenes = read_scenes(FOLDER / "scenes")
    part = scenes[:SCENES_HELD_OUT] if held_out else scenes[SCENES_HELD_OUT:]
    return Composer(library, part, SEED_HELD_OUT if held_out else SEED)


def write_sheet(path: Path, composer: Composer, rows: int = 8, columns: int = 3) -> None:
    """Pairs with their truth (white: changed, grey: not known) side by side."""
    tiles = []
    for number in range(rows * columns):
        pair = composer.compose(number)
        truth = np.where(pair.change == UNKNOWN, 90, pair.change * 255).astype(np.uint8)
        tiles.append(np.concatenate([pair.before, pair.after, np.repeat(truth[..., None], 3, 2)], 1))
    lines = [np.concatenate(tiles[k : k + columns], 1) for k in range(0, len(tiles), columns)]
    Image.fromarray(np.concatenate(lines)).save(path)


def main() -> None:
    """Does what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--scenes", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--output", type=Path, default=FOLDER / "pairs")
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--part", default="0/1")
    args = parser.parse_args()
    first, step = (int(value) for value in args.part.split("/"))
    if args.scenes:
        print(write_scenes(FOLDER / "scenes", args.scenes, first, step, Reporter()), "scenes rendered")
    if args.pairs or args.sheet:
        composer = composer_of(args.data, args.held_out)
        if args.pairs:
            print(write_pairs(args.output, composer, args.pairs, first, step, Reporter()), "pairs written")
        if args.sheet:
            write_sheet(args.sheet, composer)


if __name__ == "__main__":
    main()
