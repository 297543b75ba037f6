"""Operations and memory as Hybrid Binary Networks counts them (rule recomputed from its tables).

FLOPs are multiply-accumulates. A layer with binary weights and inputs costs a 64th of them, and so
does the last layer of any network that is not in full precision, whatever it sees; a layer that
keeps real inputs costs all of them. Memory counts the weights of convolutions: 1 bit where they are
binary, else 32; the saving is over the same network with all in 32 bits.

`ebcore.measure.ops` is this project's own count.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ebcore.layers import BinaryConv2d
from ebcore.measure.ops import count_ops
from ebcore.models.binarization import binary_convs
from ebcore.models.hybrid_net import HybridNet

_BINARY = 64  # binary operations that cost one real


@dataclass(frozen=True)
class HybridCost:
    """Of a network: operations for one image, and how many times smaller its weights are."""

    flops: float
    memory_saving: float


def layer_macs(model: nn.Module, input_size: tuple[int, int, int]) -> dict[str, int]:
    """Multiply-accumulates of every convolution for one image of C, H, W, by name."""
    found: dict[str, int] = {}
    for layer in count_ops(model, input_size).layers:
        module = model.get_submodule(layer.name)
        if isinstance(module, BinaryConv2d | nn.Conv2d):
            outputs = layer.shape[0] * layer.shape[1] * layer.shape[2]
            kernel = module.weight[0]  # of one expert, or of one output
            taps = kernel[0].numel() if isinstance(module, BinaryConv2d) else kernel.numel()
            found[layer.name] = outputs * taps
    return found


def hybrid_cost(model: HybridNet, input_size: tuple[int, int, int]) -> HybridCost:
    """Counts a network of one of the four versions; the model itself is not touched."""
    convs = binary_convs(model)
    last = next(reversed(convs))
    full = not any(conv.binary_weight for conv in convs.values())
    flops, weights, bits = 0.0, 0, 0
    for name, macs in layer_macs(model, input_size).items():
        conv = convs.get(name)
        binary = conv is not None and conv.binary_input and conv.binary_weight
        flops += macs / _BINARY if binary or (name == last and not full) else macs
        size = model.get_parameter(f"{name}.weight").numel()
        weights += size
        bits += size if conv is not None and conv.binary_weight else 32 * size
    return HybridCost(flops, 32 * weights / bits)
