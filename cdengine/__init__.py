"""Remote-sensing change detection: two images of one place in, georeferenced change layers out.

    import cdengine
    result = cdengine.detect("before.tif", "after.tif", "change.tif", polygons="changes.gpkg")
    print(result.stats["changed_area_m2"])

Importing this loads neither torch nor rasterio; the functions below load what they need when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cdengine.errors import CDEngineError
    from cdengine.inference.detect import detect
    from cdengine.inference.evaluate import evaluate
    from cdengine.inference.pseudolabel import PseudoLabelOptions, pseudo_label
    from cdengine.inference.result import DetectionResult
    from cdengine.models.modelfile import load_model
    from cdengine.training.chain import run_chain
    from cdengine.training.chainconfig import load_chain
    from cdengine.training.fit import TrainResult, train

__all__ = [
    "CDEngineError",
    "DetectionResult",
    "PseudoLabelOptions",
    "TrainResult",
    "__version__",
    "detect",
    "evaluate",
    "load_chain",
    "load_model",
    "pseudo_label",
    "run_chain",
    "train",
]

_HOMES = {
    "CDEngineError": "cdengine.errors",
    "detect": "cdengine.inference.detect",
    "evaluate": "cdengine.inference.evaluate",
    "DetectionResult": "cdengine.inference.result",
    "load_chain": "cdengine.training.chainconfig",
    "load_model": "cdengine.models.modelfile",
    "pseudo_label": "cdengine.inference.pseudolabel",
    "PseudoLabelOptions": "cdengine.inference.pseudolabel",
    "run_chain": "cdengine.training.chain",
    "train": "cdengine.training.fit",
    "TrainResult": "cdengine.training.fit",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 (PEP 562)
    if name not in _HOMES:
        raise AttributeError(f"module 'cdengine' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
