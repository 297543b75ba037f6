"""Whom the packed network is measured against; `pip install .[peers]` brings the optional ones."""

from __future__ import annotations

from ebcore.measure.peers.ncnn_winograd import NcnnWinograd
from ebcore.measure.peers.onednn import OneDnn
from ebcore.measure.peers.openvino_binary import OpenVinoBinary
from ebcore.measure.peers.openvino_real import OpenVino, OpenVinoInt8
from ebcore.measure.peers.ort import OnnxRuntime, OnnxRuntimeInt8
from ebcore.measure.peers.packed import Packed, PackedBf16
from ebcore.measure.peers.peer import LAYERS_ONLY, Peer, Unsupported
from ebcore.measure.peers.torch_compiled import TorchCompiled
from ebcore.measure.peers.torch_eager import TorchEager
from ebcore.measure.peers.torch_int8 import TorchInt8

PACKED, PACKED_BF16 = "packed", "packed_bf16"
PEERS: dict[str, Peer] = {
    PACKED: Packed(),
    PACKED_BF16: PackedBf16(),
    "torch_fp32": TorchEager(),
    "torch_compile_fp32": TorchCompiled(),
    "onednn_fp32": OneDnn(),
    "ncnn_fp32": NcnnWinograd(),
    "ort_fp32": OnnxRuntime(),
    "openvino_fp32": OpenVino(),
    "torch_int8": TorchInt8(),
    "ort_int8": OnnxRuntimeInt8(),
    "openvino_int8": OpenVinoInt8(),
    "openvino_binary": OpenVinoBinary(),
}
NO_AMX = "_no_amx"  # ends the name of a candidate that is kept from AMX
_NO_AMX_ISA = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}

__all__ = [
    "LAYERS_ONLY",
    "NO_AMX",
    "PACKED",
    "PACKED_BF16",
    "PEERS",
    "Packed",
    "Peer",
    "Unsupported",
    "candidates",
    "environment",
    "peer",
    "title",
]


def candidates(flags: str, *, quick: bool = False) -> list[str]:
    """All that a CPU of these flags can tell apart: int8 by oneDNN twice where it has AMX.

    Args:
        flags: `machine()["isa"]`.
        quick: leave out those with a long preparation.
    """
    names = []
    for name, one in PEERS.items():
        if quick and not one.quick:
            continue
        names.append(name)
        if one.amx and "amx_int8" in flags.split():
            names.append(name + NO_AMX)
    return names


def peer(candidate: str) -> Peer:
    """The peer behind a candidate's name."""
    return PEERS[candidate.removesuffix(NO_AMX)]


def title(candidate: str) -> str:
    """For tables, e.g. "OpenVINO int8, no AMX"."""
    return peer(candidate).title + (", no AMX" if candidate.endswith(NO_AMX) else "")


def environment(candidate: str) -> dict[str, str]:
    """Variables that its process needs."""
    return _NO_AMX_ISA if candidate.endswith(NO_AMX) else {}
