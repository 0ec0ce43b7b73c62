"""`doctor`: what works on this machine, what is missing, and how to get it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from typing import Any

from cdengine import __version__
from cdengine.cli.result import Result
from cdengine.events import Reporter
from cdengine.inference.processor import cpu_name

PACKAGES = (
    "numpy",
    "scipy",
    "rasterio",
    "pyproj",
    "shapely",
    "geopandas",
    "pyogrio",
    "pyarrow",
    "torch",
    "torchvision",
    "timm",
    "safetensors",
)
NATIVE = ("numpy", "scipy", "rasterio", "pyproj", "shapely", "pyogrio", "pyarrow")  # imported here; torch apart
RASTER_DRIVERS = ("GTiff", "COG", "VRT", "JP2OpenJPEG", "PNG", "JPEG")
VECTOR_DRIVERS = ("GPKG", "GeoJSON", "FlatGeobuf", "ESRI Shapefile")
# Torch is asked in a process of its own: it takes seconds, and a broken CUDA library may end the process that loads it.
TORCH_PROBE = "import json; from cdengine.models.devices import facts; print(json.dumps(facts()))"
TORCH_SECONDS = 60.0
SPACE_GIB = 2.0
GIB = 2**30
REINSTALL = "install the engine's environment again: `make install`, or `pip install --force-reinstall {}`"


@dataclass(frozen=True)
class Check:
    """One thing that was tried: whether it works, what was seen, and what to do if it does not."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    required: bool = True


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `doctor`."""
    parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")


def run(args: argparse.Namespace, reporter: Reporter) -> Result:
    """Tries everything and answers; a machine on which something is missing is still a good run."""
    checks: list[Check] = []
    steps: list[Callable[[], Check]] = [check_python, *(lambda name=name: check_package(name) for name in NATIVE)]
    steps += [check_projections, check_raster_drivers, check_vector_drivers, check_temporary, check_cache, check_qgis]
    with reporter.stage("doctor", len(steps) + 1, "checks") as stage:
        probe = start_torch()
        for step in steps:
            checks.append(step())
            stage.advance()
        torch_check, torch_facts = finish_torch(probe, reporter)
        checks.append(torch_check)
        stage.advance()
    answer = {
        "ok": all(check.ok for check in checks if check.required),
        "versions": versions(torch_facts),
        "devices": [cpu(torch_facts), *torch_facts.get("accelerators", [])],
        "checks": [asdict(check) for check in checks],
    }
    return Result(
        stats={"missing": sum(check.required and not check.ok for check in checks)}, text=as_text(answer), answer=answer
    )


# ---------------------------------------------------------------- facts
def versions(torch_facts: dict[str, Any]) -> dict[str, str | None]:
    """Name → version of everything that results may depend on; None for what is not installed."""
    found: dict[str, str | None] = {"cdengine": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    found["gdal"] = _attribute("rasterio", "__gdal_version__")
    found["proj"] = _attribute("pyproj", "proj_version_str")
    found["cuda"] = torch_facts.get("cuda")
    found["system"] = platform.platform()
    return found


def cpu(torch_facts: dict[str, Any]) -> dict[str, Any]:
    """The processor as a device: its cores and the threads that torch would use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "device": "cpu",
        "name": cpu_name(),
        "cores": usable,
        "threads": torch_facts.get("threads"),
        "memory_gib": _memory_gib(),
    }


def _memory_gib() -> float | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB, 1)


def _attribute(module: str, name: str) -> str | None:
    try:
        return str(getattr(import_module(module), name))
    except (ImportError, OSError):
        return None


# ---------------------------------------------------------------- checks
def check_python() -> Check:
    """The interpreter that runs this."""
    return Check("python", sys.version_info >= (3, 10), f"{platform.python_version()} at {sys.executable}", "use 3.10+")


def check_package(name: str) -> Check:
    """A package with compiled parts: it must not only be there but load."""
    try:
        import_module(name)
        return Check(name, True, metadata.version(name))
    except (ImportError, OSError) as error:  # OSError: a shared library that the wheel needs is missing
        return Check(name, False, _one_line(error), REINSTALL.format(name))


def check_projections() -> Check:
    """A real transformation through both copies of PROJ: rasterio's and pyproj's."""
    remedy = "unset PROJ_LIB, PROJ_DATA and GDAL_DATA: another program's PROJ database shadows that of the wheels"
    try:
        from pyproj import Transformer
        from rasterio.errors import RasterioError
        from rasterio.warp import transform
    except (ImportError, OSError) as error:
        return Check("projections", False, _one_line(error), REINSTALL.format("rasterio pyproj"))
    try:
        # On UTM zone 31's central meridian: easting 500,000 by definition; 45° N of WGS 84 is 4,982,950.4 m up.
        (x1,), (y1,) = transform("EPSG:4326", "EPSG:32631", [3.0], [45.0])
        x2, y2 = Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True).transform(3.0, 45.0)
    except (RasterioError, RuntimeError, ValueError) as error:  # pyproj's ProjError is a RuntimeError
        return Check("projections", False, _one_line(error), remedy)
    off = max(abs(x1 - 500_000), abs(y1 - 4_982_950.4), abs(x2 - 500_000), abs(y2 - 4_982_950.4))
    return Check("projections", off < 1.0, f"EPSG:4326 to EPSG:32631 within {off:.2f} m", remedy)


def check_raster_drivers() -> Check:
    """The formats that are read and written by rasterio's GDAL."""
    try:
        import rasterio

        with rasterio.Env() as env:
            there = set(env.drivers())
    except (ImportError, OSError) as error:
        return Check("raster-drivers", False, _one_line(error), REINSTALL.format("rasterio"))
    return _drivers("raster-drivers", RASTER_DRIVERS, there, "rasterio")


def check_vector_drivers() -> Check:
    """The formats of polygons, in pyogrio's GDAL."""
    try:
        import pyogrio

        there = {name for name, mode in pyogrio.list_drivers().items() if "w" in mode}
    except (ImportError, OSError) as error:
        return Check("vector-drivers", False, _one_line(error), REINSTALL.format("pyogrio"))
    return _drivers("vector-drivers", VECTOR_DRIVERS, there, "pyogrio")


def _drivers(name: str, wanted: tuple[str, ...], there: set[str], package: str) -> Check:
    missing = [driver for driver in wanted if driver not in there]
    detail = f"missing: {', '.join(missing)}" if missing else ", ".join(wanted)
    return Check(name, not missing, detail, f"install {package} from its wheel, which has them: pip install {package}")


def check_temporary() -> Check:
    """Room for temporary files; the parts of a running detection lie beside its output, not here."""
    import tempfile

    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        return Check("temporary-folder", False, _one_line(error), "set TMPDIR to a folder that can be written to")
    free = shutil.disk_usage(folder).free / GIB
    return Check(
        "temporary-folder",
        free >= SPACE_GIB,
        f"{free:.1f} GiB free in {folder}",
        f"free {SPACE_GIB:.0f} GiB there, or set TMPDIR to a larger disk",
    )


def check_cache() -> Check:
    """Where packages keep what they fetch; its nearest existing folder must be writable."""
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    there = folder
    while not os.path.isdir(there) and os.path.dirname(there) != there:
        there = os.path.dirname(there)
    writable = os.access(there, os.W_OK)
    detail = folder if writable else f"{there} cannot be written to"
    return Check("cache-folder", writable, detail, "set XDG_CACHE_HOME to a folder that can be written to", False)


def check_qgis() -> Check:
    """Whether QGIS is on this machine; the engine itself does not need it."""
    found = shutil.which("qgis_process") or shutil.which("qgis")
    remedy = "only for the plugin: apt-get install qgis python3-qgis, or the installer of your system"
    return Check("qgis", found is not None, found or "not on the PATH", remedy, required=False)


# ---------------------------------------------------------------- torch
def start_torch() -> subprocess.Popen[str]:
    """Starts the process that loads torch, so that everything else is checked meanwhile."""
    return subprocess.Popen(
        [sys.executable, "-c", TORCH_PROBE],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    )


def finish_torch(probe: subprocess.Popen[str], reporter: Reporter) -> tuple[Check, dict[str, Any]]:
    """The check and the facts, once the process has answered, died or taken too long."""
    remedy = REINSTALL.format("torch torchvision")
    began = time.monotonic()
    try:
        while True:
            reporter.check()
            try:
                out, err = probe.communicate(timeout=0.1)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() - began > TORCH_SECONDS:
                    return Check("torch", False, f"no answer in {TORCH_SECONDS:.0f} s", remedy), {}
    finally:
        if probe.poll() is None:
            probe.kill()
            probe.communicate()
    if probe.returncode != 0:
        last = (err.strip().splitlines() or [f"ended with status {probe.returncode}"])[-1]
        return Check("torch", False, last, remedy), {}
    facts: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    names = ", ".join(f"{device['device']} ({device['name']})" for device in facts["accelerators"])
    return Check("torch", True, f"{facts['torch']}; {names or 'no accelerator, the processor computes'}"), facts


# ---------------------------------------------------------------- text
def as_text(answer: dict[str, Any]) -> str:
    """The answer for people: devices, then a line for each check, then the versions."""
    lines = []
    for device in answer["devices"]:
        facts = [f"{device['memory_gib']} GiB"] if device.get("memory_gib") else []
        facts += [f"{device['cores']} cores"] if device.get("cores") else []
        lines.append(f"{device['device']:<18}{device['name']}" + (f" ({', '.join(facts)})" if facts else ""))
    for check in answer["checks"]:
        mark = "ok" if check["ok"] else "MISSING" if check["required"] else "absent"
        lines.append(f"{check['name']:<18}{mark:<8} {check['detail']}")
        if not check["ok"]:
            lines.append(f"{'':<27}{check['remedy']}")
    known = ", ".join(f"{name} {version}" for name, version in answer["versions"].items() if version)
    lines.append(f"{'versions':<18}{known}")
    lines.append(
        "everything that the engine needs works" if answer["ok"] else "something that the engine needs is missing"
    )
    return "\n".join(lines)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
