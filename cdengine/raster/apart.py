"""Two calls into GDAL that block Python for seconds on large rasters, run in a process that can be ended at once.

rasterio holds the interpreter lock in them, so no thread could report progress or stop the run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from cdengine.events import Reporter

POLL_S = 0.05
PREDICTOR = {"1": "NO", "2": "STANDARD", "3": "FLOATING_POINT"}  # as GDAL's COG driver calls them


def run_apart(task: str, reporter: Reporter, *arguments: str) -> None:
    """Runs one task of this module and waits, checking for a cancel 20 times a second.

    Args:
        task: "declare" (path, factors…) or "cog" (source, target, predictor).
        reporter: a stage of the task's name is shown; its total is 1.
        arguments: of the task.

    Raises:
        OSError: the task failed; the sink makes an OutputError of it.
    """
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "cdengine.raster.apart", task, *arguments]
    name = {"declare": "overviews", "cog": "cog"}[task]
    with reporter.stage(name, 1, "files") as stage:
        child = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            while child.poll() is None:
                reporter.check()
                time.sleep(POLL_S)
        finally:
            if child.poll() is None:
                child.kill()
            said = child.communicate()[1].strip()
        if child.returncode:
            last = said.splitlines()[-1] if said else f"ended with {child.returncode}"
            raise OSError(f"GDAL could not make the {name}: {last}")
        stage.advance(1)


def _cog(source: str, target: str, predictor: str) -> None:
    import rasterio.shutil

    rasterio.shutil.copy(
        source,
        target,
        driver="COG",
        COMPRESS="DEFLATE",
        PREDICTOR=PREDICTOR[predictor],
        BLOCKSIZE="512",
        OVERVIEWS="AUTO",  # the ones that are there
        SPARSE_OK="TRUE",
        BIGTIFF="IF_SAFER",
        NUM_THREADS=str(min(4, os.cpu_count() or 1)),
    )


def _main(task: str, *arguments: str) -> None:
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    from cdengine.raster.overviews import declare_overviews

    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    with rasterio.Env(GDAL_CACHEMAX=128 << 20):
        if task == "declare":
            declare_overviews(arguments[0], [int(factor) for factor in arguments[1:]])
        else:
            _cog(*arguments)


if __name__ == "__main__":
    _main(*sys.argv[1:])
