"""Choosing the instruction set."""

from __future__ import annotations

import pytest
import torch

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d
from ebcore.packed import available, isa, pack


def test_fastest_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EBCORE_ISA", raising=False)
    assert isa() == available()[0]
    assert available()[-1] == "portable"


def test_variable_forces_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBCORE_ISA", "portable")
    assert isa() == "portable"
    assert pack(BinaryConv2d(1, 1, 1), (1, 1, 1)).isa == "portable"


def test_unknown_one_is_refused_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBCORE_ISA", "sse9")
    with pytest.raises(InputError, match=r"EBCORE_ISA=sse9.*portable"):
        isa()


def test_every_path_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    # BN then sign, near the threshold on purpose: a fused multiply-add would round otherwise.
    norm = torch.nn.BatchNorm2d(40).eval()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.running_mean)
    stack = torch.nn.Sequential(norm, BinaryConv2d(40, 24, 3, padding=1)).eval()
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    zero = (norm.running_mean - norm.bias / scale).detach().view(1, -1, 1, 1)
    x = zero * (1 + 1e-7 * torch.randn(8, 40, 9, 9))
    traces = []
    for name in available():
        monkeypatch.setenv("EBCORE_ISA", name)
        traces.append(pack(stack, (40, 9, 9)).trace(x).layers["1"])
    assert 0.2 < float(traces[0].bits.float().mean()) < 0.8
    for trace in traces[1:]:
        assert torch.equal(trace.bits, traces[0].bits)
        assert torch.equal(trace.accumulators, traces[0].accumulators)
