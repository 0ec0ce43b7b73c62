"""The plugin in QGIS: registers the provider, its settings and some menu entries, and takes them away again."""

from __future__ import annotations

from typing import Any, List, Optional

from processing.core.ProcessingConfig import ProcessingConfig, Setting
from qgis.core import QgsApplication
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction

from . import settings
from .provider import Provider

MENU = "Change detection"
ENTRIES = (
    ("detect", "Detect changes…", "detect.svg"),
    ("detectwithoutmodel", "Detect changes without a model…", "nomodel.svg"),
    ("train", "Train a model…", "train.svg"),
    ("installengine", "Install the engine…", "engine.svg"),
)


class ChangeDetectionPlugin:
    """What QGIS holds of the plugin. `iface` is None in qgis_process."""

    def __init__(self, iface: Any) -> None:  # noqa: ANN401 (QgisInterface, or None)
        self._iface = iface
        self._provider: Optional[Provider] = None
        self._actions: List[QAction] = []

    def initProcessing(self) -> None:
        """Registers the provider; qgis_process calls this alone."""
        if self._provider is not None:
            return
        self._add_settings()
        self._provider = Provider()
        QgsApplication.processingRegistry().addProvider(self._provider)
        # While a provider is being added its algorithms cannot be found by id yet, so the steps of its own models stay
        # empty and the models show no outputs. Now they can.
        self._provider.refreshAlgorithms()

    def initGui(self) -> None:
        """Provider and menu."""
        self.initProcessing()
        if self._iface is None:
            return
        for name, title, icon in ENTRIES:
            action = QAction(QIcon(settings.resource("icons", icon)), title, self._iface.mainWindow())
            action.triggered.connect(lambda _=False, name=name: self._open(name))
            self._iface.addPluginToRasterMenu(MENU, action)
            self._actions.append(action)

    def unload(self) -> None:
        """Takes away all that was added."""
        for action in self._actions:
            self._iface.removePluginRasterMenu(MENU, action)
            action.deleteLater()
        self._actions.clear()
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
            self._provider = None
        for key in (settings.KEY, settings.MODELS_KEY):
            if key in ProcessingConfig.settings:
                ProcessingConfig.removeSetting(key)

    def _add_settings(self) -> None:
        """Settings > Options > Processing > Providers > Change detection."""
        ProcessingConfig.settingIcons[settings.GROUP] = QIcon(settings.resource("icons", "provider.svg"))
        for key, title, kind, placeholder in (
            (
                settings.KEY,
                "Engine Python (a Python with cdengine; empty: the one that Install the engine made)",
                Setting.FILE,
                "python, or the folder of its environment",
            ),
            (
                settings.MODELS_KEY,
                "Folder of your models (they are listed by name; empty: cdengine/models in your profile)",
                Setting.FOLDER,
                "a folder with .safetensors files",
            ),
        ):
            setting = Setting(settings.GROUP, key, title, "", valuetype=kind, placeholder=placeholder)
            setting.qname = key  # not below Processing/Configuration: the names are part of the contract
            ProcessingConfig.addSetting(setting)
            setting.read()

    def _open(self, name: str) -> None:
        from processing import execAlgorithmDialog

        execAlgorithmDialog(f"cdengine:{name}")
