"""Expert convolution against autograd on the per-sample mixed kernel."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ebcore.binarize import sign
from ebcore.layers import BinaryConv2d, native
from ebcore.layers.expert_conv import expert_conv2d, expert_conv2d_backward


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
    import ebcore.layers.expert_reference as module

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


def one_hot(samples: int, experts: int, generator: torch.Generator) -> Tensor:
    chosen = torch.randint(0, experts, (samples,), generator=generator)
    return F.one_hot(chosen, experts).double()


@pytest.mark.parametrize("isa", native.available())
@settings(max_examples=60, deadline=None)
@given(
    binary=st.booleans(),
    stride=st.integers(1, 2),
    kernel=st.sampled_from([1, 2, 3, 5]),
    padding=st.integers(0, 3),
    groups=st.sampled_from([1, 2, 3]),
    per_group=st.tuples(st.integers(1, 35), st.integers(1, 35)),
    experts=st.integers(1, 9),
    samples=st.integers(1, 6),
    size=st.tuples(st.integers(5, 19), st.integers(5, 19)),
    seed=st.integers(0, 2**20),
)
def test_native_kernels_equal_the_reference_in_double_precision(
    isa: str,
    binary: bool,
    stride: int,
    kernel: int,
    padding: int,
    groups: int,
    per_group: tuple[int, int],
    experts: int,
    samples: int,
    size: tuple[int, int],
    seed: int,
) -> None:
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random).double()

    x = draw(samples, per_group[0] * groups, *size)
    theta = draw(experts, per_group[1] * groups, per_group[0], kernel, kernel)
    phi = one_hot(samples, experts, random)  # some experts are often never chosen
    options = (binary, stride, padding, groups)
    out = expert_conv2d(x, theta, phi, *options)
    grad = draw(*out.shape)
    expected = (out, *expert_conv2d_backward(grad, x, theta, phi, *options))
    single = [t.float() for t in (grad, x, theta)]
    got = (
        native.forward(isa, *single[1:], phi.argmax(1), *options),
        *native.backward(isa, *single, phi.argmax(1), *options),
    )
    # Sums of absolute terms: rounding is in proportion to those, also where the terms cancel.
    sizes = (
        expert_conv2d(x.abs(), theta.abs(), phi, *options),
        *expert_conv2d_backward(grad.abs(), x.abs(), theta.abs(), phi, *options),
    )
    for mine, theirs, terms in zip(got, expected, sizes, strict=True):
        scale = terms.abs().max().item() if terms.numel() else 0.0
        torch.testing.assert_close(mine.double(), theirs, rtol=0, atol=2e-6 * scale + 1e-6)


def test_a_binary_forward_is_exact() -> None:
    random = torch.Generator().manual_seed(0)
    x = sign(torch.randn(3, 70, 9, 9, generator=random))
    theta = torch.randn(4, 40, 70, 3, 3, generator=random)
    theta[0, 0, 0, 0, :2] = torch.tensor([0.0, -0.0])  # both count as +1
    phi = one_hot(3, 4, random).float()
    phi[0] = torch.tensor([1.0, 0, 0, 0])
    exact = expert_conv2d(x.double(), theta.double(), phi.double(), True, 1, 1, 1)
    assert torch.equal(expert_conv2d(x, theta, phi, True, 1, 1, 1).double(), exact)


def test_the_fast_path_is_the_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    x, theta, phi = torch.ones(2, 4, 5, 5), torch.ones(2, 4, 4, 3, 3), torch.eye(2)
    monkeypatch.delenv(native.VARIABLE, raising=False)
    assert native.instruction_set(x, theta, phi, 1) == next(iter(native.available()), None)
    assert native.instruction_set(x.double(), theta, phi, 1) is None
    assert native.instruction_set(x, theta, phi, 3) is None
    monkeypatch.setenv(native.VARIABLE, "portable")
    assert native.instruction_set(x, theta, phi, 1) is None


@pytest.mark.parametrize("size", [7, 24])  # in one chunk of samples, in several
def test_any_number_of_threads_gives_the_same_bits(size: int) -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(40, 48, size, size, generator=random)
    theta = torch.randn(3, 100, 48, 3, 3, generator=random)
    phi = one_hot(40, 3, random).float()
    grad = torch.randn(40, 100, size, size, generator=random)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 3):  # more than there are cores, too
            torch.set_num_threads(threads)
            out = expert_conv2d(x, theta, phi, True, 1, 1, 1)
            results.append((out, *expert_conv2d_backward(grad, x, theta, phi, True, 1, 1, 1)))
    finally:
        torch.set_num_threads(before)
    single = (theta, phi, True, 1, 1, 1)
    double = tuple(t.double() if isinstance(t, Tensor) else t for t in single)
    expected = expert_conv2d_backward(grad.double(), x.double(), *double)
    for got, reference_ in zip(results[0][1:], expected, strict=True):
        scale = reference_.abs().max().item()
        torch.testing.assert_close(got.double(), reference_, rtol=0, atol=1e-5 * scale)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises((ValueError, RuntimeError)):
        expert_conv2d(
            torch.ones(2, 5, 6, 6), torch.ones(2, 4, 4, 3, 3), torch.eye(2), True, 1, 1, 1
        )


def test_registration_of_the_backward_operator() -> None:
    arguments = (
        torch.randn(3, 6, 3, 3), torch.randn(3, 4, 6, 6), torch.randn(2, 6, 2, 3, 3),
        F.one_hot(torch.tensor([1, 0, 1]), 2).float(), True, 2, 1, 2,
    )  # fmt: skip
    torch.library.opcheck(torch.ops.ebcore.expert_conv2d_backward.default, arguments)


def test_channels_last_input_gives_what_the_fake_operator_promises() -> None:
    x = torch.randn(3, 4, 6, 6).to(memory_format=torch.channels_last)
    theta, phi = torch.randn(2, 4, 4, 3, 3), F.one_hot(torch.tensor([1, 0, 1]), 2).float()
    for dtype in (torch.float32, torch.float64):
        tensors = tuple(t.to(dtype) for t in (x, theta, phi))
        torch.library.opcheck(torch.ops.ebcore.expert_conv2d.default, (*tensors, True, 1, 1, 1))


def test_real_weights_pass_gradcheck() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    theta = torch.randn(2, 4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    phi = F.one_hot(torch.tensor([1, 0, 1]), 2).double()
    assert torch.autograd.gradcheck(
        lambda x, theta: expert_conv2d(x, theta, phi, False, 1, 1, 2), (x, theta)
    )


def layer_by_hand(conv: BinaryConv2d, x: Tensor) -> Tensor:
    """Eq. 1 to 5 with the mixed kernel, alpha and SE, in autograd's own operators."""
    assert conv.gate is not None and conv.se is not None
    pooled = x.mean((2, 3))
    soft = conv.gate.linear(pooled).softmax(1)
    phi = F.one_hot(soft.argmax(1), conv.experts).to(soft.dtype) + soft - soft.detach()
    signed = sign(x) if conv.binary_input else x
    out = reference(
        signed, conv.weight, phi, conv.binary_weight, conv.stride, conv.padding, conv.groups
    )
    hidden = (pooled @ conv.se.reduce.weight.t()).relu()
    factors = (hidden @ conv.se.expand.weight.t()).sigmoid()
    return out * conv.alpha.view(-1, 1, 1) * factors[:, :, None, None]


@pytest.mark.parametrize("binary_input", [False, True])
@pytest.mark.parametrize("binary_weight", [False, True])
def test_the_whole_layer_equals_autograd(binary_input: bool, binary_weight: bool) -> None:
    torch.manual_seed(0)
    conv = BinaryConv2d(6, 10, 3, padding=1, stride=2, groups=2, experts=4, se=True, se_ratio=2)
    conv.binary_input, conv.binary_weight = binary_input, binary_weight
    with torch.no_grad():
        conv.weight.mul_(10)  # some beyond the estimator's edge at 1
        conv.alpha.uniform_(0.5, 2)
        assert conv.gate is not None
        conv.gate.linear.weight.mul_(5)
    x = torch.randn(9, 6, 8, 7, requires_grad=True)
    wanted = [x, *conv.parameters()]
    upstream = torch.randn(9, 10, 4, 4)
    ours = torch.autograd.grad(conv(x), wanted, upstream)
    theirs = torch.autograd.grad(layer_by_hand(conv, x), wanted, upstream)
    for got, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("through", ["gate", "se"])
def test_gate_and_se_each_reach_the_pooled_vector(through: str) -> None:
    torch.manual_seed(0)
    conv = BinaryConv2d(3, 4, 3, padding=1, experts=3, se=True, se_ratio=2)
    assert conv.gate is not None and conv.se is not None
    with torch.no_grad():  # the other way is cut
        (conv.se.expand if through == "gate" else conv.gate.linear).weight.zero_()
        conv.se.reduce.weight.abs_()  # with pooled values above 0, no hidden unit is off
    # Beyond the estimator's edge nothing comes back through sign(x): only the pooled vector.
    x = torch.where(torch.rand(2, 3, 5, 5) < 0.8, 2.0, -2.0).requires_grad_()
    (grad,) = torch.autograd.grad(conv(x).square().sum() + conv(x).sum(), x)
    assert grad.abs().max() > 0
    # The mean's gradient: the same for every pixel of a channel.
    torch.testing.assert_close(grad, grad[:, :, :1, :1].expand_as(grad))


def test_compiled_whole_the_gradients_stay() -> None:
    torch.manual_seed(0)
    conv = BinaryConv2d(4, 6, 3, padding=1, experts=3, se=True)
    x = torch.randn(5, 4, 6, 6, requires_grad=True)
    wanted = [x, *conv.parameters()]
    compiled = torch.compile(conv, fullgraph=True, backend="aot_eager")
    ours = torch.autograd.grad(compiled(x).square().sum(), wanted)
    for got, expected in zip(
        ours, torch.autograd.grad(conv(x).square().sum(), wanted), strict=True
    ):
        torch.testing.assert_close(got, expected)


def test_autocast_trains() -> None:
    torch.manual_seed(0)
    conv = BinaryConv2d(8, 6, 3, padding=1, experts=3)
    x, upstream = torch.randn(6, 8, 5, 5), torch.randn(6, 6, 5, 5)
    full = torch.autograd.grad(conv(x), list(conv.parameters()), upstream)
    with torch.autocast("cpu", torch.bfloat16):
        out = conv(x)
    half = torch.autograd.grad(out.float(), list(conv.parameters()), upstream)
    for got, expected in zip(half, full, strict=True):
        assert got.dtype == expected.dtype
        assert (got - expected).norm() <= 0.05 * expected.norm() + 1e-6


def test_one_distributed_process_gives_the_same_gradients(tmp_path: object) -> None:
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    torch.manual_seed(0)
    conv = BinaryConv2d(4, 6, 3, padding=1, experts=3)
    x = torch.randn(5, 4, 6, 6)
    expected = torch.autograd.grad(conv(x).square().sum(), list(conv.parameters()))
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        DistributedDataParallel(conv)(x).square().sum().backward()
    finally:
        dist.destroy_process_group()
    for parameter, grad in zip(conv.parameters(), expected, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, grad)


@pytest.mark.gpu
def test_on_a_gpu_it_equals_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    random = torch.Generator().manual_seed(0)
    x = torch.randn(6, 8, 9, 9, generator=random, dtype=torch.float64)
    theta = torch.randn(3, 8, 4, 3, 3, generator=random, dtype=torch.float64)
    phi = one_hot(6, 3, random)
    grad = torch.randn(6, 8, 9, 9, generator=random, dtype=torch.float64)
    here = expert_conv2d_backward(grad, x, theta, phi, True, 1, 1, 2)
    there = expert_conv2d_backward(grad.cuda(), x.cuda(), theta.cuda(), phi.cuda(), True, 1, 1, 2)
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(one, other.cpu())


@pytest.mark.slow
@pytest.mark.skipif(not native.available(), reason="no kernels for this CPU")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_eight_experts_take_at_most_a_third_more_memory_than_one_kernel() -> None:
    def peak(experts: int) -> int:
        case = f"(512, 7, 1, 3, {experts}, True)"
        code = f"from benchmarks.expert_training import peak_bytes; print(peak_bytes({case}))"
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        return int(done.stdout)

    # All per-sample weight gradients at once would be 32 x 9.4 MB.
    assert peak(8) <= 1.3 * peak(1)
