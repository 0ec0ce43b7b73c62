"""Published weights: what authors' code computes from them, the imported network computes too.

No published file travels with the tests. Their names and shapes are written down here as the authors' repositories have
them, filled with random numbers, and run through plain functional forms of the papers' networks.
"""

import pytest
import torch
import torchvision
from model_files import card_for
from safetensors.torch import save_file
from torch.nn import functional

from cdengine.errors import ModelError, ModelWeightsError, UnknownModelError
from cdengine.models.import_weights import fit, import_weights, read_tensors
from cdengine.models.modelfile import load_model
from cdengine.models.published_names import namings
from cdengine.models.zoo import build, build_meta

SKIPS = {"fc-ef": 1, "fc-siam-conc": 2, "fc-siam-diff": 1}
KNOWN = [
    ("fc-ef", {}),
    ("fc-siam-conc", {}),
    ("fc-siam-diff", {}),
    ("snunet", {"width": 8}),
    ("tinycd", {}),
    *(("tinycd", {"variant": f"v2-{size}"}) for size in "sbl"),
    *(("lightcdnet", {"size": size}) for size in "sbl"),
]


class Weights:
    """A published state dict in the making: asked for a tensor that is not there, it draws one."""

    def __init__(self):
        self.tensors = {}

    def get(self, name, *shape, positive=False):
        if name not in self.tensors:
            drawn = torch.rand(shape) + 0.5 if positive else torch.randn(shape) / max(1, shape[-1] * shape[0]) ** 0.5
            self.tensors[name] = drawn
        return self.tensors[name]

    def convolve(self, name, x, width, kernel=3):
        weight, bias = self.get(f"{name}.weight", width, x.shape[1], kernel, kernel), self.get(f"{name}.bias", width)
        return functional.conv2d(x, weight, bias, padding=kernel // 2)

    def deconvolve(self, name, x, width, stride=1):
        """The transposed convolution of Caye Daudt's decoder."""
        weight, bias = self.get(f"{name}.weight", x.shape[1], width, 3, 3), self.get(f"{name}.bias", width)
        return functional.conv_transpose2d(x, weight, bias, stride, padding=1, output_padding=stride - 1)

    def normalise(self, name, x):
        names = [f"{name}.{part}" for part in ("running_mean", "running_var", "weight", "bias")]
        mean, variance, scale, shift = (self.get(n, x.shape[1], positive=n.endswith("var")) for n in names)
        self.tensors[f"{name}.num_batches_tracked"] = torch.tensor(1)
        return functional.batch_norm(x, mean, variance, scale, shift)


def caye_daudt(weights, architecture, before, after):
    """Two class scores, computed as the authors' code does."""

    def encode(x):
        levels = []
        for level, (width, count) in enumerate(zip((16, 32, 64, 128), (2, 2, 3, 3), strict=True), 1):
            for number in range(1, count + 1):
                x = weights.convolve(f"conv{level}{number}", x, width)
                x = functional.relu(weights.normalise(f"bn{level}{number}", x))
            levels.append(x)
            x = functional.max_pool2d(x, 2)
        return levels, x

    if architecture == "fc-ef":
        skips, x = encode(torch.cat([before, after], 1))
    else:
        first, _ = encode(before)
        second, x = encode(after)
        join = {"fc-siam-conc": lambda a, b: torch.cat([a, b], 1), "fc-siam-diff": lambda a, b: (a - b).abs()}
        skips = [join[architecture](a, b) for a, b in zip(first, second, strict=True)]
    for level, width, finer in ((4, 128, 64), (3, 64, 32), (2, 32, 16), (1, 16, None)):
        x = torch.cat([weights.deconvolve(f"upconv{level}", x, width, 2), skips[level - 1]], 1)
        for number in range(3 if level > 2 else 2, 0, -1):
            if (level, number) == (1, 1):
                return weights.deconvolve("conv11d", x, 2)
            x = weights.deconvolve(f"conv{level}{number}d", x, finer if number == 1 else width)
            x = functional.relu(weights.normalise(f"bn{level}{number}d", x))
    raise AssertionError


def snunet(weights, width, before, after):
    """Two class scores of SNUNet with ECAM, computed as the authors' code does."""

    def block(name, x, channels):
        start = weights.convolve(f"{name}.conv1", x, channels)
        y = weights.convolve(f"{name}.conv2", functional.relu(weights.normalise(f"{name}.bn1", start)), channels)
        return functional.relu(start + weights.normalise(f"{name}.bn2", y))

    def attention(name, x, ratio):
        channels = x.shape[1]
        squeeze = weights.get(f"{name}.fc1.weight", channels // ratio, channels, 1, 1)
        excite = weights.get(f"{name}.fc2.weight", channels, channels // ratio, 1, 1)
        pooled = functional.adaptive_avg_pool2d(x, 1), functional.adaptive_max_pool2d(x, 1)
        return torch.sigmoid(
            sum(functional.conv2d(functional.relu(functional.conv2d(p, squeeze)), excite) for p in pooled)
        )

    widths = [width * 2**level for level in range(5)]
    features = {}
    for date, x in (("A", before), ("B", after)):
        for level in range(5):
            x = block(f"conv{level}_0", functional.max_pool2d(x, 2) if level else x, widths[level])
            features[level, 0, date] = x
    nodes = {(level, 0): features[level, 0, "B"] for level in range(5)}
    for step in range(1, 5):
        for level in range(5 - step):
            name, below = f"Up{level + 1}_{step - 1}.up", nodes[level + 1, step - 1]
            kernel = weights.get(f"{name}.weight", below.shape[1], below.shape[1], 2, 2)
            up = functional.conv_transpose2d(below, kernel, weights.get(f"{name}.bias", below.shape[1]), 2)
            earlier = [nodes[level, one] for one in range(1, step)]
            joined = torch.cat([features[level, 0, "A"], features[level, 0, "B"], *earlier, up], 1)
            nodes[level, step] = block(f"conv{level}_{step}", joined, widths[level])
    outputs = [nodes[0, step] for step in range(1, 5)]
    together = torch.cat(outputs, 1)
    inside = attention("ca1", sum(outputs), 4).repeat(1, 4, 1, 1)
    return weights.convolve("conv_final", attention("ca", together, 16) * (together + inside), 2, 1)


def published(architecture, width=8):
    """Images, a state dict as the authors' code saves it, and the logit that it means."""
    torch.manual_seed(11)
    before, after = torch.randn(2, 3, 48, 32), torch.randn(2, 3, 48, 32)
    weights = Weights()
    if architecture == "snunet":
        scores = snunet(weights, width, before, after)
    else:
        scores = caye_daudt(weights, architecture, before, after)
    return (before, after), weights.tensors, scores[:, 1:] - scores[:, :1]


@pytest.mark.parametrize("architecture", [*SKIPS, "snunet"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.backbone."])
def test_it_computes_what_the_authors_code_computes(architecture, prefix, tmp_path):
    arguments = {"width": 8} if architecture == "snunet" else {}
    images, tensors, wanted = published(architecture)
    torch.save({prefix + name: tensor for name, tensor in tensors.items()}, tmp_path / "net.pth")
    imported = import_weights(
        tmp_path / "net.pth", tmp_path / "m.safetensors", card_for(architecture, **{"arguments": arguments})
    )
    assert (imported.share, imported.unused) == (1.0, ())
    module = load_model(tmp_path / "m.safetensors").module
    with torch.inference_mode():
        torch.testing.assert_close(module(*images), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))


def test_tinycd_has_torchvisions_efficientnet():
    theirs = torchvision.models.efficientnet_b4(weights=None).features[:4].eval()
    given = {f"_backbone.{name}": tensor for name, tensor in theirs.state_dict().items()}
    module, imported = fit(given, card_for("tinycd"))
    assert imported.unused == ()
    assert not any(name.startswith("backbone") for name in imported.missing)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(module.eval().backbone(image)[-1], theirs(image))


@pytest.mark.parametrize(("architecture", "arguments"), KNOWN)
def test_every_layer_of_the_network_has_one_published_name(architecture, arguments):
    (naming,) = namings(architecture, arguments)
    tensors = build_meta(architecture, {**arguments, **naming.arguments}).state_dict()
    wanted = {name.rpartition(".")[0] for name in tensors}
    ours = [own for theirs, own in naming.layers.items() if own in wanted and not theirs.startswith("decode_head.conv")]
    absent = wanted - set(naming.layers.values())
    assert absent == set()
    # heads apart, which two codes name differently, no two published layers go to one of ours
    assert len(ours) - len(set(ours)) == 0


# Names and shapes as Open-CD's configurations make them, a handful per part of the network.
TINYCD_V2_B = {
    "backbone.conv1.conv.weight": (16, 3, 3, 3),
    "backbone.conv1.bn.running_mean": (16,),
    "backbone.fusion_block.stem.1.conv.0.conv.weight": (64, 16, 1, 1),
    "backbone.fusion_block.stem.1.interact.fc_select.weight": (128, 8, 1, 1),
    "backbone.fusion_block.stem.1.post_conv.bn.weight": (16,),
    "backbone.fusion_block.pseudo_fusion.1.weight": (32,),
    "backbone.fusion_block.pseudo_fusion.3.weight": (16, 2, 3, 3),
    "backbone.layer1.0.conv.0.conv.weight": (64, 16, 1, 1),
    "backbone.layer3.2.conv.3.bn.bias": (32,),
    "backbone.layer4.1.global_.2.weight": (48, 1, 11, 1),
    "backbone.layer4.1.layer_scale": (48,),
    "neck.lateral_convs.3.conv.weight": (24, 48, 1, 1),
    "neck.fpn_convs.0.conv.2.conv.weight": (24, 24, 1, 1),
    "decode_head.scale_heads.2.0.bn.running_var": (24,),
    "decode_head.gen_diff_attn.conv.weight": (24, 16, 1, 1),
    "decode_head.conv_seg.weight": (2, 24, 1, 1),
}
LIGHTCDNET_S = {
    "backbone.conv1.0.weight": (24, 3, 3, 3),
    "backbone.conv1.1.bias": (24,),
    "backbone.fusion_conv.stages.0.0.weight": (96, 24, 1, 1),
    "backbone.fusion_conv.stages.4.branch2.5.weight": (48, 48, 1, 1),
    "backbone.fusion_conv.single_conv.1.running_mean": (24,),
    "backbone.fusion_conv.time_attn.mlp.3.weight": (48, 8, 1, 1),
    "backbone.fusion_conv.final_conv.0.weight": (24, 48, 1, 1),
    "backbone.stages.0.branch1.0.weight": (24, 1, 3, 3),
    "backbone.stages.4.cca.query_conv.weight": (6, 48, 1, 1),
    "backbone.stages.13.cca.gamma.scale": (),
    "backbone.stages.15.branch2.3.weight": (96, 1, 3, 3),
    "neck.fpn_convs.1.conv.weight": (48, 48, 3, 3),
    "decode_head.scale_heads.3.0.conv.weight": (48, 48, 1, 1),
    "decode_head.conv_seg.bias": (2,),
}


@pytest.mark.parametrize(
    ("architecture", "arguments", "tensors"),
    [("tinycd", {"variant": "v2-b"}, TINYCD_V2_B), ("lightcdnet", {}, LIGHTCDNET_S)],
)
def test_names_of_open_cd_find_their_layers(architecture, arguments, tensors):
    given = {name: torch.zeros(shape) for name, shape in tensors.items()}
    given["auxiliary_head.conv_seg.weight"] = torch.zeros(2, 24, 1, 1)
    _, imported = fit(given, card_for(architecture, arguments=arguments))
    assert len(imported.matched) == len(tensors)
    assert len(imported.unused) == 1


def test_own_checkpoints_are_read_as_they_are(tmp_path):
    torch.manual_seed(3)
    module = build("fc-ef", {})
    state = {f"module.{name}": value for name, value in module.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}}, tmp_path / "last.ckpt")
    imported = import_weights(tmp_path / "last.ckpt", tmp_path / "m.safetensors", card_for("fc-ef"))
    assert (imported.share, imported.naming) == (1.0, "")
    loaded = load_model(tmp_path / "m.safetensors").module.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in module.state_dict().items() if value.ndim)


def test_safetensors_without_a_card(tmp_path):
    images, tensors, wanted = published("fc-siam-conc")
    save_file(tensors, tmp_path / "net.safetensors")
    import_weights(tmp_path / "net.safetensors", tmp_path / "m.safetensors", card_for("fc-siam-conc"))
    module = load_model(tmp_path / "m.safetensors").module
    with torch.inference_mode():
        torch.testing.assert_close(module(*images), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        read_tensors(tmp_path / "bad.safetensors")


def test_too_little_is_refused_and_told(tmp_path):
    _, tensors, _ = published("fc-ef")
    kept = dict(list(tensors.items())[: len(tensors) // 2])
    torch.save(kept, tmp_path / "half.pth")
    with pytest.raises(ModelWeightsError, match=r"half\.pth: \d+ of 124 tensors of fc-ef .*; missing: decoder"):
        import_weights(tmp_path / "half.pth", tmp_path / "m.safetensors", card_for("fc-ef"))
    assert not (tmp_path / "m.safetensors").exists()


def test_another_width_is_told_by_its_shapes(tmp_path):
    _, tensors, _ = published("snunet", 8)
    torch.save(tensors, tmp_path / "net.pth")
    with pytest.raises(
        ModelWeightsError,
        match=r"encoder\.0\.first\.weight \(conv0_0\.conv1\.weight, \[8, 3, 3, 3\] in place of \[16, 3, 3, 3\]",
    ):
        import_weights(tmp_path / "net.pth", tmp_path / "m.safetensors", card_for("snunet", arguments={"width": 16}))


class Nasty:
    def __reduce__(self):
        return (print, ("code from a file ran",))


def test_code_in_a_file_never_runs(tmp_path, capsys):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "extra": Nasty()}, tmp_path / "bad.pth")
    with pytest.raises(ModelError, match="never loaded"):
        read_tensors(tmp_path / "bad.pth")
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "no file of weights"), (b"PK\x03\x04 broken", "no file of weights"), (b"plain text", "bad.pth")],
)
def test_broken_files(content, said, tmp_path):
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(ModelError, match=said):
        read_tensors(tmp_path / "bad.pth")


def test_files_without_weights(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "bad.pth")
    with pytest.raises(ModelError, match="no state dict"):
        read_tensors(tmp_path / "bad.pth")
    with pytest.raises(UnknownModelError, match="no such file"):
        read_tensors(tmp_path / "none.pth")
