"""From a number to a change pair: what stands on both dates, what on one, and the truth about it.

Convention of the truth: 1 where a building's roof, as it is seen, stands on one date only; roads, yards, bare soil,
vegetation, water, vehicles and shadows are never a change; 255 (not known) where a building gave way to another one,
or where ground changed under houses that nobody labelled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.ndimage

from cdengine.synthesis.composites import paint
from cdengine.synthesis.composites.appearance import RIM, appear
from cdengine.synthesis.composites.cutouts import Cutout, cut_out
from cdengine.synthesis.composites.estates import Estate, sample_estate
from cdengine.synthesis.composites.light import Light
from cdengine.synthesis.composites.scenepool import REPLACED, Scene
from cdengine.synthesis.composites.shapes import region, rough_noise
from cdengine.synthesis.composites.sources import GREEN_KINDS, LAWN_KINDS, UNKNOWN, Library, fill

Array = np.ndarray[Any, np.dtype[Any]]
F = np.float32
SIDE = 256
CANVAS = SIDE + 2 * RIM
# Shares of the kinds of pairs.
KINDS = {"estate": 0.36, "scene": 0.16, "swap": 0.18, "removed": 0.14, "unchanged": 0.16}


@dataclass(frozen=True)
class Composite:
    """A pair with its truth.

    Attributes:
        before, after: (SIDE, SIDE, 3) uint8.
        change: (SIDE, SIDE) uint8: 0, 1, or 255 where it is not known.
        before_building, after_building: (SIDE, SIDE) uint8: 0, 1, 255: what each date shows.
        kind: a key of `KINDS`.
    """

    before: Array
    after: Array
    change: Array
    before_building: Array
    after_building: Array
    kind: str


class _Stage:
    """Two dates of one place while they are being painted."""

    def __init__(self, picture: Array, label: Array) -> None:
        self.pictures = [picture.astype(F), picture.astype(F)]
        self.labels = [label.copy(), label.copy()]
        self.same = np.ones(label.shape, bool)

    def change(self) -> Array:
        one, two = self.labels
        known = (one != UNKNOWN) & (two != UNKNOWN) & ~((one == 1) & (two == 1))
        return np.where(self.same, 0, np.where(known, one != two, UNKNOWN)).astype(np.uint8)


class Composer:
    """Makes pair number i of a series; the same number gives the same pixels.

    Args:
        library: the free images.
        scenes: rendered pairs; without any, their share goes to the other kinds.
        seed: of the series.
        strength: factor on the differences of colour between the dates.
    """

    def __init__(self, library: Library, scenes: list[Scene], seed: int, strength: float = 1.0) -> None:
        self.library, self.scenes, self.seed, self.strength = library, scenes, seed, strength
        self.cutouts: dict[str, list[Cutout]] = {}
        for source in library.labelled:
            self.cutouts.setdefault(source.kind, []).extend(cut_out(source))
        self.cutouts = {kind: pieces for kind, pieces in self.cutouts.items() if pieces}
        self._known = {k: v for k, v in library.towns.items() if any(s in library.labelled for s in v)}
        self._lawn = {k: v for k, v in library.grounds.items() if k in LAWN_KINDS}
        self._leaves = {k: v for k, v in library.grounds.items() if k in ("forest", "neon")}
        self._green = {k: v for k, v in library.grounds.items() if k in GREEN_KINDS}

    def compose(self, index: int) -> Composite:
        """Pair number `index`."""
        rng = np.random.default_rng([self.seed, index])
        kinds = {k: v for k, v in KINDS.items() if self.scenes or k != "scene"}
        weights = np.asarray(list(kinds.values()))
        kind = str(rng.choice(list(kinds), p=weights / weights.sum()))
        gsd = math.exp(rng.uniform(math.log(0.3), math.log(0.9)) if rng.random() < 0.7 else rng.uniform(-0.1, 0.7))
        stage = getattr(self, f"_{kind}")(rng, gsd)
        return self._finish(rng, stage, kind)

    def _finish(self, rng: np.random.Generator, stage: _Stage, kind: str) -> Composite:
        order = (0, 1) if rng.random() < 0.5 else (1, 0)
        strength = self.strength * float(rng.choice([0.4, 0.9, 1.3], p=[0.25, 0.55, 0.2]))
        looks = [appear(stage.pictures[k], rng, SIDE, strength) for k in order]
        inner = (slice(RIM, -RIM), slice(RIM, -RIM))
        labels = [stage.labels[k][inner] for k in order]
        return Composite(looks[0], looks[1], stage.change()[inner], labels[0], labels[1], kind)

    # Grounds

    def _fill(self, rng: np.random.Generator, gsd: float, what: str) -> tuple[Array, Array]:
        pools = {
            "ground": self.library.grounds,
            "green": self._green,
            "leaves": self._leaves,
            "lawn": self._lawn,
            "town": self.library.towns,
            "known": self._known,
        }
        pool = pools[what]
        kinds = list(pool)
        # dubai_hitl has a dozen times the ground of the other kinds
        weights = np.asarray([3.0 if kind == "dubai_hitl" else 1.0 for kind in kinds])
        sources = pool[str(rng.choice(kinds, p=weights / weights.sum()))]
        scale = min(1.3, max(0.22, sources[0].gsd / gsd * rng.uniform(0.8, 1.25)))
        if what in ("ground", "lawn", "leaves", "green"):  # ground looks alike at many scales
            scale = max(scale, rng.uniform(0.4, 1.1))
        return fill(sources, rng, scale, CANVAS, turn=rng.random() < 0.5)

    def _place(self, rng: np.random.Generator, gsd: float, town: float) -> _Stage:
        """Both dates of a place where nothing has happened yet: one kind of ground or town, or a few side by side."""
        picture, label = self._fill(rng, gsd, "town" if rng.random() < town else "ground")
        picture, label = picture.copy(), label.copy()
        for _ in range(int(rng.choice(3, p=[0.4, 0.4, 0.2]))):
            other, other_label = self._fill(rng, gsd, "town" if rng.random() < 0.5 * town else "ground")
            there = region(rng, CANVAS)
            mixed = picture + (other - picture.astype(F)) * there[..., None]
            picture = mixed.astype(np.uint8)
            label = np.where(there > F(0.5), other_label, label)
        return _Stage(picture, label)

    def _other_ground(self, rng: np.random.Generator, stage: _Stage, gsd: float, chance: float) -> None:
        """On one date, parts of the ground are of another kind: ploughed, felled, grown over, snowed on, flooded."""
        while rng.random() < chance:
            chance *= 0.5
            date = int(rng.integers(2))
            known = stage.labels[date] == 0
            there = region(rng, CANVAS) * known
            draw = rng.random()
            if draw < 0.65:
                ground = self._fill(rng, gsd, "ground")[0].astype(F)
            elif draw < 0.9:
                tint = np.exp(rng.normal(0, 0.25, 3) + rng.normal(0, 0.3)).astype(F)
                ground = stage.pictures[date] * tint
            else:
                level = rng.uniform(20, 250) + rng.normal(0, 15, 3)
                ground = level.astype(F) * (F(1) + F(0.06) * rough_noise(rng, CANVAS, 40))[..., None]
            paint.lay_ground(stage.pictures[date], there, ground)
            stage.same &= there < F(0.3)

    # Objects

    def _build(
        self, rng: np.random.Generator, stage: _Stage, gsd: float, estate: Estate, dates: tuple[int, ...]
    ) -> None:
        """Puts an estate on some dates. Where it stands on one only, the other may show its roads or its bare lots."""
        both = len(dates) == 2
        pasted = self._as_cutouts(rng, estate) if rng.random() < 0.4 else []
        reach = [(w.x, w.y, max(w.length, w.width) * 1.1) for b in estate.buildings for w in b.wings[-1:]]
        lots = paint.estate_ground(reach, CANVAS) if rng.random() < 0.8 else None
        ground = self._fill(rng, gsd, "ground" if rng.random() < 0.3 else "lawn")[0].astype(F)
        leaves = self._fill(rng, gsd, "leaves")[0].astype(F)
        early = not both and rng.random() < 0.3
        noise, grain = rough_noise(rng, CANVAS, 12), rng.uniform(0.01, 0.14)
        for date in (0, 1):
            picture, label = stage.pictures[date], stage.labels[date]
            stands = date in dates
            if not stands and not early:
                continue
            known = label != UNKNOWN
            if lots is not None and (stands or rng.random() < 0.6):
                soil = ground if stands or both else self._fill(rng, gsd, "ground")[0].astype(F)
                there = lots * known
                paint.lay_ground(picture, there, soil)
                label[there >= F(0.5)] = 0
                stage.same &= (there < F(0.3)) | both
            streets = [s for s in estate.strokes if stands or s.width > 0]
            if streets:
                there = paint.lay_strokes(picture, streets, noise, grain)
                label[(there >= F(0.5))] = 0
                stage.same &= (there < F(0.3)) | both
            if stands:
                self._raise(rng, stage, date, estate, pasted, leaves, noise, grain, both)

    def _raise(
        self, rng: np.random.Generator, stage: _Stage, date: int, estate: Estate, pasted: list[paint.Paste],
        leaves: Array, noise: Array, grain: float, both: bool,
    ) -> None:  # fmt: skip
        picture, label, light = stage.pictures[date], stage.labels[date], self._lights[date]
        if pasted:
            covered = paint.lay_pastes(picture, label, pasted, light)
        else:
            easel = paint.easel_of(estate.buildings, CANVAS, light)
            covered = paint.lay_buildings(picture, label, easel, noise, grain)
        if both:
            stage.same |= covered
        else:
            stage.same &= ~covered
        if estate.trees:
            paint.lay_trees(picture, label, estate.trees, leaves, light, noise)

    def _as_cutouts(self, rng: np.random.Generator, estate: Estate) -> list[paint.Paste]:
        """A cut-out in place of each building; on streets, often the same few."""
        if not self.cutouts:
            return []
        pool = self.cutouts[str(rng.choice(list(self.cutouts)))]
        few = rng.integers(len(pool), size=int(rng.integers(2, 12)))
        pastes = []
        for building in estate.buildings:
            wing = building.wings[-1]
            length = max(wing.length, wing.width)
            if length > 110:
                continue
            angle = wing.angle + (math.pi / 2 if wing.width > wing.length else 0)
            gains = np.exp(rng.normal(0, 0.08, 3) + rng.normal(0, 0.15))
            cutout = pool[int(few[int(rng.integers(len(few)))])]
            pastes.append(
                paint.Paste(cutout, wing.x, wing.y, length, angle, wing.height,
                            (float(gains[0]), float(gains[1]), float(gains[2])), bool(rng.random() < 0.5))
            )  # fmt: skip
        return pastes

    def _vehicles(self, rng: np.random.Generator, stage: _Stage, gsd: float) -> None:
        for date in (0, 1):
            if rng.random() < 0.5:
                continue
            cars = []
            for _ in range(int(rng.integers(1, 25))):
                long = rng.uniform(3.5, 6) if rng.random() < 0.85 else rng.uniform(6, 14)
                tone = rng.choice([rng.uniform(10, 60), rng.uniform(80, 170), rng.uniform(200, 255)])
                colour = np.clip(tone + rng.normal(0, 25, 3) * (rng.random() < 0.4), 0, 255)
                x, y = rng.uniform(0, CANVAS, 2)
                cars.append(
                    paint.Vehicle(x, y, long / gsd, rng.uniform(1.7, 2.6) / gsd, rng.uniform(0, math.pi),
                                  (int(colour[0]), int(colour[1]), int(colour[2])))
                )  # fmt: skip
            paint.lay_vehicles(stage.pictures[date], cars, self._lights[date])

    def _trees(self, rng: np.random.Generator, stage: _Stage, gsd: float, both: bool) -> None:
        """Single trees on ground without buildings, grown or felled between the dates, or there all the time."""
        count = int(rng.integers(3, 40))
        trees = [
            (*rng.uniform(0, CANVAS, 2), radius) for radius in np.exp(rng.uniform(0.2, 1.8, count)) / math.sqrt(gsd)
        ]
        leaves = self._fill(rng, gsd, "leaves")[0].astype(F)
        noise = rough_noise(rng, CANVAS, 8)
        for date in (0, 1) if both else (int(rng.integers(2)),):
            paint.lay_trees(stage.pictures[date], stage.labels[date], trees, leaves, self._lights[date], noise)

    # Kinds of pairs

    def _lit(self, rng: np.random.Generator) -> None:
        self._lights = [Light.sample(rng), Light.sample(rng)]
        if rng.random() < 0.3:
            self._lights[1] = replace(self._lights[0], lean=self._lights[1].lean)

    def _estate(self, rng: np.random.Generator, gsd: float) -> _Stage:
        """Buildings put up on real ground between the dates, and others that stand on both."""
        self._lit(rng)
        stage = self._place(rng, gsd, 0.25)
        self._other_ground(rng, stage, gsd, 0.7)
        if rng.random() < 0.3:
            self._trees(rng, stage, gsd, rng.random() < 0.5)
        if rng.random() < 0.45:
            self._build(rng, stage, gsd, sample_estate(rng, CANVAS, gsd), (0, 1))
        date = int(rng.integers(2))
        for _ in range(1 + int(rng.random() < 0.35)):
            estate = sample_estate(rng, CANVAS, gsd)
            if rng.random() < 0.12:  # a street without houses yet
                estate.buildings = []
            self._build(rng, stage, gsd, estate, (date if rng.random() < 0.85 else 1 - date,))
        self._vehicles(rng, stage, gsd)
        return stage

    def _unchanged(self, rng: np.random.Generator, gsd: float) -> _Stage:
        """No building comes or goes; ground, plants, vehicles, light and season do."""
        self._lit(rng)
        stage = self._place(rng, gsd, 0.65)
        if rng.random() < 0.6:
            self._other_ground(rng, stage, gsd, 0.7)
        if rng.random() < 0.4:
            self._build(rng, stage, gsd, sample_estate(rng, CANVAS, gsd), (0, 1))
        if rng.random() < 0.3:
            self._trees(rng, stage, gsd, False)
        if rng.random() < 0.15:
            estate = sample_estate(rng, CANVAS, gsd)
            estate.buildings = []
            self._build(rng, stage, gsd, estate, (int(rng.integers(2)),))
        self._vehicles(rng, stage, gsd)
        return stage

    def _scene(self, rng: np.random.Generator, gsd: float) -> _Stage:
        """A crop of a rendered pair."""
        self._lit(rng)
        pictures, labels = self._crop(rng)
        stage = _Stage(pictures[0], labels[0] & 1)
        stage.pictures[1] = pictures[1].astype(F)
        stage.labels[1] = labels[1] & 1
        stage.same = ((labels[0] & 1) == (labels[1] & 1)) & (((labels[0] | labels[1]) & REPLACED) == 0)
        return stage

    def _crop(self, rng: np.random.Generator) -> tuple[list[Array], list[Array]]:
        """A place of a rendered pair, with a change in it if there is one, turned and mirrored."""
        scene = self.scenes[int(rng.integers(len(self.scenes)))]
        span = scene.before_label.shape[0] - CANVAS
        best, top, left = -1, 0, 0
        for _ in range(3):
            r, c = (int(v) for v in rng.integers(0, span + 1, 2))
            part = (slice(r, r + CANVAS), slice(c, c + CANVAS))
            score = int(np.count_nonzero(scene.before_label[part] != scene.after_label[part]))
            if score > best:
                best, top, left = score, r, c
        part = (slice(top, top + CANVAS), slice(left, left + CANVAS))
        quarter, mirrored = int(rng.integers(4)), rng.random() < 0.5

        def turned(array: Array) -> Array:
            out = np.rot90(array[part], quarter)
            return np.ascontiguousarray(out[:, ::-1] if mirrored else out)

        return [turned(scene.before), turned(scene.after)], [turned(scene.before_label), turned(scene.after_label)]

    def _swap(self, rng: np.random.Generator, gsd: float) -> _Stage:
        """On one date, part of the place is another place whose buildings are known."""
        self._lit(rng)
        stage = self._place(rng, gsd, 0.1)
        self._other_ground(rng, stage, gsd, 0.5)
        there = region(rng, CANVAS) if rng.random() < 0.6 else np.ones((CANVAS, CANVAS), F)
        if self.scenes and rng.random() < 0.35:
            pictures, labels = self._crop(rng)
            pick = int(rng.integers(2))
            picture, label = pictures[pick], labels[pick] & 1
        else:
            picture, label = self._fill(rng, gsd, "known")
        date = int(rng.integers(2))
        paint.lay_ground(stage.pictures[date], there, picture.astype(F))
        stage.labels[date] = np.where(there > F(0.5), label, stage.labels[date])
        stage.same &= there < F(0.3)
        self._vehicles(rng, stage, gsd)
        return stage

    def _removed(self, rng: np.random.Generator, gsd: float) -> _Stage:
        """A real place whose buildings are known; on one date some or all of them are not there, ground is."""
        self._lit(rng)
        stage = _Stage(*self._fill(rng, gsd, "known"))
        numbers, count = scipy.ndimage.label(stage.labels[0] == 1)
        date = int(rng.integers(2))
        gone = np.flatnonzero(rng.random(count) < rng.choice([0.3, 0.7, 1.0])) + 1
        boxes = scipy.ndimage.find_objects(numbers, count)
        lots = []
        for number in gone:
            rows, cols = boxes[number - 1]
            reach = math.hypot(rows.stop - rows.start, cols.stop - cols.start) / 2 * rng.uniform(1.0, 1.5) + 3
            lots.append(((cols.start + cols.stop) / 2, (rows.start + rows.stop) / 2, reach))
        there = paint.estate_ground(lots, CANVAS)
        if rng.random() < 0.3:  # the whole quarter was built
            there = np.maximum(there, region(rng, CANVAS))
            gone = np.arange(1, count + 1)
        there[(numbers > 0) & ~np.isin(numbers, gone)] = 0
        ground = self._fill(rng, gsd, "ground")[0].astype(F)
        paint.lay_ground(stage.pictures[date], there, ground)
        stage.labels[date][there >= F(0.5)] = 0
        stage.same &= there < F(0.3)
        self._other_ground(rng, stage, gsd, 0.3)
        self._vehicles(rng, stage, gsd)
        return stage
