"""The baselines of `ebcore.models.named` in packed form."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from ebcore.errors import InputError
from ebcore.models import EBResNet
from ebcore.models.named import NETWORKS
from ebcore.packed import pack
from ebcore.packed.agreement import agreement

Network = Callable[..., EBResNet]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [32, 33])
def test_a_packed_baseline_agrees(network: Network, name: str, size: int) -> None:
    model = network(spec=name, width=8, stem_width=8)
    packed = pack(model, (3, size, size))
    report = agreement(model, packed, torch.randn(16, 3, size, size))
    assert report.ok, report.violations
    assert len(packed.binary_layers) == 16 + 3 * (model.config["shortcut"] == "binary")


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
