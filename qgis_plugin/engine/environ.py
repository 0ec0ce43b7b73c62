"""The environment that the engine gets: what QGIS sets for Python, GDAL and PROJ must not reach another interpreter.

What stays on purpose: proxies, cloud credentials (AWS_*, GDAL_HTTP_*, CPL_*), CUDA_VISIBLE_DEVICES, locale, HOME.
"""

from __future__ import annotations

import os
from typing import Dict, Mapping

# Each of these has been seen to break an interpreter started from QGIS: a PYTHONHOME or PYTHONEXECUTABLE of QGIS makes
# a venv import QGIS's standard library; PROJ_LIB and GDAL_DATA point at files of another PROJ or GDAL version.
_NAMES = frozenset(
    {
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONEXECUTABLE",
        "PYTHONSTARTUP",
        "PYTHONUSERBASE",
        "PYTHONPLATLIBDIR",
        "VIRTUAL_ENV",
        "GDAL_DATA",
        "GDAL_DRIVER_PATH",
        "PROJ_LIB",
        "PROJ_DATA",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "__PYVENV_LAUNCHER__",
    }
)
_PREFIXES = ("CONDA_", "UV_", "QGIS_", "DYLD_", "QT_")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")


def clean(environ: Mapping[str, str], qgis_prefix: str = "") -> Dict[str, str]:
    """Returns a copy without what belongs to QGIS's interpreter.

    Args:
        environ: usually `os.environ`.
        qgis_prefix: where QGIS is installed, on Windows and macOS only: folders below it leave PATH, because their
            DLLs would be loaded instead of the engine's own. Empty on Linux, where the prefix is /usr.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if name.upper() not in _NAMES and not name.upper().startswith(_PREFIXES)
    }
    for name in _CERTIFICATES:
        value = kept.get(name)
        if value is not None and (not os.path.exists(value) or _below(value, qgis_prefix)):
            del kept[name]  # a dangling bundle makes every download fail
    if qgis_prefix and "PATH" in kept:
        folders = [folder for folder in kept["PATH"].split(os.pathsep) if folder and not _below(folder, qgis_prefix)]
        kept["PATH"] = os.pathsep.join(folders)
    kept.update(PYTHONUTF8="1", PYTHONNOUSERSITE="1", PYTHONSAFEPATH="1", PYTHONUNBUFFERED="1")
    return kept


def _below(path: str, folder: str) -> bool:
    if not folder:
        return False
    path, folder = os.path.normcase(os.path.abspath(path)), os.path.normcase(os.path.abspath(folder))
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
