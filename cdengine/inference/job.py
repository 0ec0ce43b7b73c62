"""One detection as a fixed plan: which files come out, what identifies the job, what each output says of itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cdengine import __version__
from cdengine.errors import UsageError
from cdengine.inference.choose import Choice
from cdengine.inference.options import DetectOptions
from cdengine.raster.checksum import digest
from cdengine.raster.pair import Pair
from cdengine.raster.source import fingerprint
from cdengine.vector.files import check_suffix

RASTERS = ("change", "probability", "before_classes", "after_classes", "transitions")
RASTER_SUFFIXES = (".tif", ".tiff")
SUFFIXES = {"report": (".html", ".htm"), "quicklook": (".png",)}


def targets(output: str, options: DetectOptions) -> dict[str, Path]:
    """Output name → path, in the order in which they are published.

    Raises:
        UsageError: a suffix that does not fit its output.
    """
    asked = {"change": output, "probability": options.probability, "polygons": options.polygons}
    asked |= {name: getattr(options, name) for name in ("before_classes", "after_classes", "transitions")}
    asked |= {"quicklook": options.quicklook, "report": options.report}
    found = {name: Path(path) for name, path in asked.items() if path is not None}
    for name, path in found.items():
        if name == "polygons":
            check_suffix(path)
        else:
            wanted = RASTER_SUFFIXES if name in RASTERS else SUFFIXES[name]
            if path.suffix.lower() not in wanted:
                raise UsageError(f"{path}: the {name.replace('_', ' ')} output must end in {' or '.join(wanted)}")
    return found


def fingerprint_job(before: str, after: str, choice: Choice, options: DetectOptions) -> dict[str, Any]:
    """Flat facts that make two runs the same job; the first that differs is what a refused `--resume` names."""
    models = [f"{name} {digest(Path(name))}" if Path(name) in choice.files else name for name in choice.names]
    facts: dict[str, Any] = {"version": __version__, "models": models}
    facts |= {role: _members(path) for role, path in (("before", before), ("after", after))}
    facts |= {name: value for name, value in options.fingerprint().items() if name not in ("model", "ensemble")}
    if options.aoi is not None:
        facts["aoi"] = _members(options.aoi.split("|")[0])
    return facts


def _members(path: str) -> list[list[str | int]]:
    return [list(item) for item in fingerprint(path)]


def token(facts: dict[str, Any]) -> str:
    """A short name of the job."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def tags(
    pair: Pair, choice: Choice, options: DetectOptions, threshold: float, described: dict[str, str | float], job: str
) -> dict[str, str]:
    """What every output raster says of how it was made."""
    found = {
        "VERSION": __version__,
        "MODEL": choice.label,
        "THRESHOLD": repr(threshold),
        "BEFORE": pair.before.uri,
        "AFTER": pair.after.uri,
        "BANDS_BEFORE": _commas(pair.before.bands),
        "BANDS_AFTER": _commas(pair.after.bands),
        "ALIGNMENT": pair.alignment.text,
        "PARAMETERS": json.dumps(chosen(options), sort_keys=True),
        "JOB": job,
    }
    if choice.files:
        found["MODEL_SHA256"] = ",".join(digest(path) for path in choice.files)
    found |= {name.upper(): str(value) for name, value in described.items()}
    return {f"CDENGINE_{name}": value for name, value in found.items()}


def chosen(options: DetectOptions) -> dict[str, Any]:
    """Options that shape the result, without paths (they may hold names that are nobody's business).

    Models are left out too: their names and sums stand in tags of their own.
    """
    paths = {"polygons", "probability", "before_classes", "after_classes", "transitions", "report", "quicklook", "aoi"}
    paths |= {"model", "ensemble"}
    values = {name: getattr(options, name) for name in options.fingerprint()}
    return {name: value for name, value in values.items() if name not in paths and value not in (None, (), False)}


def _commas(items: Iterable[object]) -> str:
    return ",".join(str(item) for item in items)
