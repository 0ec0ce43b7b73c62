"""What `detect` hands back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cdengine.vector.area import area_text


@dataclass(frozen=True)
class DetectionResult:
    """Files and figures of a finished detection.

    Attributes:
        outputs: name ("change", "polygons", …) → path.
        stats: figures with their units in the names; `changed_area_m2` is None for a pair without CRS.
        model: what found the changes.
    """

    outputs: dict[str, str]
    stats: dict[str, Any]
    model: str

    def summary(self) -> str:
        """A few lines for a terminal."""
        stats = self.stats
        if stats.get("compared_px") == 0:
            lines = ["nothing could be compared: nowhere do both dates have data"]
            return "\n".join(lines + self._paths())
        changed = f"{stats['changed_percent']:.2f} % of the compared pixels"
        if stats.get("changed_area_m2") is not None:
            changed = f"{area_text(stats['changed_area_m2'])}, {changed}"
        lines = [f"changed: {changed} (threshold {stats['threshold']:.3g} on {self.model})"]
        if "polygons" in stats:
            lines[0] += f", {stats['polygons']:,} polygons"
        return "\n".join(lines + self._paths())

    def _paths(self) -> list[str]:
        width = max(len(name) for name in self.outputs) + 1
        return [f"{name + ':':<{width}} {path}" for name, path in self.outputs.items()]
