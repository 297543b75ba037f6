"""The baselines of `ebcore.models.named` in packed form."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from ebcore.errors import InputError
from ebcore.layers import ChannelShuffle, RepeatChannels
from ebcore.models import EBResNet
from ebcore.models.named import NETWORKS
from ebcore.packed import pack
from ebcore.packed.agreement import agreement
from ebcore.packed.model import PackedModel

Network = Callable[..., EBResNet]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [32, 33])
def test_a_packed_baseline_agrees(network: Network, name: str, size: int) -> None:
    model = network(spec=name, width=8, stem_width=8)
    packed = pack(model, (3, size, size))
    report = agreement(model, packed, torch.randn(16, 3, size, size))
    assert report.ok, report.violations
    assert len(packed.binary_layers) == 16 + 3 * (model.config["shortcut"] == "binary")


@pytest.mark.parametrize(
    "options",
    [
        {"shortcut": "grouped"},
        {"shortcut": "concat", "stem_width": 4},
        {"shuffle": True, "pointwise": False},
        {"shuffle": True, "layout": "xnor", "experts": 1},
        {"shuffle": True, "activation": "shifted_prelu", "activation_position": "after"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_compressed_and_grouped_networks_agree(network: Network, options: dict[str, Any]) -> None:
    for width in (8, 32):
        model = network(**{"width": width, **options})
        packed = pack(model, (3, 17, 17))
        report = agreement(model, packed, torch.randn(8, 3, 17, 17))
        assert report.ok, report.violations


@pytest.mark.parametrize(("channels", "groups"), [(6, 3), (16, 4), (130, 2), (5, 1), (7, 7)])
def test_shuffled_channels_are_pytorchs(channels: int, groups: int) -> None:
    x = torch.randn(2, channels, 3, 5)
    out = pack(ChannelShuffle(groups), (channels, 3, 5))(x)
    assert torch.equal(out, torch.nn.ChannelShuffle(groups)(x))


def test_groups_that_do_not_divide_are_refused() -> None:
    packed = pack(ChannelShuffle(3), (6, 2, 2))
    packed.graph.nodes[0].attrs["groups"] = 4
    with pytest.raises(InputError, match="groups that do not divide its channels"):
        PackedModel(packed.graph)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_repeated_channels_are_pytorchs(times: int) -> None:
    x = torch.randn(2, 5, 3, 4)
    model = nn.Sequential(nn.BatchNorm2d(5), RepeatChannels(times), nn.ReLU()).eval()
    out = pack(model, (5, 3, 4))(x)
    torch.testing.assert_close(out, model(x).detach())


def test_hardtanh_by_hand() -> None:
    norm = nn.BatchNorm2d(2, eps=0.0).eval()  # the identity
    model = nn.Sequential(norm, nn.Hardtanh()).eval()
    x = torch.tensor([-3.0, -1.0, -0.25, 0.0, 0.5, 1.0, 2.0, -0.0]).view(1, 2, 2, 2)
    expected = torch.tensor([-1.0, -1.0, -0.25, 0.0, 0.5, 1.0, 1.0, 0.0]).view(1, 2, 2, 2)
    assert torch.equal(pack(model, (2, 2, 2))(x), expected)


def test_a_hardtanh_that_has_no_packed_form() -> None:
    with pytest.raises(InputError, match="layer '0': has no BatchNorm in front"):
        pack(nn.Sequential(nn.Hardtanh()), (2, 4, 4))
    with pytest.raises(InputError, match="layer '1': has other limits than -1 and 1"):
        pack(nn.Sequential(nn.BatchNorm2d(2), nn.Hardtanh(0, 6)), (2, 4, 4))
