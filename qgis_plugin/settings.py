"""Where the engine is, as this QGIS knows it: the setting, the profile's folder, the environment for the child."""

from __future__ import annotations

import configparser
import os
import sys
from dataclasses import dataclass
from typing import Dict, List

from qgis.core import QgsApplication, QgsSettings

from .engine import environ, locate, modelfolder

KEY = "cdengine/python"
MODELS_KEY = "cdengine/models"
GROUP = "Change detection"


@dataclass(frozen=True)
class Surroundings:
    """All that a run must know of QGIS, read on the main thread and used on another."""

    setting: str
    managed: str
    cache: str
    variables: Dict[str, str]

    def find(self) -> locate.Engine:
        """The engine's interpreter.

        Raises:
            EngineMissing: with what to do about it.
        """
        return locate.find(self.setting, os.environ, self.managed)


def surroundings() -> Surroundings:
    """Reads the settings."""
    folder = _profile_folder()
    prefix = QgsApplication.prefixPath() if sys.platform in ("win32", "darwin") else ""
    return Surroundings(
        setting=str(QgsSettings().value(KEY, "") or ""),
        managed=os.path.join(folder, "environments"),
        cache=os.path.join(folder, "engines.json"),
        variables=environ.clean(os.environ, prefix),
    )


def models_folder() -> str:
    """Folder of the user's own models: as set, else one in the profile."""
    named = str(QgsSettings().value(MODELS_KEY, "") or "").strip()
    return os.path.expanduser(named) if named else os.path.join(_profile_folder(), "models")


def _profile_folder() -> str:
    # Per profile and outside the plugin's folder: an update of the plugin replaces that folder as a whole.
    return os.path.join(QgsApplication.qgisSettingsDirPath(), "cdengine")


def shipped_models() -> List[str]:
    """Models that come with the engine, as far as they are known without starting it."""
    here = surroundings()
    try:
        return locate.known_models(here.find(), here.cache)
    except locate.EngineMissing:
        return []


def own_models() -> List[modelfolder.OwnModel]:
    """Models of the folder."""
    return modelfolder.models(models_folder(), shipped_models())


def model_argument(named: str) -> str:
    """What the engine is told for a model that the user named."""
    return modelfolder.resolve(named, models_folder(), shipped_models())


def plugin_folder() -> str:
    """Folder of this plugin's files."""
    return os.path.dirname(os.path.abspath(__file__))


def version() -> str:
    """The plugin's version, from metadata.txt: inside an installed plugin, beside the folder in a checkout."""
    reader = configparser.ConfigParser(interpolation=None)
    reader.read([resource("..", "metadata.txt"), resource("metadata.txt")], encoding="utf-8")
    return reader.get("general", "version", fallback="")


def resource(*names: str) -> str:
    """Path of a file that the plugin brings."""
    return os.path.join(plugin_folder(), *names)
