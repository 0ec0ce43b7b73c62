#!/usr/bin/python3
"""Generates the plugin's models (qgis_plugin/modeler/*.model3) from the algorithms as they are.

Run with QGIS's Python: /usr/bin/python3 tools/make_models.py [--check]
Written by QGIS 3.22's own model classes, so that the oldest QGIS we support can read them; newer ones upgrade them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "qgis_plugin" / "modeler"

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["QT_HASH_SEED"] = "0"  # Qt writes XML attributes in the order of its hash, which is random otherwise
os.environ.setdefault("QGIS_CUSTOM_CONFIG_PATH", tempfile.mkdtemp(prefix="cdengine-models-"))
sys.path.insert(0, str(ROOT))

from qgis.core import (  # noqa: E402
    QgsApplication,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterDefinition,
)
from qgis.PyQt.QtCore import QPointF  # noqa: E402

Source = QgsProcessingModelChildParameterSource


def add_inputs(model: QgsProcessingModelAlgorithm, definitions: list[QgsProcessingParameterDefinition]) -> None:
    """Parameters of the model, asked in this order."""
    for row, definition in enumerate(definitions):
        component = QgsProcessingModelParameter(definition.name())
        component.setDescription(definition.description())
        component.setPosition(QPointF(150, 80 + 90 * row))
        model.addModelParameter(definition, component)
    model.setParameterOrder([definition.name() for definition in definitions])


def add_child(
    model: QgsProcessingModelAlgorithm,
    algorithm: str,
    name: str,
    sources: dict[str, Source],
    outputs: dict[str, tuple[str, str]],
    place: tuple[float, float],
) -> None:
    """A step; `outputs` are those of the model: output of the child → (name, description)."""
    child = QgsProcessingModelChildAlgorithm(algorithm)
    # Before the outputs: they take the child's id, and would be named ":CHANGE" without it.
    child.setChildId(name)
    child.setDescription(child.algorithm().displayName())
    child.setPosition(QPointF(*place))
    for parameter, source in sources.items():
        if child.algorithm().parameterDefinition(parameter) is None:
            raise SystemExit(f"{algorithm} has no parameter {parameter}")
        child.addParameterSources(parameter, [source])
    for definition in child.algorithm().parameterDefinitions():
        given = definition.name() in sources or definition.isDestination()
        if not given and not definition.flags() & QgsProcessingParameterDefinition.Flag.FlagOptional:
            # The modeler calls a step incomplete without them, even where there is a default.
            child.addParameterSources(definition.name(), [Source.fromStaticValue(definition.defaultValue())])
    made = {}
    for row, (output, (title, text)) in enumerate(outputs.items()):
        if child.algorithm().outputDefinition(output) is None:
            raise SystemExit(f"{algorithm} has no output {output}")
        result = QgsProcessingModelOutput(title, text)
        result.setChildId(name)
        result.setChildOutputName(output)
        result.setPosition(QPointF(place[0] + 250, place[1] + 60 * row))
        made[title] = result
    child.setModelOutputs(made)
    model.addChildAlgorithm(child)


def new_model(name: str, text: str) -> QgsProcessingModelAlgorithm:
    """An empty model; its name becomes its id, so it has no spaces."""
    model = QgsProcessingModelAlgorithm(name, "Workflows", "workflows")
    model.setHelpContent({"ALG_DESC": text, "ALG_CREATOR": "cdengine"})
    return model


def copies(algorithm: str, names: tuple[str, ...]) -> list[QgsProcessingParameterDefinition]:
    """Parameters of an algorithm, to be asked by a model in the same words."""
    original = QgsApplication.processingRegistry().algorithmById(algorithm)
    found = [original.parameterDefinition(name).clone() for name in names]
    for definition in found:
        wrapper = definition.metadata().get("widget_wrapper", {})
        wrapper.pop("class", None)  # it names the plugin's folder, which is called otherwise once installed
        definition.setMetadata({"widget_wrapper": wrapper} if wrapper else {})
    return found


def align_detect_vectorize() -> QgsProcessingModelAlgorithm:
    """Three steps, each of whose results can be looked at."""
    model = new_model(
        "align_detect_vectorize",
        "Registers the later image to the earlier one (a residual shift is removed), detects changes, and makes "
        "polygons. The aligned image and the probability are results too, so each step can be looked at.",
    )
    add_inputs(
        model,
        copies("cdengine:detect", ("BEFORE", "AFTER", "MODEL"))
        + copies("cdengine:vectorize", ("MIN_AREA", "SIMPLIFY", "FILL_HOLES")),
    )
    asked = Source.fromModelParameter
    add_child(
        model, "cdengine:align", "align",
        {"BEFORE": asked("BEFORE"), "AFTER": asked("AFTER"), "ALIGN": Source.fromStaticValue("register")},
        {"OUTPUT": ("Aligned", "Aligned image")}, (400, 100),
    )  # fmt: skip
    add_child(
        model, "cdengine:detect", "detect",
        {
            "BEFORE": asked("BEFORE"),
            "AFTER": Source.fromChildOutput("align", "OUTPUT"),
            "MODEL": asked("MODEL"),
        },
        {"CHANGE": ("Change", "Change"), "PROBABILITY": ("Probability", "Change probability")}, (650, 250),
    )  # fmt: skip
    add_child(
        model, "cdengine:vectorize", "vectorize",
        {
            "INPUT": Source.fromChildOutput("detect", "CHANGE"),
            "PROBABILITY": Source.fromChildOutput("detect", "PROBABILITY"),
            **{name: asked(name) for name in ("MIN_AREA", "SIMPLIFY", "FILL_HOLES")},
        },
        {"OUTPUT": ("Polygons", "Changed areas")}, (900, 400),
    )  # fmt: skip
    return model


def detect_many_pairs() -> QgsProcessingModelAlgorithm:
    """Two folders in, one layer of all changes out."""
    model = new_model(
        "detect_many_pairs",
        "Detects changes in every pair of images of the same file name in two folders, and merges the changed areas of "
        "all pairs into one layer; its field layer tells which pair a polygon is from.",
    )
    add_inputs(model, copies("cdengine:detectpairs", ("BEFORE_FOLDER", "AFTER_FOLDER", "MODEL", "MIN_AREA")))
    asked = Source.fromModelParameter
    add_child(
        model, "cdengine:detectpairs", "pairs",
        {name: asked(name) for name in ("BEFORE_FOLDER", "AFTER_FOLDER", "MODEL", "MIN_AREA")},
        {"RESULTS": ("Results", "Results of each pair")}, (400, 150),
    )  # fmt: skip
    add_child(
        model, "native:mergevectorlayers", "merge",
        {"LAYERS": Source.fromChildOutput("pairs", "POLYGON_LAYERS")},
        {"OUTPUT": ("Changes", "Changed areas of all pairs")}, (650, 250),
    )  # fmt: skip
    return model


def main() -> int:
    """Writes the models, or with --check says whether those on disk are current."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a model is out of date")
    args = parser.parse_args()
    application = QgsApplication([], False)
    application.initQgis()
    sys.path.append(os.path.join(QgsApplication.pkgDataPath(), "python", "plugins"))
    from processing.core.Processing import Processing

    Processing.initialize()
    import qgis_plugin

    plugin = qgis_plugin.classFactory(None)
    plugin.initProcessing()
    status = 0
    for model in (align_detect_vectorize(), detect_many_pairs()):
        path = FOLDER / f"{model.name()}.model3"
        path.parent.mkdir(exist_ok=True)
        made = path.with_suffix(".new")
        if not model.toFile(str(made)):
            print(f"error: {made} cannot be written", file=sys.stderr)
            status = 1
        elif not args.check:
            made.replace(path)
            print(path)
        else:
            if not path.is_file() or path.read_bytes() != made.read_bytes():
                print(f"{path} is out of date: run {sys.argv[0]}", file=sys.stderr)
                status = 1
            made.unlink()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # QGIS may crash while the interpreter takes it apart


if __name__ == "__main__":
    main()
