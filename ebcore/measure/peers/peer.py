"""What every contestant of a benchmark offers, the packed network itself included."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from ebcore.measure.cases import Case
from ebcore.measure.timing import Call, SelfTimed

Arithmetic = Literal["fp32", "int8", "binary"]
LAYERS_ONLY = "single layers only"  # why some peers run no network


class Unsupported(Exception):
    """A peer cannot run a case; the text says why."""


class Peer(ABC):
    """One way to run a case. Lives in a process of its own; imports its library when asked.

    Attributes:
        title: for tables.
        arithmetic: of its convolutions: which limit of the machine is its limit.
        packages: distributions it needs, the one that its version is said of first.
        amx: whether `ONEDNN_MAX_CPU_ISA` decides what it uses, so that it runs twice on a CPU with
            AMX.
        quick: no long preparation.
        layers: runs single layers in a way of its own.
        reads_onnx: runs a network from the ONNX files of its case.
    """

    title: ClassVar[str]
    arithmetic: ClassVar[Arithmetic]
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    amx: ClassVar[bool] = False
    quick: ClassVar[bool] = True
    layers: ClassVar[bool] = True
    reads_onnx: ClassVar[bool] = False

    def unavailable(self) -> str:
        """Why it cannot run here at all, "" if it can."""
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if missing:
            return f"{', '.join(missing)} not installed (pip install .[peers])"
        return ""

    def version(self) -> str:
        """E.g. "openvino 2026.4.1"."""
        return f"{self.packages[0]} {importlib.metadata.version(self.packages[0])}"

    @abstractmethod
    def prepare(self, case: Case, threads: int) -> Call | SelfTimed:
        """A call that runs the case once on `threads` threads.

        A network takes images as float32 [B, C, H, W]. A layer goes from float32 to float32, int8
        ones from int8 to int8, in whatever layout the library keeps between layers.

        Raises:
            Unsupported: it has no way to run this case.
        """
