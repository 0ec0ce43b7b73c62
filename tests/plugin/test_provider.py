"""The provider and the contract that every algorithm keeps, whatever it does."""

import re

import pytest
from conftest import ROOT

IDS = [
    "align", "detect", "detectpairs", "detectwithoutmodel", "evaluate", "installengine", "prepare",
    "pseudolabel", "train", "vectorize",
]  # fmt: skip
MODELS = ["align_detect_vectorize", "detect_many_pairs"]


def provider(qgis):
    return qgis.processingRegistry().providerById("cdengine")


def algorithm(qgis, name):
    found = qgis.processingRegistry().algorithmById(f"cdengine:{name}")
    assert found is not None, name
    return found


def test_all_are_there_without_an_engine(qgis, monkeypatch):
    monkeypatch.delenv("CDENGINE_PYTHON", raising=False)
    provider(qgis).refreshAlgorithms()
    assert sorted(found.name() for found in provider(qgis).algorithms()) == sorted(IDS + MODELS)
    assert provider(qgis).defaultRasterFileExtension() == "tif"
    assert provider(qgis).defaultVectorFileExtension() == "gpkg"
    assert not provider(qgis).supportsNonFileBasedOutput()
    assert not provider(qgis).icon().isNull()
    assert provider(qgis).versionInfo().count(".") == 2


def test_contract_ids(qgis):
    """Parameters and outputs that other programs call."""
    detect = algorithm(qgis, "detect")
    names = {definition.name() for definition in detect.parameterDefinitions()}
    contract = (
        "BEFORE AFTER MODEL THRESHOLD MIN_AREA SIMPLIFY FILL_HOLES BANDS_BEFORE BANDS_AFTER ALIGN GRID TILE OVERLAP "
        "BATCH_SIZE DEVICE PRECISION TTA AOI PROBABILITY_DTYPE COG REPORT QUICKLOOK CHANGE POLYGONS PROBABILITY"
    )
    assert set(contract.split()) <= names
    assert detect.parameterDefinition("MODEL").type() == "string"
    assert detect.outputDefinition("CHANGE").type() == "outputRaster"
    assert detect.outputDefinition("POLYGONS").type() == "outputVector"
    assert detect.parameterDefinition("POLYGONS").createByDefault()
    assert not detect.parameterDefinition("PROBABILITY").createByDefault()
    method = algorithm(qgis, "detectwithoutmodel").parameterDefinition("METHOD")
    assert method.usesStaticStrings() and method.options() == ["cva", "irmad", "pca-kmeans", "sfa", "log-ratio"]
    assert algorithm(qgis, "detectwithoutmodel").parameterDefinition("MODEL") is None


def test_only_the_main_things_are_in_sight(qgis):
    from qgis.core import QgsProcessingParameterDefinition

    advanced = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    shown = [d.name() for d in algorithm(qgis, "detect").parameterDefinitions() if not d.flags() & advanced]
    assert shown == ["BEFORE", "AFTER", "MODEL", "MIN_AREA", "CHANGE", "POLYGONS", "PROBABILITY"]


@pytest.mark.parametrize("name", IDS)
def test_every_algorithm(qgis, name):
    found = algorithm(qgis, name)
    assert re.fullmatch(r"[a-z]+", found.name())
    assert found.create() is not found and type(found.create()) is type(found)
    assert found.displayName() and found.shortDescription().endswith(".") and found.group() and found.groupId()
    assert "change" in found.tags() and not found.icon().isNull()
    assert len(found.shortHelpString()) > len(found.shortDescription())
    for definition in found.parameterDefinitions():
        assert re.fullmatch(r"[A-Z0-9_]+", definition.name())
        assert len(definition.help()) > 10, f"{definition.name()} has no help"
        assert "<" not in definition.description()
        if definition.defaultValue() is not None:
            assert definition.checkValueIsAcceptable(definition.defaultValue()), definition.name()
    assert found.asPythonCommand({}, __import__("qgis.core").core.QgsProcessingContext())


def test_installing_belongs_in_no_model_and_no_batch(qgis):
    from qgis.core import QgsProcessingAlgorithm

    flags = algorithm(qgis, "installengine").flags()
    assert flags & QgsProcessingAlgorithm.Flag.FlagHideFromModeler
    assert not flags & QgsProcessingAlgorithm.Flag.FlagSupportsBatch
    for name in ("detect", "detectwithoutmodel", "align", "vectorize", "detectpairs"):
        flags = algorithm(qgis, name).flags()
        assert (
            flags & QgsProcessingAlgorithm.Flag.FlagCanCancel and flags & QgsProcessingAlgorithm.Flag.FlagSupportsBatch
        )
        assert not flags & QgsProcessingAlgorithm.Flag.FlagNoThreading


@pytest.mark.parametrize("name", MODELS)
def test_models_refer_to_what_exists(qgis, name):
    model = algorithm(qgis, name).create()
    assert model.name() == name and " " in model.displayName() == algorithm(qgis, name).displayName()
    for child in model.childAlgorithms().values():
        assert child.algorithm() is not None, child.algorithmId()
        for parameter in child.parameterSources():
            assert child.algorithm().parameterDefinition(parameter) is not None, parameter
    assert model.destinationParameterDefinitions(), "results of the model can be chosen"
    good, problems = model.validate()
    assert good, problems


def test_models_are_those_that_the_script_makes():
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "make_models.py"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_no_text_with_tags_in_a_terminal(qgis, monkeypatch):
    from qgis.core import QgsApplication

    monkeypatch.setattr(QgsApplication, "platform", staticmethod(lambda: "qgis_process"))
    assert "<p>" not in algorithm(qgis, "detect").create().shortHelpString()


def test_setting_in_the_options(qgis):
    from processing.core.ProcessingConfig import ProcessingConfig
    from qgis.core import QgsSettings

    setting = ProcessingConfig.settings["cdengine/python"]
    setting.value = "/somewhere/python"
    setting.save()
    assert QgsSettings().value("cdengine/python") == "/somewhere/python"
    setting.value = ""
    setting.save()


def test_unload_leaves_nothing_behind(qgis):
    from processing.core.ProcessingConfig import ProcessingConfig

    import qgis_plugin

    try:
        for _ in range(3):
            qgis.cdengine_plugin.unload()
            assert provider(qgis) is None
            assert "cdengine/python" not in ProcessingConfig.settings
            qgis.cdengine_plugin = qgis_plugin.classFactory(None)
            qgis.cdengine_plugin.initGui()
            assert provider(qgis) is not None
    finally:
        qgis.cdengine_plugin.initProcessing()
