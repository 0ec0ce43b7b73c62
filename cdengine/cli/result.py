"""What a command hands back to `main`: files, figures, and what to print."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Result:
    """Outcome of a command that succeeded.

    Attributes:
        outputs: name → path, as in the `result` event.
        stats: name → number (None where a figure has no meaning, such as areas without a CRS).
        text: what a person reads when no JSON was asked for.
        answer: the machine-readable answer of commands that have `--json`.
    """

    outputs: dict[str, str] = field(default_factory=dict)
    stats: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    answer: dict[str, Any] | None = None
