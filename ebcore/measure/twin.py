"""The real-valued network of the same shapes: what a packed network's time is compared with."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ebcore.layers import BinaryConv2d
from ebcore.models.architectures import build


def real_conv(layer: BinaryConv2d) -> nn.Conv2d:
    """An fp32 convolution of the binary one's shape, without gate and scale.

    Its weights are the first expert's: their values do not change its time.
    """
    conv = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        groups=layer.groups,
        bias=False,
        device="meta",  # draws no random weights
    )
    conv.weight = nn.Parameter(layer.weight[0].detach().clone())
    if layer.bias is not None:
        conv.bias = nn.Parameter(layer.bias.detach().clone())
    return conv


def real_twin(config: dict[str, Any], *, seed: int = 0) -> nn.Module:
    """The network that `ebcore.models.architectures.build(config)` makes, with fp32 convolutions.

    A hybrid network's twin is its version in full precision. Of the EBConv family: same widths,
    groups, strides, BatchNorm, PReLU and shortcuts; no sign, no gate, no scale; one set of weights
    (a real network has no experts). Weights are random: only its time is of use.
    """
    real: dict[str, Any] = {"experts": 1, "se": False}
    if "architecture" in config:
        real = {"version": "fprec", "real_inputs": [], "binary_last": False}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = build(config | real)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BinaryConv2d):
                setattr(parent, name, real_conv(child))
    return model.eval()
