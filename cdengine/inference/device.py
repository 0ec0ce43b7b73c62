"""Which device and which precision a network runs on: checked when asked for, chosen and explained when `auto`."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

import torch

from cdengine.errors import DeviceError, UsageError
from cdengine.inference.processor import cpu_name

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Device:
    """A device that was tried and works.

    Attributes:
        label: as torch and `--device` write it: "cpu", "cuda:0", "mps".
        name: what it is sold as.
        reason: why it was taken, for the log.
    """

    label: str
    name: str
    reason: str

    @property
    def kind(self) -> str:
        """`cpu`, `cuda` or `mps`."""
        return self.label.partition(":")[0]

    @property
    def torch_device(self) -> torch.device:
        """The same for torch."""
        return torch.device(self.label)


def choose_device(request: str = "auto") -> Device:
    """Finds the device to compute on.

    Args:
        request: "auto" (CUDA before MPS before the CPU), "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        DeviceError: no such device, or it is there and does not work.
    """
    if request == "cpu":
        return Device("cpu", cpu_name(), "as asked for")
    if request == "mps" or re.fullmatch(r"cuda(:\d{1,3})?", request):
        label = "cuda:0" if request == "cuda" else request
        fault = _fault(label)
        if fault:
            raise DeviceError(f"--device {request}: {fault}: use --device auto or cpu")
        return Device(label, _accelerator(label), "as asked for")
    if request != "auto":
        raise DeviceError(f"--device {request[:40]}: unknown: use auto, cpu, cuda, cuda:N or mps")
    faults = []
    for label in ("cuda:0", "mps"):
        fault = _fault(label)
        if not fault:
            return Device(label, _accelerator(label), "the first that works of CUDA, MPS and CPU")
        faults.append(fault)
    return Device("cpu", cpu_name(), "; ".join(faults))


def choose_precision(request: str, device: Device) -> str:
    """Finds the arithmetic of the network's layers; sigmoid, softmax and blending are float32 whatever it is.

    `auto` takes bf16 where the hardware has it (CUDA from Ampere on, CPUs with AMX or AVX512-BF16), fp16 on Volta and
    Turing, else fp32. A CPU without bf16 instructions emulates it several times more slowly, so it gets fp32, and so
    does MPS.

    Returns:
        "fp32", "bf16" or "fp16".

    Raises:
        UsageError: unknown name.
    """
    if request not in PRECISIONS:
        raise UsageError(f"--precision {request[:40]}: unknown: use {', '.join(PRECISIONS)}")
    if request != "auto":
        return request
    if device.kind == "cuda":
        major, _ = torch.cuda.get_device_capability(device.torch_device)
        return "bf16" if major >= 8 else "fp16" if major == 7 else "fp32"
    return "bf16" if device.kind == "cpu" and cpu_has_bf16() else "fp32"


def cpu_has_bf16() -> bool:
    """Whether this processor multiplies bf16 in hardware."""
    # torch has no public question for it (2.10 to 2.15): https://github.com/pytorch/pytorch/blob/main/torch/cpu
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def _fault(label: str) -> str:
    """Why an accelerator cannot be used; "" if it can. One addition is tried: a listed device may still not run."""
    kind, _, index = label.partition(":")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        there = torch.cuda.is_available() if kind == "cuda" else torch.backends.mps.is_available()
    if not there:
        # An old driver shows up as a warning of torch, not as an error.
        said = next((str(item.message).splitlines()[0][:160] for item in caught), "")
        return f"no {kind.upper()} device works here" + (f" ({said})" if said else "")
    if kind == "cuda" and int(index) >= torch.cuda.device_count():
        return f"there are {torch.cuda.device_count()} CUDA devices, numbered from 0"
    try:
        torch.ones(1, device=label).add_(1).cpu()
    except RuntimeError as error:
        return f"does not work ({str(error).splitlines()[0][:160]})"
    return ""


def _accelerator(label: str) -> str:
    return torch.cuda.get_device_name(label) if label.startswith("cuda") else "Apple GPU"
