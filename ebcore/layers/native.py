"""The C++ kernels of the expert convolution behind ctypes; the GIL is released during a call."""

from __future__ import annotations

import ctypes
import functools
import importlib.machinery
import os
import warnings
from pathlib import Path

import torch
from torch import Tensor

from ebcore.workspace import main_checkout

NAMES = ("avx512", "avx2")  # fastest first
VARIABLE = "EBCORE_ISA"
_MAX_STRIDE = 2


class _ExpertConv(ctypes.Structure):
    """As in kernels/expert_conv.h."""

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in (
            "batch", "in_channels", "out_channels", "height", "width", "out_height", "out_width",
            "groups", "experts", "kernel", "stride", "padding", "binary_weight", "threads",
        )
    )  # fmt: skip


@functools.cache
def _library() -> ctypes.CDLL | None:
    here = Path(__file__).parent
    # A copy that `dvc exp run --temp` works in has the sources alone.
    places = (here, main_checkout() / "ebcore" / "layers")
    names = [f"_native{suffix}" for suffix in importlib.machinery.EXTENSION_SUFFIXES]
    path = next((p / n for p in places for n in names if (p / n).exists()), None)
    if path is None:
        warnings.warn(
            "ebcore.layers: the native part is not built, so experts train slowly; "
            "run `pip install -e .` in the clone",
            stacklevel=2,
        )
        return None
    lib = ctypes.CDLL(str(path))
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    lib.ebcore_expert_supports.argtypes = [text]
    lib.ebcore_expert_forward.argtypes = [text, *[pointer] * 5]
    lib.ebcore_expert_backward.argtypes = [text, *[pointer] * 8]
    return lib


@functools.cache
def available() -> tuple[str, ...]:
    """Instruction sets that this build and CPU can run, fastest first."""
    lib = _library()
    return tuple(name for name in NAMES if lib and lib.ebcore_expert_supports(name.encode()))


def instruction_set(x: Tensor, theta: Tensor, phi: Tensor, stride: int) -> str | None:
    """What the kernels run this call on: the fastest, or what EBCORE_ISA names.

    None where they do not cover it (they do on a CPU in float32 at stride 1 or 2), or EBCORE_ISA
    names something else: then PyTorch's own operators do the work.
    """
    tensors = x, theta, phi
    covered = (
        all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)
        and all(t.numel() for t in tensors)
        and 1 <= stride <= _MAX_STRIDE
    )
    if not covered:
        return None
    wanted = os.environ.get(VARIABLE)
    names = [name for name in available() if wanted in (None, "", name)]
    return names[0] if names else None


def forward(
    isa: str,
    x: Tensor,
    theta: Tensor,
    expert: Tensor,
    binary_weight: bool,
    stride: int,
    padding: int,
    groups: int,
) -> Tensor:
    """[B, O, H', W'] from `x` [B, I, H, W], `theta` [N, O, I/g, K, K], `expert` int64 [B]."""
    x, theta = x.contiguous(), theta.contiguous()
    conv = _sizes(x, theta, expert, binary_weight, stride, padding, groups)
    y = x.new_empty(conv.batch, conv.out_channels, conv.out_height, conv.out_width)
    lib = _library()
    assert lib is not None
    status = lib.ebcore_expert_forward(
        isa.encode(), ctypes.byref(conv), *(t.data_ptr() for t in (x, theta, expert, y))
    )
    _check(status)
    return y


def backward(
    isa: str,
    grad: Tensor,
    x: Tensor,
    theta: Tensor,
    expert: Tensor,
    binary_weight: bool,
    stride: int,
    padding: int,
    groups: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for x, theta and the gates [B, N], from `grad` [B, O, H', W']."""
    grad, x, theta = grad.contiguous(), x.contiguous(), theta.contiguous()
    conv = _sizes(x, theta, expert, binary_weight, stride, padding, groups)
    grads = torch.empty_like(x), torch.empty_like(theta), x.new_empty(conv.batch, conv.experts)
    lib = _library()
    assert lib is not None
    status = lib.ebcore_expert_backward(
        isa.encode(),
        ctypes.byref(conv),
        *(t.data_ptr() for t in (grad, x, theta, expert, *grads)),
    )
    _check(status)
    return grads


def _sizes(
    x: Tensor,
    theta: Tensor,
    expert: Tensor,
    binary_weight: bool,
    stride: int,
    padding: int,
    groups: int,
) -> _ExpertConv:
    batch, in_channels, height, width = x.shape
    experts, out_channels, in_group, kernel, kernel_width = theta.shape
    fits = in_channels == in_group * groups and out_channels % groups == 0
    if not fits or kernel != kernel_width or len(expert) != batch:
        raise ValueError(
            f"input {tuple(x.shape)} and experts {tuple(theta.shape)} do not fit {groups} groups "
            f"and {len(expert)} gates"
        )
    out_height, out_width = ((n + 2 * padding - kernel) // stride + 1 for n in (height, width))
    return _ExpertConv(
        batch, in_channels, out_channels, height, width, out_height, out_width,
        groups, experts, kernel, stride, padding, binary_weight, torch.get_num_threads(),
    )  # fmt: skip


def _check(status: int) -> None:
    assert status != 1, "the instruction set was not checked"
    if status:
        raise MemoryError("expert convolution needs more memory than there is")
