"""How published code names the layers of networks that this package has under names of its own. Loads no torch.

Facts read from the authors' repositories; the tables are made by loops, since the names follow the layers' numbers.
Prefixes of wrappers ("module.", "backbone.") are off already: see `import_weights`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

CONVOLUTIONS = {1: 2, 2: 2, 3: 3, 4: 3}  # of the four levels of Caye Daudt's networks


@dataclass(frozen=True)
class Naming:
    """One published code's names.

    Attributes:
        source: whose code.
        layers: published layer → ours; the names of tensors follow after a dot.
        tensors: last parts of tensor names that differ, likewise.
        turned: published layers that are transposed convolutions of stride 1 and plain ones here.
        arguments: of our constructor, which this code implies.
    """

    source: str
    layers: Mapping[str, str]
    tensors: Mapping[str, str] = field(default_factory=dict)
    turned: frozenset[str] = frozenset()
    arguments: Mapping[str, Any] = field(default_factory=dict)


def namings(architecture: str, arguments: Mapping[str, Any]) -> list[Naming]:
    """The published namings that are known for an architecture with these arguments; none for most."""
    makers = _MAKERS.get(architecture, ())
    return [maker(arguments) for maker in makers]


def _fully_convolutional(encoder: str, arguments: Mapping[str, Any]) -> Naming:
    layers = {"conv11d": "head"}
    for level, count in CONVOLUTIONS.items():
        depth = 4 - level
        layers[f"upconv{level}"] = f"decoder.up.{depth}"
        for number in range(1, count + 1):
            place = 4 * (number - 1)  # convolution, normalisation, ReLU, dropout
            layers[f"conv{level}{number}"] = f"{encoder}.levels.{level - 1}.{place}"
            layers[f"bn{level}{number}"] = f"{encoder}.levels.{level - 1}.{place + 1}"
            if (level, number) == (1, 1):
                continue  # the decoder's last one is the head
            place = 4 * (count - number)  # the decoder counts downwards
            layers[f"conv{level}{number}d"] = f"decoder.merge.{depth}.{place}"
            layers[f"bn{level}{number}d"] = f"decoder.merge.{depth}.{place + 1}"
    turned = frozenset(name for name in layers if name.startswith("conv") and name.endswith("d"))
    return Naming("rcdaudt/fully_convolutional_change_detection", layers, turned=turned, arguments=arguments)


def _snunet(arguments: Mapping[str, Any]) -> Naming:
    layers = {"conv_final": "head", "decode_head.conv_seg": "head"}
    parts = {"conv1": "first", "bn1": "norm1", "conv2": "second", "bn2": "norm2"}
    for level in range(5):
        for step in range(5 - level):
            node = f"nodes.{level}_{step}" if step else f"encoder.{level}"
            for theirs, ours in parts.items():
                layers[f"conv{level}_{step}.{theirs}"] = f"{node}.{ours}"
            if level:
                layers[f"Up{level}_{step}.up"] = f"up.{level - 1}_{step + 1}"
    for theirs, ours in (("ca", "ensemble"), ("ca1", "intra")):
        layers |= {f"{theirs}.fc1": f"{ours}.squeeze", f"{theirs}.fc2": f"{ours}.excite"}
    return Naming("likyoo/Siam-NestedUNet, or Open-CD", layers)


def _tinycd(arguments: Mapping[str, Any]) -> Naming:
    layers = _efficientnet("_backbone", "backbone.features", (2, 4, 4))
    masks = {"_first_mix": "image_mask", "_mixing_mask.0": "masks.0", "_mixing_mask.1": "masks.1"}
    mixes = {f"{theirs}._mixing": f"{ours}.mix" for theirs, ours in masks.items()} | {"_mixing_mask.2": "mix"}
    for theirs, ours in mixes.items():
        layers |= {f"{theirs}._convmix.0": f"{ours}.convolution", f"{theirs}._convmix.1": f"{ours}.activation"}
    perceptrons = {f"{theirs}._linear": f"{ours}.perceptron" for theirs, ours in masks.items()}
    for theirs, ours in (perceptrons | {"_classify": "head.0"}).items():
        for number in range(3 if ours != "head.0" else 2):
            layers[f"{theirs}._linears.{number}.0"] = f"{ours}.{2 * number}"
            layers[f"{theirs}._linears.{number}.1"] = f"{ours}.{2 * number + 1}"
    layers |= {"_classify._linears.2.0": "head.1", "decode_head.conv_seg": "head.1"}
    for number in range(3):
        for place in (0, 1, 3, 4):
            layers[f"_up.{number}._convolution.{place}"] = f"up.{number}.convolution.{place}"
    return Naming("AndreaCodegoni/Tiny_model_4_CD, or Open-CD", layers)


def _efficientnet(theirs: str, ours: str, depths: tuple[int, ...]) -> dict[str, str]:
    """Torchvision's names of an EfficientNet's first stages to timm's."""
    layers = {f"{theirs}.0.0": f"{ours}.conv_stem", f"{theirs}.0.1": f"{ours}.bn1"}
    squeeze = {"fc1": "se.conv_reduce", "fc2": "se.conv_expand"}
    for stage, depth in enumerate(depths):
        names = ("conv_dw", "bn1"), None, ("conv_pw", "bn2")
        if stage:
            names = ("conv_pw", "bn1"), ("conv_dw", "bn2"), None, ("conv_pwl", "bn3")  # type: ignore[assignment]
        for block in range(depth):
            for place, pair in enumerate(names):
                inner = {"0": pair[0], "1": pair[1]} if pair else squeeze
                for number, name in inner.items():
                    layers[f"{theirs}.{stage + 1}.{block}.block.{place}.{number}"] = (
                        f"{ours}.blocks.{stage}.{block}.{name}"
                    )
    return layers


def _tinycd_v2(arguments: Mapping[str, Any]) -> Naming:
    fusions, depths = (4, (2, 2, 6, 1)) if arguments.get("variant") == "v2-l" else (2, (2, 2, 3, 1))
    layers = _open_cd_module("conv1", "stem") | _open_cd_pyramid()
    for number in range(fusions):
        theirs, ours = f"fusion_block.stem.{number}", f"interact.{number}"
        layers |= _open_cd_module(f"{theirs}.conv.0", f"{ours}.expand.0")
        layers |= _open_cd_module(f"{theirs}.conv.1", f"{ours}.expand.1")
        layers |= _open_cd_module(f"{theirs}.post_conv", f"{ours}.project")
        for name, own in (("fc_reduce", "squeeze"), ("bn", "norm"), ("fc_select", "select")):
            layers[f"{theirs}.interact.{name}"] = f"{ours}.{own}"
    layers |= {f"fusion_block.pseudo_fusion.{place}": f"fuse.{place}" for place in (0, 1, 3)}
    for stage, depth in enumerate(depths):
        theirs, ours = f"layer{stage + 1}", f"stages.{stage}"
        for block in range(depth):
            for place, within in ((0, 0), (1, 1), (3, 2)):  # 2 is an attention that is switched off
                layers |= _open_cd_module(f"{theirs}.{block}.conv.{place}", f"{ours}.{block}.layers.{within}")
        layers[f"{theirs}.{depth}"] = f"{ours}.{depth}"  # the scale
        layers |= {f"{theirs}.{depth}.global_.{place}": f"{ours}.{depth}.strips.{place}" for place in range(3)}
        for name, own in (("v", "value"), ("proj", "project"), ("norm", "norm")):
            layers[f"{theirs}.{depth}.{name}"] = f"{ours}.{depth}.{own}"
    for level in range(4):
        for place, within in ((0, 0), (2, 1)):
            layers |= _open_cd_module(f"neck.fpn_convs.{level}.conv.{place}", f"smooth.{level}.layers.{within}")
    layers["decode_head.gen_diff_attn.conv"] = "prior"
    return Naming("Open-CD", layers, tensors={"layer_scale": "scale"})


def _lightcdnet(arguments: Mapping[str, Any]) -> Naming:
    fusions = {"s": 4, "b": 8, "l": 16}.get(arguments.get("size", "s"), 0)
    layers = {"conv1.0": "stem.0", "conv1.1": "stem.1"} | _open_cd_pyramid()
    refine = {"fusion_conv.stages.0": 0, "fusion_conv.single_conv": 3 + fusions}
    for theirs, place in refine.items():
        layers |= {f"{theirs}.0": f"fusion.refine.{place}", f"{theirs}.1": f"fusion.refine.{place + 1}"}
    for unit in range(fusions):
        layers |= _unit(f"fusion_conv.stages.{unit + 1}", f"fusion.refine.{3 + unit}")
    layers |= {f"fusion_conv.time_attn.mlp.{place}": f"fusion.attention.{place}" for place in (0, 1, 3)}
    layers |= {f"fusion_conv.final_conv.{place}": f"fusion.join.{place}" for place in (0, 1)}
    for place in range(16):  # what comes behind is computed for nothing there
        theirs, ours = f"stages.{place}", f"layers.{place}"
        if place in (4, 13):
            layers |= {f"{theirs}.cca.{name}_conv": f"{ours}.{name}" for name in ("query", "key", "value")}
            layers[f"{theirs}.cca.gamma"] = ours
        else:
            layers |= _unit(theirs, ours)
    layers |= {f"neck.fpn_convs.{level}.conv": f"smooth.{level}" for level in range(4)}
    return Naming("NightSongs/LightCDNet, or Open-CD", layers, arguments={"published_taps": True})


def _unit(theirs: str, ours: str) -> dict[str, str]:
    """A unit of ShuffleNetV2; the short branch is there in the first of a stage only."""
    branches = {f"{theirs}.branch2.{place}": f"{ours}.long.{place}" for place in (0, 1, 3, 4, 5, 6)}
    return branches | {f"{theirs}.branch1.{place}": f"{ours}.short.{place}" for place in range(4)}


def _open_cd_module(theirs: str, ours: str) -> dict[str, str]:
    """A convolution with its normalisation (mmcv's ConvModule)."""
    return {f"{theirs}.conv": f"{ours}.0", f"{theirs}.bn": f"{ours}.1"}


def _open_cd_pyramid() -> dict[str, str]:
    """Laterals, scale heads and classifier, which LightCDNet and TinyCDv2 have alike."""
    layers = {"decode_head.conv_seg": "head"}
    for level in range(4):
        layers[f"neck.lateral_convs.{level}.conv"] = f"laterals.{level}"
        layers |= _open_cd_module(f"decode_head.scale_heads.{level}.0", f"scale.{level}")
    return layers


_MAKERS: dict[str, tuple[Callable[[Mapping[str, Any]], Naming], ...]] = {
    "fc-ef": (lambda _: _fully_convolutional("encoder", {}),),
    "fc-siam-conc": (lambda _: _fully_convolutional("encoder.encoder", {}),),
    "fc-siam-diff": (lambda _: _fully_convolutional("encoder.encoder", {"backbone": None}),),
    "snunet": (_snunet,),
    "tinycd": (lambda given: (_tinycd_v2 if str(given.get("variant", "v1")) != "v1" else _tinycd)(given),),
    "lightcdnet": (_lightcdnet,),
}
