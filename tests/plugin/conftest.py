"""QGIS without a window and with a private profile, tiny rasters, and the fake or the real engine.

Run by QGIS's own Python: /usr/bin/python3 -m pytest -c tests/plugin/pytest.ini tests/plugin; elsewhere not collected.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FAKE = HERE / "fake_engine.py"
REAL = os.environ.pop("CDENGINE_PYTHON", "")
SHARED = ROOT.parent / "shared" / "data"

try:
    HAS_QGIS = importlib.util.find_spec("qgis.core") is not None
except ModuleNotFoundError:
    HAS_QGIS = False
if not HAS_QGIS:
    collect_ignore_glob = ["*.py"]
else:
    sys.path.insert(0, str(ROOT))
    sys.path.insert(1, "/usr/share/qgis/python/plugins")
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    # Nobody's own profile is read or written.
    PROFILE = os.environ.setdefault("QGIS_CUSTOM_CONFIG_PATH", tempfile.mkdtemp(prefix="cdengine-qgis-"))
    if not os.environ.get("XDG_RUNTIME_DIR"):
        os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="cdengine-run-")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    session.config.stash_status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """QGIS crashes now and then while the interpreter unloads it; the tests' verdict stands by then."""
    status = getattr(config, "stash_status", None)
    if HAS_QGIS and "qgis.core" in sys.modules and status is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


@pytest.fixture(scope="session")
def qgis():
    """A running QgsApplication with Processing and our provider."""
    from qgis.core import QgsApplication

    app = QgsApplication([], True)
    app.initQgis()
    from processing.core.Processing import Processing

    Processing.initialize()
    import qgis_plugin

    plugin = qgis_plugin.classFactory(None)
    plugin.initProcessing()
    app.cdengine_plugin = plugin
    # Until the process ends: destroying it waits for ever for the progress task that a batch dialog leaves behind.
    sys.cdengine_application = app
    return app


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Sets up the fake engine; call it with a scenario. `.runs()` tells the arguments of each start."""

    class Fake:
        path = str(FAKE)
        log = tmp_path / "fake.log"

        def __call__(self, scenario):
            monkeypatch.setenv("CDENGINE_FAKE", scenario)
            return self

        def runs(self):
            lines = self.log.read_text().splitlines() if self.log.exists() else []
            return [json.loads(line) for line in lines]

        def detect_runs(self):
            return [run["argv"][2:] for run in self.runs() if run["argv"][2] not in ("doctor", "models")]

    monkeypatch.setenv("CDENGINE_PYTHON", str(FAKE))
    monkeypatch.setenv("CDENGINE_FAKE", "ok")
    monkeypatch.setenv("CDENGINE_FAKE_LOG", str(Fake.log))
    return Fake()


@pytest.fixture(scope="session")
def real_python():
    """Interpreter of the real engine, from CDENGINE_PYTHON; skips where there is none that can detect."""
    if not REAL:
        pytest.skip("CDENGINE_PYTHON names no engine")
    try:
        done = subprocess.run([REAL, "-m", "cdengine", "detect", "--help"], capture_output=True, text=True, timeout=120)
    except OSError as error:
        pytest.skip(f"CDENGINE_PYTHON={REAL} cannot be started: {error}")
    if done.returncode != 0:
        pytest.skip(f"CDENGINE_PYTHON={REAL} has no working `detect`: {done.stderr.strip()[-200:]}")
    return REAL


@pytest.fixture
def real(real_python, monkeypatch):
    monkeypatch.setenv("CDENGINE_PYTHON", real_python)
    return real_python


def make_raster(path, size=64, bands=3, seed=0, changed=False, epsg=32633, origin=(500000.0, 5000000.0), pixel=10.0):
    """A small GeoTIFF of smooth texture; the changed one has a bright square."""
    import numpy as np
    from osgeo import gdal, osr

    rng = np.random.default_rng(7)
    rows, cols = np.mgrid[0:size, 0:size]
    data = np.stack([100 + 40 * np.sin(rows / (5 + band)) * np.cos(cols / (7 + band)) for band in range(bands)])
    data += rng.normal(0, 6, data.shape) + np.random.default_rng(seed).normal(0, 4, data.shape)
    if changed:
        data[:, size // 4 : size // 2, size // 4 : size // 2] += 90
    out = gdal.GetDriverByName("GTiff").Create(str(path), size, size, bands, gdal.GDT_Byte)
    out.SetGeoTransform((origin[0], pixel, 0, origin[1], 0, -pixel))
    if epsg:
        reference = osr.SpatialReference()
        reference.ImportFromEPSG(epsg)
        out.SetProjection(reference.ExportToWkt())
    out.WriteArray(data.clip(0, 255).astype("uint8"))
    out = None
    return str(path)


@pytest.fixture
def pair(tmp_path):
    """(before, after) as paths."""
    return (
        make_raster(tmp_path / "before.tif", seed=1),
        make_raster(tmp_path / "after.tif", seed=2, changed=True),
    )


@pytest.fixture
def feedback(qgis):
    """A feedback that remembers what it was told."""
    from qgis.core import QgsProcessingFeedback

    class Listening(QgsProcessingFeedback):
        def __init__(self):
            super().__init__(False)
            self.infos, self.warnings, self.errors, self.texts, self.console = [], [], [], [], []
            self.percents = []
            self.progressChanged.connect(self.percents.append)

        def setProgressText(self, text):
            self.texts.append(text)

        def pushInfo(self, text):
            self.infos.append(text)

        def pushWarning(self, text):
            self.warnings.append(text)

        def reportError(self, text, fatal=False):
            self.errors.append(text)

        def pushConsoleInfo(self, text):
            self.console.append(text)

        def pushDebugInfo(self, text):
            pass

        def pushCommandInfo(self, text):
            pass

    return Listening()


@pytest.fixture(scope="session")
def staged(tmp_path_factory):
    """The plugin as it is installed, in a folder for QGIS_PLUGINPATH; without the engine's wheel."""
    folder = tmp_path_factory.mktemp("staged")
    subprocess.run(
        [
            sys.executable,
            str(ROOT / "tools" / "build_plugin.py"),
            "--stage",
            str(folder / "plugins"),
            "--dist",
            str(folder),
        ],
        check=True,
        timeout=60,
    )
    return folder / "plugins"


@pytest.fixture
def window(qgis, monkeypatch):
    """As much of QGIS's main window as the dialogs of Processing ask for."""
    import qgis.utils
    from qgis.gui import QgsMapCanvas, QgsMessageBar
    from qgis.PyQt.QtWidgets import QMainWindow

    main, canvas, bar = QMainWindow(), QgsMapCanvas(), QgsMessageBar()

    class Interface:
        def __init__(self):
            self.actions = []

        def mainWindow(self):
            return main

        def mapCanvas(self):
            return canvas

        def messageBar(self):
            return bar

        def addPluginToRasterMenu(self, menu, action):
            self.actions.append((menu, action))

        def removePluginRasterMenu(self, menu, action):
            self.actions.remove((menu, action))

        def __getattr__(self, name):
            return lambda *arguments: None

    monkeypatch.setattr(qgis.utils, "iface", Interface())
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("processing.") and hasattr(module, "iface"):
            monkeypatch.setattr(module, "iface", qgis.utils.iface)
    return qgis.utils.iface
