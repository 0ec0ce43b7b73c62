"""Runs `detect` in this process, through the command line's functions, and asserts what "clean" means."""

import time

import pytest
import rasterio

from cdengine.cli.main import _command
from cdengine.errors import CDEngineError
from cdengine.events import CollectSink, Reporter


def detect(folder, before=None, after=None, *more, model="cva", sink=None):
    """Runs the command on before.tif and after.tif unless told otherwise; returns its result and events."""
    module, parser = _command("detect")
    argv = [before or folder / "before.tif", after or folder / "after.tif", "--output", folder / "out" / "c.tif"]
    args = parser.read([str(item) for item in [*argv, "--model", model, *more]])
    sink = sink or CollectSink()
    reporter = Reporter(sink)
    try:
        return module.run(args, reporter), sink.events
    finally:
        reporter.close()


def fails(folder, slug, exit_code, *arguments, says=(), leaves=(), **options):
    """Asserts a clean failure: slug, exit code, one line that says so, old files intact, nothing new but `leaves`."""
    old = folder / "out" / "old.tif"
    old.write_bytes(b"good")
    began = time.monotonic()
    with pytest.raises(CDEngineError) as caught:
        detect(folder, *arguments, **options)
    assert (caught.value.slug, caught.value.exit_code) == (slug, exit_code), str(caught.value)
    message = str(caught.value)
    assert "\n" not in message.strip() and "TOKEN" not in message
    for word in (says,) if isinstance(says, str) else says:
        assert word in message, message
    assert sorted(path.name for path in (folder / "out").iterdir()) == sorted(["old.tif", *leaves])
    assert old.read_bytes() == b"good"
    assert not (folder / "pwned").exists()
    return time.monotonic() - began


def change(folder, name="c.tif"):
    """Pixels of an output's first band."""
    with rasterio.open(folder / "out" / name) as file:
        return file.read(1)


def warned(events, *words):
    """Whether one warning has all the words."""
    texts = [event["message"] for event in events if event.get("level") == "warning"]
    return any(all(word in text for word in words) for text in texts)
