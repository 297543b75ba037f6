"""The operations of a packed graph: names, order and kinds of their attributes and tensors.

kernels/api.h holds the same table; the C++ side checks ranges and shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

# Values of the attribute `act`, see kernels/api.h.
NONE, RELU, PRELU, PIECEWISE = 0, 1, 2, 3
AFTER_ADD = 4  # beside one of them: a binary convolution adds its second input first


@dataclass(frozen=True)
class Op:
    """One operation: its code, and the names of its attributes and tensors in C order."""

    code: int
    attrs: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()
    inputs: tuple[int, ...] = (1,)  # how many values it may read


_CONV = ("kernel", "stride", "padding", "groups", "act")

OPS = {
    "conv": Op(0, _CONV, ("weight", "bias", "slope")),
    "binary_conv": Op(
        1,
        (*_CONV, "experts"),
        (
            "bits",
            "scale",
            "shift",
            "in_scale",
            "in_shift",
            "slope",
            "gate_weight",
            "gate_bias",
            "se_reduce",
            "se_expand",
            "upper",
            "offset",
        ),
        inputs=(1, 2),  # the second is added after the activation, or before it
    ),
    "affine": Op(2, (), ("scale", "shift")),
    "activation": Op(3, ("act",), ("slope", "upper", "offset", "origin")),
    "add": Op(4, inputs=(2,)),
    "concat": Op(5, inputs=(2,)),
    "pool": Op(6, ("kernel", "stride", "padding", "max", "ceil", "include_pad")),
    "global_pool": Op(7),
    "linear": Op(8, (), ("weight", "bias")),
    "shuffle": Op(9, ("groups",)),
    "weight_binary_conv": Op(10, _CONV, ("bits", "scale", "shift", "slope")),
}
