"""What the tests of the packed runtime share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from ebcore.layers import BinaryConv2d, ShiftedPReLU, TwoSlopePReLU
from ebcore.models import EBResNet, resnet
from ebcore.packed import available
from ebcore.packed.isa import NAMES, VARIABLE


@pytest.fixture(autouse=True)
def _one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=NAMES)
def forced_isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each instruction set that this CPU has, forced; portable is always among them."""
    name: str = request.param
    if name not in available():
        pytest.skip(f"this CPU lacks {name}")
    monkeypatch.setenv(VARIABLE, name)
    return name


def _randomise(model: nn.Module) -> None:
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            assert m.running_mean is not None and m.running_var is not None
            m.running_mean.normal_(0, 0.3)
            m.running_var.uniform_(0.5, 2)
            nn.init.normal_(m.weight)  # half of them negative
            nn.init.normal_(m.bias, 0, 0.3)
            m.weight.data[0] = 0  # a constant channel
        elif isinstance(m, nn.PReLU):
            nn.init.uniform_(m.weight, -0.5, 0.5)
        elif isinstance(m, TwoSlopePReLU | ShiftedPReLU):
            for parameter in m.parameters():
                nn.init.normal_(parameter)
        elif isinstance(m, BinaryConv2d):
            if m.alpha is not None:
                nn.init.normal_(m.alpha, 0, 0.2)
            if m.gate is not None:
                nn.init.normal_(m.gate.linear.weight)


@pytest.fixture
def network() -> Callable[..., EBResNet]:
    """Builds a small network whose BN statistics, slopes, scales and gates are random."""

    def build(**settings: object) -> EBResNet:
        small: dict[str, object] = {
            "spec": "1111-2-4:4:4:4",
            "width": 8,
            "stem_width": 16,
            "stem": "small",
            "num_classes": 10,
        }
        model = resnet(**(small | settings))  # type: ignore[arg-type]
        _randomise(model)
        return model.eval()

    return build
