"""Random networks that use all their experts, and pictures for them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ebcore.layers import BinaryConv2d
from ebcore.models import EBResNet


def pictures(count: int, size: int, channels: int = 3, *, seed: int = 0) -> Tensor:
    """float32 [count, channels, size, size]; picture i is of kind i % 4.

    The kinds differ in brightness and in how coarse their noise is, so that pooled features of one
    kind are alike in every layer.
    """
    draw = torch.Generator().manual_seed(seed)
    images = []
    for i in range(count):
        coarse, bright = i % 2, i // 2 % 2
        side = 4 if coarse else size
        noise = torch.randn(1, channels, side, side, generator=draw)
        images.append(F.interpolate(noise, size=(size, size), mode="nearest")[0] + bright * 2 - 1)
    return torch.stack(images)


def calibrate(model: EBResNet, images: Tensor) -> None:
    """Sets BatchNorm statistics from `images`, and gates that send image i to expert i % N.

    A gate's logits are those of the nearest centroid of its N kinds of pooled inputs, so weight
    and bias decide together. One forward pass: each gate is set when its layer is reached. The
    classifier's bias makes the mean logits 0, so that no class wins everywhere.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    convs = [m for m in model.modules() if isinstance(m, BinaryConv2d) and m.gate is not None]
    hooks = [conv.register_forward_pre_hook(_set_gate) for conv in convs]
    with torch.no_grad():
        model.fc.bias -= model.train()(images).mean(0)
    model.eval()
    for hook in hooks:
        hook.remove()


def _set_gate(conv: BinaryConv2d, inputs: tuple[Tensor]) -> None:
    assert conv.gate is not None
    pooled = inputs[0].mean((2, 3))
    centroids = torch.stack([pooled[k :: conv.experts].mean(0) for k in range(conv.experts)])
    centre = centroids.mean(0)
    weight = centroids - centre
    # argmin |p - c_k|^2 = argmax (c_k - m) . (p - m) - |c_k - m|^2 / 2
    bias = -(weight @ centre) - weight.square().sum(1) / 2
    scale = weight.square().sum(1).mean()
    conv.gate.linear.weight.copy_(weight / scale)
    conv.gate.linear.bias.copy_(bias / scale)


def randomise(model: EBResNet) -> None:
    """Random BatchNorm scales (half negative) and shifts, PReLU slopes and alphas."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            signs = torch.randint(0, 2, module.weight.shape) * 2 - 1
            nn.init.uniform_(module.weight, 0.5, 1.5).data.mul_(signs)
            nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, -0.5, 0.5)
        elif isinstance(module, BinaryConv2d) and module.alpha is not None:
            nn.init.uniform_(module.alpha, 0.5, 1.5)
