"""Counts operations, parameters and memory of a network from its modules (EBConv Tab. 4 to 6).

Binary operations are plain counts of binary multiply-accumulates. Real operations are the
multiply-accumulates of real convolutions and linear layers, plus one per element for BatchNorm,
scale, activation and addition, plus the additions of pooling; gate and SE included. With this
convention 1262-2-4:8:8:16 has the paper's 1.7e9 binary and 1.1e8 real operations.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ebcore.layers import BinaryConv2d, ConvUnit, ShiftedPReLU, TwoSlopePReLU
from ebcore.models.blocks import Residual

_ELEMENTWISE = (
    nn.BatchNorm2d, nn.PReLU, TwoSlopePReLU, ShiftedPReLU, nn.ReLU, nn.Hardtanh,
)  # fmt: skip
_ADDING = (ConvUnit, Residual)


@dataclass(frozen=True)
class LayerOps:
    """One module's share.

    Attributes:
        name: as in `model.named_modules()`.
        kind: its class.
        shape: of its output, without the batch.
        bops: binary multiply-accumulates for one image.
        flops: real operations for one image.
        params_binary: parameters that need one bit.
        params_real: parameters that need 32.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    bops: int
    flops: int
    params_binary: int
    params_real: int

    @property
    def bits(self) -> int:
        """Memory of the parameters."""
        return self.params_binary + 32 * self.params_real


@dataclass(frozen=True)
class OpCount:
    """All layers of a network."""

    layers: list[LayerOps]

    @property
    def bops(self) -> int:
        """Binary operations for one image."""
        return sum(layer.bops for layer in self.layers)

    @property
    def flops(self) -> int:
        """Real operations for one image."""
        return sum(layer.flops for layer in self.layers)

    @property
    def params_binary(self) -> int:
        return sum(layer.params_binary for layer in self.layers)

    @property
    def params_real(self) -> int:
        return sum(layer.params_real for layer in self.layers)

    @property
    def bits(self) -> int:
        """Memory of all parameters."""
        return sum(layer.bits for layer in self.layers)


def count_ops(model: nn.Module, input_size: tuple[int, int, int]) -> OpCount:
    """Counts for one image of `input_size` (C, H, W); the model itself is not touched.

    A binary convolution's work is binary where both inputs and weights are, else real.
    """
    shadow = copy.deepcopy(model).to("meta").eval()
    layers: list[LayerOps] = []
    handles = []
    for name, module in shadow.named_modules():
        if type(module) in _COUNTERS or isinstance(module, _ADDING):
            handles.append(module.register_forward_hook(_hook(name, layers)))
    with torch.no_grad():
        shadow(torch.empty(1, *input_size, device="meta"))
    for handle in handles:
        handle.remove()
    return OpCount(layers)


def _hook(name: str, layers: list[LayerOps]) -> Any:
    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, _ADDING):
            binary, real, own = 0, output.numel(), []
        else:
            binary, real = _COUNTERS[type(module)](module, inputs[0], output)
            own = list(module.parameters(recurse=False))
        bits = real_parameters = 0
        for parameter in own:
            if isinstance(module, BinaryConv2d) and module.binary_weight and parameter.dim() == 5:
                bits += parameter.numel()
            else:
                real_parameters += parameter.numel()
        kind = "Add" if isinstance(module, _ADDING) else type(module).__name__
        shape = tuple(output.shape[1:])
        layers.append(LayerOps(name, kind, shape, binary, real, bits, real_parameters))

    return count


def _binary_conv(module: BinaryConv2d, x: Tensor, out: Tensor) -> tuple[int, int]:
    macs = out.numel() * module.weight[0, 0].numel()
    pooling = x.numel() if module.gate is not None or module.se is not None else 0
    steps = (module.output_scale(), module.se, module.bias)  # one per element each
    scaling = out.numel() * sum(step is not None for step in steps)
    if module.binary_input and module.binary_weight:
        return macs, scaling + pooling
    return 0, macs + scaling + pooling


def _conv(module: nn.Conv2d, x: Tensor, out: Tensor) -> tuple[int, int]:
    return 0, out.numel() * (module.weight[0].numel() + (module.bias is not None))


def _linear(module: nn.Linear, x: Tensor, out: Tensor) -> tuple[int, int]:
    return 0, out.numel() * module.in_features


def _per_element(module: nn.Module, x: Tensor, out: Tensor) -> tuple[int, int]:
    return 0, out.numel()


def _average(module: nn.Module, x: Tensor, out: Tensor) -> tuple[int, int]:
    return 0, x.numel()


def _maximum(module: nn.MaxPool2d, x: Tensor, out: Tensor) -> tuple[int, int]:
    size = module.kernel_size
    height, width = (size, size) if isinstance(size, int) else size
    return 0, out.numel() * (height * width - 1)


_COUNTERS: dict[type[nn.Module], Any] = {
    BinaryConv2d: _binary_conv,
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.AvgPool2d: _average,
    nn.AdaptiveAvgPool2d: _average,
    nn.MaxPool2d: _maximum,
    **dict.fromkeys(_ELEMENTWISE, _per_element),
}
