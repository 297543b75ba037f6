"""What a benchmark times: the candidates for a packed network and for each of its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ebcore.layers import BinaryConv2d
from ebcore.measure.int8 import NoInt8, quantize_network, quantized_conv
from ebcore.measure.rows import LAYER, NETWORK
from ebcore.measure.twin import real_conv, real_twin
from ebcore.models import resnet
from ebcore.models.binarization import binary_convs
from ebcore.packed import PackedModel, pack

Call = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One row of the benchmark: who runs, and the row's first columns."""

    description: dict[str, Any]
    calls: dict[str, Call]


def cases(packed: PackedModel, batch_size: int) -> Iterator[Case]:
    """The whole network, then each binary layer in the order of the network."""
    config = packed.metadata["model"]
    x = _random(batch_size, *packed.input_shape)
    yield _network_case(packed, config, x)
    model = resnet(**config).eval()
    for name, shape in _input_shapes(model, x).items():
        layer = model.get_submodule(name)
        assert isinstance(layer, BinaryConv2d)
        yield _layer_case(name, layer, _random(*shape), packed.threads)


def _network_case(packed: PackedModel, config: dict[str, Any], x: Tensor) -> Case:
    real = real_twin(config)
    calls: dict[str, Call] = {"packed": lambda: packed(x), "fp32": lambda: real(x)}
    note = _add_int8(calls, lambda: _bound(quantize_network(real, x), x))
    shape = f"{config['spec']} {' x '.join(str(side) for side in x.shape[1:])}"
    return Case({"case": NETWORK, "kind": NETWORK, "shape": shape, "note": note}, calls)


def _layer_case(name: str, layer: BinaryConv2d, x: Tensor, threads: int) -> Case:
    one = pack(nn.Sequential(layer), (x.shape[1], x.shape[2], x.shape[3]))
    one.threads = threads
    conv = real_conv(layer).eval()
    calls: dict[str, Call] = {"packed": lambda: one(x), "fp32": lambda: conv(x)}
    note = _add_int8(calls, lambda: quantized_conv(conv, x))
    shape = (
        f"{layer.in_channels}-{layer.out_channels} {layer.kernel_size}x{layer.kernel_size}"
        f"/{layer.stride} g{layer.groups} {x.shape[2]}x{x.shape[3]}"
    )
    return Case({"case": name, "kind": LAYER, "shape": shape, "note": note}, calls)


def _add_int8(calls: dict[str, Call], make: Callable[[], Call]) -> str:
    """Adds torch's int8 where there is one; returns why not, "" where it is there."""
    try:
        calls["int8"] = make()
    except NoInt8 as error:
        return f"no int8 in PyTorch: {error}"
    return ""


def _bound(module: nn.Module, x: Tensor) -> Call:
    return lambda: module(x)


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def _input_shapes(model: nn.Module, x: Tensor) -> dict[str, tuple[int, ...]]:
    """Input shape [B, I, H, W] of every binary layer."""
    shapes: dict[str, tuple[int, ...]] = {}
    handles = []
    for name, layer in binary_convs(model).items():

        def note_shape(_: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
            shapes[name] = tuple(inputs[0].shape)

        handles.append(layer.register_forward_pre_hook(note_shape))
    with torch.inference_mode():
        model(x)
    for handle in handles:
        handle.remove()
    return shapes
