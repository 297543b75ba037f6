"""A layer that packs the next layer's input leaves the bits which that layer would pack itself."""

from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from ebcore.layers import BinaryConv2d
from ebcore.packed import pack

pytestmark = pytest.mark.usefixtures("forced_isa")


def _stack(
    channels: int, groups: int, next_groups: int, kernel: int, stride: int, experts: int
) -> nn.Sequential:
    """BN, binary convolution, PReLU, BN, binary convolution with experts."""
    first = BinaryConv2d(32, channels, 3, stride=stride, padding=1, groups=groups)
    second = BinaryConv2d(
        channels, 20, kernel, padding=kernel // 2, groups=next_groups, experts=experts
    )
    stack = nn.Sequential(
        nn.BatchNorm2d(32), first, nn.PReLU(channels), nn.BatchNorm2d(channels), second
    )
    for parameter in stack.parameters():
        nn.init.normal_(parameter)
    return stack.eval()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(
        [
            (32, 1, 1),
            (32, 2, 1),
            (64, 1, 2),
            (64, 4, 1),
            (128, 1, 2),
            (96, 2, 1),
            (48, 1, 1),
            (40, 1, 1),
        ]
    ),
    st.sampled_from([1, 3]),
    st.integers(1, 2),
    st.integers(1, 3),
    st.tuples(st.integers(3, 9), st.sampled_from([3, 7, 14, 19, 57, 114])),
)
def test_bits_and_expert(
    channels: tuple[int, int, int], kernel: int, stride: int, experts: int, size: tuple[int, int]
) -> None:
    stack = _stack(*channels, kernel, stride, experts)
    packed = pack(stack, (32, *size))
    x = torch.randn(2, 32, *size)
    trace = packed.trace(x)
    assert torch.equal(packed(x), trace.logits)
    # The real values between the two layers, from the first one alone.
    between, _ = packed.run_layer("1", x)
    scale = torch.from_numpy(packed.graph.tensors[packed.graph.nodes[1].tensors["in_scale"]])
    shift = torch.from_numpy(packed.graph.tensors[packed.graph.nodes[1].tensors["in_shift"]])
    entering = between * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)
    assert torch.equal(trace.layers["4"].bits, entering >= 0)
    gate = stack[4].gate
    if gate is not None:
        logits = gate.linear(entering.mean((2, 3)))
        best = logits.topk(2).values
        clear = best[:, 0] - best[:, 1] > 1e-4 * logits.abs().amax(1)
        assert torch.equal(trace.layers["4"].expert[clear], logits.argmax(1)[clear])


def test_several_runs_of_several_threads_each() -> None:
    packed = pack(_stack(64, 1, 1, 3, 1, 2), (32, 14, 14))
    images = [torch.randn(1, 32, 14, 14) for _ in range(3)]
    expected = [packed(x) for x in images]
    packed.threads = 3
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(20):
            if not torch.equal(packed(images[i]), expected[i]):
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
