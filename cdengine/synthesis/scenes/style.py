"""Everything about a scene that is drawn by lot: one frozen value for the place, one for each date, one for change."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

MAX_SHIFT_PX = 2.0


@dataclass(frozen=True)
class DateStyle:
    """One date: light, season, air and sensor.

    Attributes:
        sun_azimuth: where the sun stands, degrees clockwise from north (up in the picture).
        sun_elevation: degrees above the horizon.
        green: vigour of low vegetation, 0 parched to 1 lush.
        leaf: foliage of deciduous trees, 0 bare to 1 full.
        autumn: share of deciduous trees in autumn colour.
        wet: darkening of soil, 0 dry to 1 wet.
        haze: share of path radiance in the signal, 0 to 0.3.
        sky: brightness of skylight relative to a clear day.
        exposure: factor on the radiance.
        gamma: exponent of the display curve for 8-bit pictures.
        balance: gains of red, green, blue, nir.
        saturation: factor on colour contrast of 8-bit pictures.
        blur: sigma of the sensor's point spread function in pixels.
        sharpen: amount of unsharp masking in the product.
        noise: standard deviation of sensor noise in 8-bit counts.
        jpeg: quality of lossy compression in the product, 0 for none (8-bit pictures only).
        lean: displacement of roofs per metre of height, in x and y (tangent of the view angle).
        shift: misregistration of the picture in pixels, x and y; truth is not shifted.
        traffic: share of occupied parking places and road positions.
    """

    sun_azimuth: float
    sun_elevation: float
    green: float
    leaf: float
    autumn: float
    wet: float
    haze: float
    sky: float
    exposure: float
    gamma: float
    balance: tuple[float, float, float, float]
    saturation: float
    blur: float
    sharpen: float
    noise: float
    jpeg: int
    lean: tuple[float, float]
    shift: tuple[float, float]
    traffic: float

    @staticmethod
    def sample(rng: np.random.Generator) -> DateStyle:
        """A date by lot, not shifted."""
        season = rng.choice(["summer", "spring", "autumn", "winter", "dry"], p=[0.36, 0.2, 0.14, 0.15, 0.15])
        green, leaf, autumn, elevation = {
            "summer": (rng.uniform(0.45, 1.0), 1.0, 0.0, rng.uniform(42, 66)),
            "spring": (rng.uniform(0.6, 1.0), rng.uniform(0.5, 1.0), 0.0, rng.uniform(36, 60)),
            "autumn": (rng.uniform(0.3, 0.8), rng.uniform(0.5, 0.9), rng.uniform(0.2, 0.8), rng.uniform(28, 45)),
            "winter": (rng.uniform(0.1, 0.6), rng.uniform(0.0, 0.2), 0.1, rng.uniform(24, 38)),
            "dry": (rng.uniform(0.0, 0.3), rng.uniform(0.8, 1.0), 0.05, rng.uniform(45, 68)),
        }[str(season)]
        lean_size = 0.0 if rng.random() < 0.5 else rng.uniform(0.02, 0.16)
        lean_to = rng.uniform(0, 2 * math.pi)
        warm, tint = rng.normal(0, 0.045), rng.normal(0, 0.02)
        return DateStyle(
            sun_azimuth=float(rng.uniform(95, 265)),
            sun_elevation=float(elevation),
            green=float(green),
            leaf=float(leaf),
            autumn=float(autumn),
            wet=float(rng.beta(1.2, 2.5)),
            haze=float(rng.beta(1.2, 4.0) * 0.22),
            sky=float(rng.uniform(0.7, 1.25)),
            exposure=float(rng.uniform(0.78, 1.25)),
            gamma=float(rng.uniform(1.9, 2.35)),
            balance=(
                float(1 + warm + tint / 2),
                float(1 - tint),
                float(1 - warm + tint / 2),
                float(rng.uniform(0.9, 1.1)),
            ),
            saturation=float(rng.uniform(0.8, 1.2)),
            blur=float(rng.uniform(0.2, 0.6)),
            sharpen=float(max(0.0, rng.uniform(-0.4, 0.7))),
            noise=float(rng.uniform(0.4, 3.0)),
            jpeg=int(rng.integers(60, 96)) if rng.random() < 0.35 else 0,
            lean=(float(lean_size * math.cos(lean_to)), float(lean_size * math.sin(lean_to))),
            shift=(0.0, 0.0),
            traffic=float(rng.uniform(0.15, 0.8)),
        )


@dataclass(frozen=True)
class SceneStyle:
    """One place: how dense, how orderly, of what materials; and its two dates.

    Attributes:
        urban: from 0 (countryside) to 1 (city centre).
        spread: how much density varies over the place.
        block_scale: factor on the area of blocks and fields.
        warp: how much roads bend, 0 to 1.
        trees: density of single trees, factor.
        river: whether a river crosses the place.
        ponds: expected ponds per 10 hectares of open ground.
        roofs: weights of the roof palettes (tile, dark, grey, bright).
        soil: hue of bare soil, 0 grey-brown to 1 red.
        asphalt: brightness of asphalt, factor.
        conifers: share of evergreen trees.
        sidewalks: whether town roads have sidewalks.
        flat_roofs: share of flat roofs among houses.
        before: the first date.
        after: the second date.
    """

    urban: float
    spread: float
    block_scale: float
    warp: float
    trees: float
    river: bool
    ponds: float
    roofs: tuple[float, float, float, float]
    soil: float
    asphalt: float
    conifers: float
    sidewalks: bool
    flat_roofs: float
    before: DateStyle
    after: DateStyle

    @staticmethod
    def sample(rng: np.random.Generator) -> SceneStyle:
        """A place by lot: the domain that models are trained on."""
        before = DateStyle.sample(rng)
        after = DateStyle.sample(rng)
        if rng.random() < 0.3:  # two dates of the same season, as a careful buyer of imagery would order
            after = replace(
                after, green=before.green, leaf=before.leaf, autumn=before.autumn, sun_elevation=before.sun_elevation
            )
        size = MAX_SHIFT_PX * rng.beta(1.0, 2.5)
        to = rng.uniform(0, 2 * math.pi)
        after = replace(after, shift=(float(size * math.cos(to)), float(size * math.sin(to))))
        roofs = rng.dirichlet([0.9, 0.9, 0.7, 0.5])
        return SceneStyle(
            urban=float(rng.beta(1.3, 1.2)),
            spread=float(rng.uniform(0.1, 0.5)),
            block_scale=float(rng.uniform(0.6, 1.5)),
            warp=float(rng.beta(1, 1.6)),
            trees=float(rng.uniform(0.3, 1.6)),
            river=bool(rng.random() < 0.12),
            ponds=float(rng.uniform(0, 0.6)),
            roofs=(float(roofs[0]), float(roofs[1]), float(roofs[2]), float(roofs[3])),
            soil=float(rng.beta(1, 2)),
            asphalt=float(rng.uniform(0.75, 1.35)),
            conifers=float(rng.beta(1, 2)),
            sidewalks=bool(rng.random() < 0.7),
            flat_roofs=float(rng.beta(1, 4)),
            before=before,
            after=after,
        )


@dataclass(frozen=True)
class ChangeRates:
    """Chances of change, each per object of its kind that the scene holds.

    Attributes:
        built: a building that stands on the second date only.
        demolished: a building that stands on the first date only.
        replaced: a building that gives way to another one, or gets another roof (same class, yet a change).
        developed: an open block that becomes a built one, roads included.
        felled: a forest stand cut in part or whole.
        planted: a meadow turned to young forest.
        flooded: new water, per block of open land.
        felled_tree: a single tree gone.
        paved: open ground turned to a parking area.
    """

    built: float = 0.07
    demolished: float = 0.06
    replaced: float = 0.05
    developed: float = 0.2
    felled: float = 0.35
    planted: float = 0.06
    flooded: float = 0.08
    felled_tree: float = 0.02
    paved: float = 0.12

    def scaled(self, factor: float) -> ChangeRates:
        """All chances times `factor`, at most 0.9."""
        return ChangeRates(**{name: min(0.9, rate * factor) for name, rate in vars(self).items()})


TYPICAL = ChangeRates()
NO_CHANGE = ChangeRates(**dict.fromkeys(vars(TYPICAL), 0.0))
