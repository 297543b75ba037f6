"""Expert convolution against autograd on the per-sample mixed kernel."""

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ebcore.binarize import sign
from ebcore.layers.expert_conv import expert_conv2d


def winner(z: Tensor) -> Tensor:
    soft = z.softmax(1)
    return F.one_hot(z.argmax(1), z.shape[1]).to(z.dtype) + soft - soft.detach()


def reference(
    x: Tensor, theta: Tensor, phi: Tensor, binary: bool, stride: int, padding: int, groups: int
) -> Tensor:
    kernels = torch.einsum("sn,noikl->soikl", phi, theta)
    if binary:
        kernels = sign(kernels)
    rows = [
        F.conv2d(x[i : i + 1], kernels[i], None, stride, padding, 1, groups) for i in range(len(x))
    ]
    return torch.cat(rows)


@settings(max_examples=40, deadline=None)
@given(
    binary=st.booleans(),
    stride=st.integers(1, 3),
    kernel=st.sampled_from([1, 3, 5]),
    groups=st.sampled_from([1, 2, 3]),
    per_group=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    experts=st.integers(2, 5),
    samples=st.integers(1, 6),
    size=st.tuples(st.integers(5, 8), st.integers(5, 8)),
    seed=st.integers(0, 2**20),
)
def test_output_and_gradients_equal_the_mixed_kernel_form(
    binary: bool,
    stride: int,
    kernel: int,
    groups: int,
    per_group: tuple[int, int],
    experts: int,
    samples: int,
    size: tuple[int, int],
    seed: int,
) -> None:
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        values = torch.randn(*shape, generator=random, dtype=torch.float64)
        return values.requires_grad_()

    ins, outs = per_group[0] * groups, per_group[1] * groups
    # Weights around the estimator's edge at 1, so that its mask matters.
    x, z = draw(samples, ins, *size), draw(samples, experts)
    theta = draw(experts, outs, per_group[0], kernel, kernel)
    options = (binary, stride, kernel // 2, groups)
    ours = expert_conv2d(x, theta, winner(z), *options)
    theirs = reference(x, theta, winner(z), *options)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn(ours.shape, generator=random, dtype=torch.float64)
    for got, expected in zip(
        torch.autograd.grad(ours, (x, theta, z), upstream),
        torch.autograd.grad(theirs, (x, theta, z), upstream),
        strict=True,
    ):
        torch.testing.assert_close(got, expected)


def test_gate_gradient_uses_latent_weights_and_the_chosen_kernels_mask() -> None:
    # One 1x1 kernel, one pixel: y = x * sign(theta_0), dW = g * x = 3 * 2 = 6.
    x = torch.tensor([[[[2.0]]]], requires_grad=True)
    theta = torch.tensor([0.5, -4.0]).view(2, 1, 1, 1, 1).requires_grad_()
    phi = torch.tensor([[1.0, 0.0]], requires_grad=True)
    expert_conv2d(x, theta, phi, True, 1, 0, 1).backward(torch.tensor([[[[3.0]]]]))
    assert phi.grad is not None and theta.grad is not None
    assert phi.grad.tolist() == [[6 * 0.5, 6 * -4.0]]  # mask of |0.5| < 1 for both
    assert theta.grad.flatten().tolist() == [6.0, 0.0]


def test_a_chosen_kernel_outside_one_passes_nothing_on() -> None:
    x = torch.tensor([[[[2.0]]]], requires_grad=True)
    theta = torch.tensor([1.5, 0.1]).view(2, 1, 1, 1, 1).requires_grad_()
    phi = torch.tensor([[1.0, 0.0]], requires_grad=True)
    expert_conv2d(x, theta, phi, True, 1, 0, 1).backward(torch.tensor([[[[3.0]]]]))
    assert phi.grad is not None and theta.grad is not None
    assert phi.grad.tolist() == [[0.0, 0.0]]
    assert theta.grad.flatten().tolist() == [0.0, 0.0]


def test_operator_registration() -> None:
    x = torch.randn(3, 4, 6, 6, requires_grad=True)
    theta = torch.randn(2, 6, 2, 3, 3, requires_grad=True)
    phi = F.one_hot(torch.tensor([1, 0, 1]), 2).float().requires_grad_()
    torch.library.opcheck(torch.ops.ebcore.expert_conv2d.default, (x, theta, phi, True, 2, 1, 2))


def test_a_chunked_backward_equals_an_unchunked_one(monkeypatch: object) -> None:
    import ebcore.layers.expert_conv as module

    def gradients() -> tuple[Tensor, ...]:
        torch.manual_seed(0)
        x = torch.randn(7, 4, 6, 6, dtype=torch.float64, requires_grad=True)
        theta = torch.randn(2, 4, 4, 3, 3, dtype=torch.float64, requires_grad=True)
        z = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)
        out = expert_conv2d(x, theta, winner(z), True, 1, 1, 1)
        return torch.autograd.grad(out.square().sum(), (x, theta, z))

    whole = gradients()
    monkeypatch.setattr(module, "_CHUNK_BYTES", 1)  # type: ignore[attr-defined]
    for one, other in zip(whole, gradients(), strict=True):
        torch.testing.assert_close(one, other)
