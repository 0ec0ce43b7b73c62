"""Counts → the figures that users read: `result.stats`."""

from __future__ import annotations

from typing import Any

from cdengine.inference.assemble import Totals


def figures(totals: Totals, classes: tuple[str, ...], overlap: float) -> dict[str, Any]:
    """Figures with their units in the names.

    Args:
        totals: what was counted.
        classes: of a semantic model.
        overlap: share of the output grid that both rasters cover.

    Returns:
        Among them, for each pair of classes between which something changed, in the order of the classes,
        "transition_px OLD → NEW" (pixels) and "transition_m2 OLD → NEW" (None for a pair without CRS). They add up to
        `changed_px` and `changed_area_m2`.
    """
    stats: dict[str, Any] = {
        "changed_px": totals.changed,
        "compared_px": totals.valid,
        "changed_percent": 100 * totals.changed / totals.valid if totals.valid else 0.0,
        "changed_area_m2": totals.changed_m2,
        "compared_area_m2": totals.valid_m2,
        "overlap_percent": round(100 * overlap, 3),
    }
    for i, old in enumerate(classes):
        for j, new in enumerate(classes):
            if totals.transitions[i, j]:
                area = None if totals.changed_m2 is None else float(totals.transitions_m2[i, j])
                stats[f"transition_px {old} → {new}"] = int(totals.transitions[i, j])
                stats[f"transition_m2 {old} → {new}"] = area
    return stats
