"""Bit-packed networks: compile a trained model, keep it in a file, run it on a CPU."""

from ebcore.packed.agreement import Agreement, agreement
from ebcore.packed.isa import available, isa
from ebcore.packed.model import LayerTrace, PackedModel, Trace, load, pack

__all__ = [
    "Agreement",
    "LayerTrace",
    "PackedModel",
    "Trace",
    "agreement",
    "available",
    "isa",
    "load",
    "pack",
]
