"""BIT: exchange of dates, and what its tokens carry."""

import torch

from cdengine.models.bit import Layer
from cdengine.models.zoo import build


def test_equal_dates_differ_only_by_their_places_among_the_tokens():
    """Tokens have learnt places, so equal dates do not give equal features, but nearly so without those places."""
    torch.manual_seed(0)
    network = build("bit", {"decoder_depth": 2}).eval()
    image = torch.randn(1, 3, 32, 32)
    torch.nn.init.zeros_(network.position)
    flat = network(image, image)
    # no difference at any pixel: away from the border the head sees zeros only
    torch.testing.assert_close(flat[..., 4:-4, 4:-4], flat[..., 4:5, 4:5].expand(1, 1, 24, 24), atol=1e-5, rtol=1e-5)


def test_a_layer_attends_to_memory():
    torch.manual_seed(0)
    layer = Layer(8, 2, 4).eval()
    queries, memory = torch.randn(1, 6, 8), torch.randn(1, 1, 8)
    with torch.no_grad():
        seen = layer.out(layer.value(layer.norm(memory)))  # one token: every query sees all of it
        found = queries + seen
        torch.testing.assert_close(layer(queries, memory), found + layer.mlp(found))


def test_stages_as_in_the_paper():
    for levels, channels in [(3, 128), (4, 256), (5, 512)]:
        network = build("bit", {"levels": levels, "decoder_depth": 1})
        assert network.project.in_channels == channels and network.stride == 8
