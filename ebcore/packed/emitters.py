"""How each module class becomes nodes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ebcore.errors import InputError
from ebcore.layers import (
    BinaryConv2d,
    ChannelShuffle,
    ConvUnit,
    RepeatChannels,
    ShiftedPReLU,
    TwoSlopePReLU,
)
from ebcore.models.blocks import Residual
from ebcore.models.hybrid_net import HybridNet
from ebcore.models.resnet import EBResNet
from ebcore.models.squeezenet import Fire
from ebcore.models.stems import EfficientStem
from ebcore.packed.compiler import Builder, register
from ebcore.packed.graph import Bits
from ebcore.packed.ops import NONE, PIECEWISE, PRELU, RELU


@register(BinaryConv2d)
def _binary_conv(b: Builder, m: BinaryConv2d, name: str, value: int) -> int:
    if not torch.isfinite(m.weight).all():
        raise InputError(f"parameter {name + '.weight'!r}", "holds NaN or infinity", "Train again.")
    real = m.gate is None and m.se is None and not m.binary_input
    if not real and not (m.binary_weight and m.binary_input):
        what = "weights" if not m.binary_weight else "inputs"
        raise InputError(
            f"layer {name or 'BinaryConv2d'!r}",
            f"has real {what}",
            "Binarise first: train the binary stage, or call "
            "ebcore.models.set_binarization(model, inputs=True, weights=True).",
        )
    signs = m.signs() > 0
    attrs = {
        "kernel": m.kernel_size,
        "stride": m.stride,
        "padding": m.padding,
        "groups": m.groups,
        "act": NONE,
    }
    scale = m.output_scale()
    if scale is None:
        scale = torch.ones(m.out_channels, device=m.weight.device)
    if real and not m.binary_weight:
        weight = m.weight[0] * scale.view(-1, 1, 1, 1)
        return b.node("conv", name, [value], attrs, {"weight": weight, "bias": m.bias})
    bits = Bits.of_signs((signs[0] if real else signs).cpu().numpy())
    tensors: dict[str, Tensor | Bits | None] = {"bits": bits, "scale": scale, "shift": m.bias}
    if real:
        return b.node("weight_binary_conv", name, [value], attrs, tensors)
    attrs["experts"] = m.experts
    if m.gate is not None:
        tensors |= {"gate_weight": m.gate.linear.weight, "gate_bias": m.gate.linear.bias}
    if m.se is not None:
        tensors |= {"se_reduce": m.se.reduce.weight, "se_expand": m.se.expand.weight}
    return b.node("binary_conv", name, [value], attrs, tensors)


@register(ConvUnit)
def _conv_unit(b: Builder, m: ConvUnit, name: str, value: int) -> int:
    # The shortcut comes first, so that its value is there when the convolution adds it.
    shortcut = b.emit(m.shortcut, f"{name}.shortcut", value)
    out = b.emit(m.norm, f"{name}.norm", value)
    out = b.emit(m.conv, f"{name}.conv", out)
    out = b.emit(m.activation, f"{name}.activation", out)
    source = {"leave": name, "residual": f"{name}.shortcut"}
    return b.node("add", name, [out, shortcut], source=source)


@register(Residual)
def _residual(b: Builder, m: Residual, name: str, value: int) -> int:
    shortcut = b.emit(m.shortcut, f"{name}.shortcut", value)
    out = b.emit(m.body, f"{name}.body", value)
    source = {"leave": name, "residual": f"{name}.shortcut"}
    return b.node("add", name, [out, shortcut], source=source)


@register(EBResNet)
def _resnet(b: Builder, m: EBResNet, name: str, value: int) -> int:
    prefix = f"{name}." if name else ""
    value = b.emit(m.stem, f"{prefix}stem", value)
    for i, stage in enumerate(m.stages):
        value = b.emit(stage, f"{prefix}stages.{i}", value)
    value = b.emit(m.pool, f"{prefix}pool", value)
    return b.emit(m.fc, f"{prefix}fc", value)


@register(HybridNet)
def _hybrid(b: Builder, m: HybridNet, name: str, value: int) -> int:
    prefix = f"{name}." if name else ""
    value = b.emit(m.body, f"{prefix}body", value)
    value = b.emit(m.classifier, f"{prefix}classifier", value)
    if b.graph.nodes[-1].op == "global_pool":
        return value
    return b.node("global_pool", f"{prefix}flatten", [value], source={})  # of one pixel


@register(Fire)
def _fire(b: Builder, m: Fire, name: str, value: int) -> int:
    value = b.emit(m.squeeze, f"{name}.squeeze", value)
    first = b.emit(m.expand1, f"{name}.expand1", value)
    second = b.emit(m.expand3, f"{name}.expand3", value)
    return b.node("concat", f"{name}.concat", [first, second], source={})


@register(EfficientStem)
def _efficient_stem(b: Builder, m: EfficientStem, name: str, value: int) -> int:
    value = b.emit(m.conv1, f"{name}.conv1", value)
    first = b.emit(m.branch_a1, f"{name}.branch_a1", value)
    first = b.emit(m.branch_a2, f"{name}.branch_a2", first)
    second = b.emit(m.pool, f"{name}.pool", value)
    joined = b.node("concat", f"{name}.concat", [first, second], source={})
    return b.emit(m.conv3, f"{name}.conv3", joined)


@register(nn.Sequential)
def _sequential(b: Builder, m: nn.Sequential, name: str, value: int) -> int:
    for key, child in m.named_children():
        value = b.emit(child, f"{name}.{key}" if name else key, value)
    return value


@register(nn.Identity, nn.Dropout, nn.Dropout2d)
def _identity(b: Builder, m: nn.Module, name: str, value: int) -> int:
    return value


@register(nn.Conv2d)
def _conv(b: Builder, m: nn.Conv2d, name: str, value: int) -> int:
    _need(name, m.dilation == (1, 1) and m.padding_mode == "zeros", "dilation or other padding")
    assert not isinstance(m.padding, str)
    attrs = {
        "kernel": _square(name, m.kernel_size),
        "stride": _square(name, m.stride),
        "padding": _square(name, m.padding),
        "groups": m.groups,
        "act": NONE,
    }
    return b.node("conv", name, [value], attrs, {"weight": m.weight, "bias": m.bias})


@register(nn.BatchNorm2d)
def _batch_norm(b: Builder, m: nn.BatchNorm2d, name: str, value: int) -> int:
    _need(name, m.running_var is not None, "no running statistics")
    assert m.running_mean is not None and m.running_var is not None
    # fp32 in PyTorch's own order, so that signs differ from its own as rarely as can be.
    scale = 1 / torch.sqrt(m.running_var.detach() + m.eps)
    if m.weight is not None:
        scale = scale * m.weight.detach()
    shift = -m.running_mean * scale
    if m.bias is not None:
        shift = m.bias.detach() + shift
    return b.node("affine", name, [value], tensors={"scale": scale, "shift": shift})


@register(nn.ReLU)
def _relu(b: Builder, m: nn.ReLU, name: str, value: int) -> int:
    return b.node("activation", name, [value], {"act": RELU})


@register(nn.PReLU)
def _prelu(b: Builder, m: nn.PReLU, name: str, value: int) -> int:
    _need(name, m.weight.numel() > 1, "one slope for all channels")
    return b.node("activation", name, [value], {"act": PRELU}, {"slope": m.weight})


@register(TwoSlopePReLU)
def _two_slope_prelu(b: Builder, m: TwoSlopePReLU, name: str, value: int) -> int:
    tensors: dict[str, Tensor | Bits | None] = {"slope": m.lower, "upper": m.upper}
    return b.node("activation", name, [value], {"act": PIECEWISE}, tensors)


@register(ShiftedPReLU)
def _shifted_prelu(b: Builder, m: ShiftedPReLU, name: str, value: int) -> int:
    tensors: dict[str, Tensor | Bits | None] = {
        "slope": m.slope,
        "offset": m.offset,
        "origin": m.threshold,
    }
    return b.node("activation", name, [value], {"act": PIECEWISE}, tensors)


@register(nn.Hardtanh)
def _hardtanh(b: Builder, m: nn.Hardtanh, name: str, value: int) -> int:
    _need(name, (m.min_val, m.max_val) == (-1.0, 1.0), "other limits than -1 and 1")
    _need(name, value > 0 and b.graph.nodes[value - 1].op == "affine", "no BatchNorm in front")
    norm = b.graph.nodes[value - 1]  # its scale tells the number of channels
    ones = torch.ones(b.graph.tensors[norm.tensors["scale"]].shape)  # [C]
    # min(max(x, -1), 1) = 1 - relu(2 - relu(x + 1)); no part of it stands for a module.
    for sign, shift, last in ((1, 1, False), (-1, 2, False), (-1, 1, True)):
        tensors: dict[str, Tensor | Bits | None] = {"scale": sign * ones, "shift": shift * ones}
        value = b.node("affine", name, [value], tensors=tensors, source={})
        if not last:
            value = b.node("activation", name, [value], {"act": RELU}, source={})
    return value


@register(RepeatChannels)
def _repeat_channels(b: Builder, m: RepeatChannels, name: str, value: int) -> int:
    joined = value
    for _ in range(m.times - 1):
        joined = b.node("concat", name, [joined, value], source={})
    return joined


@register(ChannelShuffle)
def _channel_shuffle(b: Builder, m: ChannelShuffle, name: str, value: int) -> int:
    return b.node("shuffle", name, [value], {"groups": m.groups})


@register(nn.MaxPool2d)
def _max_pool(b: Builder, m: nn.MaxPool2d, name: str, value: int) -> int:
    _need(name, m.dilation in (1, (1, 1)) and not m.return_indices, "dilation or indices")
    return b.node("pool", name, [value], _pool_attrs(name, m) | {"max": 1, "include_pad": 0})


@register(nn.AvgPool2d)
def _avg_pool(b: Builder, m: nn.AvgPool2d, name: str, value: int) -> int:
    _need(name, m.divisor_override is None, "a divisor of its own")
    include = {"max": 0, "include_pad": int(m.count_include_pad)}
    return b.node("pool", name, [value], _pool_attrs(name, m) | include)


@register(nn.AdaptiveAvgPool2d)
def _global_pool(b: Builder, m: nn.AdaptiveAvgPool2d, name: str, value: int) -> int:
    _need(name, m.output_size in (1, (1, 1)), "an output larger than 1x1")
    return b.node("global_pool", name, [value])


@register(nn.Flatten)
def _flatten(b: Builder, m: nn.Flatten, name: str, value: int) -> int:
    return value  # the classifier checks that there is one pixel left


@register(nn.Linear)
def _linear(b: Builder, m: nn.Linear, name: str, value: int) -> int:
    return b.node("linear", name, [value], tensors={"weight": m.weight, "bias": m.bias})


def _pool_attrs(name: str, m: nn.MaxPool2d | nn.AvgPool2d) -> dict[str, int]:
    return {
        "kernel": _square(name, m.kernel_size),
        "stride": _square(name, m.stride),
        "padding": _square(name, m.padding),
        "ceil": int(m.ceil_mode),
    }


def _square(name: str, size: int | tuple[int, ...]) -> int:
    sizes = (size,) if isinstance(size, int) else size
    _need(name, len(set(sizes)) == 1, "different sizes down and across")
    return sizes[0]


def _need(name: str, holds: bool, what: str) -> None:
    if not holds:
        raise InputError(f"layer {name!r}", f"has {what}, which has no packed form", "Replace it.")
