"""How results look: a style file beside each output, and a name for the layer where Processing loads it.

The style file is what counts: models, batches and qgis_process load no layers, and whoever opens the result later finds
it styled. Post-processors add what only a loaded layer can have.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from dataclasses import dataclass
from typing import Deque, Dict, Iterable, Optional, Sequence, Union

from qgis.core import (
    Qgis,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsRasterLayer,
    QgsVectorLayer,
)

from . import classstyles
from .settings import resource
from .transitions import Transition

MARK = "cdengine/style"
ABSTRACTS = {
    "change": "0 unchanged, 1 changed, 255 no data (outside the common area or the area of interest).",
    "probability": "Probability of change. Changed is where it is at least the threshold (in the file's metadata).",
    "polygons": "Changed areas: area_m2 on the ellipsoid, probability is the mean over the polygon.",
    "classes": "Class of each pixel; 255 no data (outside the common area or the area of interest).",
    "transitions": "What changed into what: 0 unchanged, 1 + before × classes + after, 65535 no data.",
    "table": "What changed into what, over all changed pixels; areas on the ellipsoid.",
}


@dataclass(frozen=True)
class Looks:
    """How one output looks.

    Attributes:
        style: change, probability, polygons, classes, transitions or table.
        name: what the layer is called, unless Processing's options say: like its file.
        transitions: what changed into what in the run, where that is known.
    """

    style: str
    name: str
    transitions: Sequence[Transition] = ()


class Dresser(QgsProcessingLayerPostProcessorInterface):
    """Describes one result layer once it is loaded, and styles it again from its style file."""

    def __init__(self) -> None:
        super().__init__()
        self.abstract, self.style = "", ""

    def postProcessLayer(self, layer: object, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> None:
        """Called on the main thread after loading."""
        if not isinstance(layer, (QgsRasterLayer, QgsVectorLayer)) or not layer.isValid():
            return
        if self.style:
            # Again, because a default style for outputs in Processing's options has replaced it by now.
            layer.loadNamedStyle(self.style)
        layer.setAbstract(self.abstract)
        layer.triggerRepaint()


# Processing holds a post-processor by a bare pointer: without a reference here it is collected before it is called, and
# the layer stays unstyled without a word. Of runs long past nothing is loaded any more.
_KEPT: Deque[Dresser] = deque(maxlen=500)


def dressers(names: Iterable[str]) -> Dict[str, Dresser]:
    """One post-processor for each output, made on the main thread."""
    made = {name: Dresser() for name in names}
    _KEPT.extend(made.values())
    return made


def dress(path: str, looks: Looks, context: QgsProcessingContext, dresser: Dresser) -> None:
    """Puts the style file beside an output and, where the output will be loaded, names the layer.

    Args:
        path: the output.
        looks: of it.
        context: Processing's.
        dresser: this output's post-processor.
    """
    written = write_style(path, looks.style, looks.transitions)
    if not context.willLoadLayerOnCompletion(path):
        return
    dresser.style, dresser.abstract = written or "", ABSTRACTS.get(looks.style, "")
    details = context.layerToLoadOnCompletionDetails(path)
    details.name = looks.name
    details.setPostProcessor(dresser)


def write_style(path: str, style: str, transitions: Sequence[Transition] = ()) -> Optional[str]:
    """Writes `<output>.qml`; leaves one alone that the user has changed since."""
    target = os.path.splitext(path)[0] + ".qml"
    if os.path.exists(target) and not _ours(target):
        return target
    layer = _with_classes(path, style, transitions)
    if layer is not None:
        layer.setCustomProperty(MARK, style)
        _, good = layer.saveNamedStyle(target)
        return target if good else None
    source = _shipped(path, style)
    if source is None:
        return None
    shutil.copyfile(source, target)
    return target


def _with_classes(
    path: str, style: str, transitions: Sequence[Transition]
) -> Optional[Union[QgsRasterLayer, QgsVectorLayer]]:
    """The output as a layer with a legend of its own classes; None where it has none."""
    if style == "polygons":
        polygons = QgsVectorLayer(path, style, "ogr")
        return polygons if polygons.isValid() and classstyles.of_polygons(polygons, transitions) else None
    if style not in ("classes", "transitions"):
        return None
    raster = QgsRasterLayer(path, style)
    if not raster.isValid():
        return None
    done = classstyles.of_classes(raster) if style == "classes" else classstyles.of_transitions(raster, transitions)
    return raster if done else None


def _shipped(path: str, style: str) -> Optional[str]:
    if style == "probability":
        layer = QgsRasterLayer(path, "probability")
        # Scaled to 0-200 in bytes, or 0-1 in floats.
        is_bytes = layer.isValid() and layer.dataProvider().sourceDataType(1) == Qgis.DataType.Byte
        return resource("styles", "probability_uint8.qml" if is_bytes else "probability.qml")
    name = resource("styles", f"{style}.qml")
    return name if os.path.isfile(name) else None


def _ours(target: str) -> bool:
    """Whether a style file is one that we wrote, byte for byte, or generated for classes."""
    with open(target, "rb") as file:
        content = file.read()
    folder = resource("styles")
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as shipped:
            if shipped.read() == content:
                return True
    return MARK.encode() in content
