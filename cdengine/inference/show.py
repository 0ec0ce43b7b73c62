"""Pictures and the report of a detection, made from the rasters just written."""

from __future__ import annotations

from typing import Any

from cdengine.events import Reporter
from cdengine.inference.assemble import Assembly, Totals
from cdengine.inference.options import DetectOptions
from cdengine.raster.pair import Pair
from cdengine.raster.publish import Publication


def show(
    publication: Publication,
    assembly: Assembly,
    pair: Pair,
    model: str,
    options: DetectOptions,
    totals: Totals,
    stats: dict[str, Any],
    described: dict[str, str | float],
    reporter: Reporter,
) -> None:
    """Writes the quick-look and the report where they were asked for."""
    if not {"quicklook", "report"} & publication.targets.keys():
        return
