"""The `start` event: who runs, and on which device, known without importing torch wherever that is certain."""

from __future__ import annotations

import sys
from pathlib import Path

from cdengine import __version__
from cdengine.errors import DeviceError
from cdengine.events import PROTOCOL, Event
from cdengine.inference.processor import cpu_name


def start_event(command: str, device: str | None) -> Event:
    """The first event of a run.

    Args:
        command: "detect", …
        device: the `--device` option; None for a command that has none.
    """
    name, label = _device(device)
    return {
        "event": "start",
        "protocol": PROTOCOL,
        "command": command,
        "version": __version__,
        "device": name,
        "device_name": label,
    }


def _device(requested: str | None) -> tuple[str, str]:
    if requested in (None, "cpu") or (requested == "auto" and not _accelerator_possible()):
        return "cpu", cpu_name()
    from cdengine.inference.device import choose_device

    try:
        chosen = choose_device(requested or "auto")
    except DeviceError:
        return str(requested), "absent"  # the command itself raises the error, after `start`
    return chosen.label, chosen.name


def _accelerator_possible() -> bool:
    """False only where it is certain that torch would find nothing but the CPU."""
    nodes = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # NVIDIA, NVIDIA under WSL, AMD
    return not sys.platform.startswith("linux") or any(Path(node).exists() for node in nodes)
