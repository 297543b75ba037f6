"""The two activations of our own, by hand and against autograd's numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ebcore.layers import ShiftedPReLU, TwoSlopePReLU

X = torch.tensor([-3.0, -1.0, -0.0, 0.0, 1.0, 4.0]).view(1, 1, 1, 6)


def filled(module: nn.Module, **values: float) -> nn.Module:
    for name, value in values.items():
        nn.init.constant_(module.get_parameter(name), value)
    return module


def flat(out: Tensor) -> list[float]:
    return out.flatten().tolist()


def test_two_slopes_by_hand() -> None:
    out = filled(TwoSlopePReLU(1), lower=0.5, upper=2.0)(X)
    assert flat(out) == [-3 * 0.5, -1 * 0.5, 0, 0, 1 * 2, 4 * 2]


def test_shifts_by_hand() -> None:
    out = filled(ShiftedPReLU(1), threshold=1.0, slope=0.5, offset=10.0)(X)
    # x - 1 is -4, -2, -1, -1, 0, 3
    assert flat(out) == [-2 + 10, -1 + 10, -0.5 + 10, -0.5 + 10, 0 + 10, 3 + 10]


@pytest.mark.parametrize("kind", [TwoSlopePReLU, ShiftedPReLU])
def test_it_starts_as_prelu(kind: type[nn.Module]) -> None:
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(kind(3)(x), nn.PReLU(3)(x))


@pytest.mark.parametrize("kind", [TwoSlopePReLU, ShiftedPReLU])
def test_parameters_are_per_channel(kind: type[nn.Module]) -> None:
    module = kind(2)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 2, 3, 3)
    for channel in range(2):
        one = kind(1)
        for name, parameter in module.named_parameters():
            one.get_parameter(name).data = parameter.data[channel : channel + 1]
        assert torch.equal(module(x)[:, channel : channel + 1], one(x[:, channel : channel + 1]))


@pytest.mark.parametrize("kind", [TwoSlopePReLU, ShiftedPReLU])
def test_gradients(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    module = kind(2).double()
    for parameter in module.parameters():
        nn.init.uniform_(parameter, 0.2, 0.8)
    x = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in module.named_parameters()]

    def run(x: Tensor, *values: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(
            module, dict(zip(names, values, strict=True)), (x,)
        )
        return out

    assert torch.autograd.gradcheck(run, (x, *module.parameters()))


@pytest.mark.parametrize("kind", [TwoSlopePReLU, ShiftedPReLU])
def test_nan_stays(kind: type[nn.Module]) -> None:
    assert kind(1)(torch.full((1, 1, 1, 1), torch.nan)).isnan().all()
