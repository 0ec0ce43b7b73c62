import sys
from pathlib import Path

import pytest
import torch

from cdengine.errors import DeviceError, UsageError
from cdengine.inference import device as devices
from cdengine.inference.device import Device, choose_device, choose_precision

CPU = Device("cpu", "a processor", "")
GPU = Device("cuda:0", "a GPU", "")


def test_cpu_is_always_there():
    found = choose_device("cpu")
    assert (found.label, found.kind, found.torch_device) == ("cpu", "cpu", torch.device("cpu"))
    assert found.name


@pytest.mark.parametrize("request_", ["gpu", "cuda:", "cuda:x", "CPU", "cuda:-1", "", "xpu"])
def test_unknown_device(request_):
    with pytest.raises(DeviceError, match="unknown: use auto, cpu, cuda") as caught:
        choose_device(request_)
    assert caught.value.exit_code == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize("request_", ["cuda", "cuda:0", "cuda:7"])
def test_absent_device(request_):
    with pytest.raises(DeviceError, match=f"--device {request_}: no CUDA device works here.*--device auto or cpu"):
        choose_device(request_)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="needs a machine without MPS")
def test_absent_mps():
    with pytest.raises(DeviceError, match="no MPS device"):
        choose_device("mps")


def test_auto_takes_cuda_before_mps_before_the_cpu(monkeypatch):
    monkeypatch.setattr(devices, "_accelerator", lambda label: f"named {label}")
    for works, expected in ((("cuda:0", "mps"), "cuda:0"), (("mps",), "mps"), ((), "cpu")):
        monkeypatch.setattr(devices, "_fault", lambda label, works=works: "" if label in works else f"no {label}")
        found = choose_device("auto")
        assert found.label == expected
    assert found.reason == "no cuda:0; no mps"  # why it is the CPU, for the log


def test_an_old_driver_is_told(monkeypatch):
    """torch says so in a warning only."""

    def is_available():
        import warnings

        warnings.warn("CUDA initialization: The NVIDIA driver on your system is too old", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    with pytest.raises(DeviceError, match="driver on your system is too old"):
        choose_device("cuda")
    assert "too old" in choose_device("auto").reason


def test_a_device_that_is_listed_but_does_not_run(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match="there are 1 CUDA devices"):
        choose_device("cuda:3")

    def broken(*args, **kwargs):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore")

    monkeypatch.setattr(torch, "ones", broken)
    with pytest.raises(DeviceError, match="no kernel image") as caught:
        choose_device("cuda")
    assert "more" not in str(caught.value)


@pytest.mark.parametrize(
    ("capability", "expected"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16"), ((6, 1), "fp32")]
)
def test_automatic_precision_on_cuda(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", GPU) == expected


@pytest.mark.parametrize(("bf16", "expected"), [(True, "bf16"), (False, "fp32")])
def test_automatic_precision_on_a_cpu(monkeypatch, bf16, expected):
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: bf16)
    assert choose_precision("auto", CPU) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc/cpuinfo")
def test_bf16_of_this_processor():
    flags = Path("/proc/cpuinfo").read_text().split()
    assert devices.cpu_has_bf16() == bool({"amx_tile", "avx512_bf16"} & set(flags))


def test_asked_precision():
    assert [choose_precision(name, CPU) for name in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]
    with pytest.raises(UsageError, match="fp8: unknown: use auto, fp32, bf16, fp16"):
        choose_precision("fp8", CPU)
