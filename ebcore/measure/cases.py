"""What a benchmark times: a convolution or a whole network, as plain data for other processes."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

# torch and what needs it come in where they are used: not every peer's process wants them.
if TYPE_CHECKING:
    from torch import nn

    from ebcore.layers import BinaryConv2d
    from ebcore.models import Network as ModelNetwork
    from ebcore.packed import PackedModel

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Work:
    """Operations of one call: binary and real multiply-accumulates."""

    binary: float
    real: float

    @property
    def total(self) -> float:
        return self.binary + self.real


@dataclass(frozen=True)
class Convolution:
    """A binary convolution and the real one of its shape; `padding` is kernel // 2 where same."""

    inputs: int
    outputs: int
    height: int
    width: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    groups: int = 1
    experts: int = 1
    se: bool = False
    batch_size: int = 1

    @property
    def name(self) -> str:
        """E.g. "64-128 3x3/2 g1 56x56"; the rest only where it is not the usual."""
        k = self.kernel
        text = f"{self.inputs}-{self.outputs} {k}x{k}/{self.stride} g{self.groups}"
        return f"{text} {self.height}x{self.width}" + " SE" * self.se

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """[B, I, H, W]"""
        return self.batch_size, self.inputs, self.height, self.width

    @property
    def output_size(self) -> tuple[int, int]:
        """H', W'"""
        height, width = (
            (side + 2 * self.padding - self.kernel) // self.stride + 1
            for side in (self.height, self.width)
        )
        return height, width

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a call."""
        height, width = self.output_size
        taps = self.inputs // self.groups * self.kernel**2
        return self.batch_size * height * width * self.outputs * taps

    def work(self, *, binary: bool) -> Work:
        """Its multiply-accumulates as the binary or the real convolution."""
        return Work(self.macs, 0) if binary else Work(0, self.macs)

    def input(self) -> Array:
        """Random float32 [B, I, H, W]."""
        return _random(self.input_shape)

    def binary(self) -> BinaryConv2d:
        """The layer, with random weights."""
        import torch

        from ebcore.layers import BinaryConv2d

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return BinaryConv2d(
                self.inputs,
                self.outputs,
                self.kernel,
                stride=self.stride,
                padding=self.padding,
                groups=self.groups,
                experts=self.experts,
                se=self.se,
            )

    def real(self) -> nn.Conv2d:
        """The plain fp32 convolution of its shape: no gate, no scale, no bias."""
        from ebcore.measure.twin import real_conv

        return real_conv(self.binary()).eval()


@dataclass(frozen=True, eq=False)  # the key of its own results
class Network:
    """A network of `ebcore.models` and its real-valued twin, or torchvision's ResNet-18.

    Attributes:
        config: of `ebcore.models.architectures.build`; None for the real ResNet-18.
        packed: its packed file; "" packs random weights.
        onnx: folder with `real.onnx` and `int8.onnx`, for peers that read those; see `onnx_files`.
    """

    config: dict[str, Any] | None
    height: int
    width: int
    batch_size: int = 1
    packed: str = ""
    onnx: str = ""

    @property
    def name(self) -> str:
        """E.g. "1262-2-4:8:8:16 N=4", "sketchanet hybrid" or "resnet18"."""
        if self.config is None:
            return "resnet18"
        if "architecture" in self.config:
            return f"{self.config['architecture']} {self.config['version']}"
        experts = self.config.get("experts") or 1
        return f"{self.config['spec']} N={experts}" if experts > 1 else str(self.config["spec"])

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """[B, C, H, W]"""
        channels = 3 if self.config is None else self.config.get("in_channels", 3)
        return self.batch_size, channels, self.height, self.width

    def work(self, *, binary: bool) -> Work:
        """Operations of a call, as `count_ops` counts them."""
        return _network_work(self, binary)

    def input(self) -> Array:
        """Random float32 [B, C, H, W]."""
        return _random(self.input_shape)

    def binary(self) -> ModelNetwork:
        """The binary network with random weights, in eval mode."""
        import torch

        from ebcore.models.architectures import build

        assert self.config is not None, "ResNet-18 is real-valued"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build(self.config).eval()

    def real(self) -> nn.Module:
        """The real-valued network with random weights, in eval mode."""
        import torch

        from ebcore.measure.twin import real_twin

        if self.config is not None:
            return real_twin(self.config)
        from ebcore.torchvision_compat import torchvision

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: nn.Module = torchvision.models.resnet18().eval()
        return model


Case = Convolution | Network
_KINDS: dict[str, type[Case]] = {"convolution": Convolution, "network": Network}


def to_json(case: Case) -> str:
    """For another process; `from_json` reads it."""
    kind = next(name for name, kind in _KINDS.items() if isinstance(case, kind))
    return json.dumps({"kind": kind, **asdict(case)})


def from_json(text: str) -> Case:
    """The case that `to_json` wrote."""
    content = json.loads(text)
    return _KINDS[content.pop("kind")](**content)


@functools.cache
def _network_work(case: Network, binary: bool) -> Work:
    from ebcore.measure import count_ops

    _, channels, height, width = case.input_shape
    count = count_ops(case.binary() if binary else case.real(), (channels, height, width))
    return Work(case.batch_size * count.bops, case.batch_size * count.flops)


def layers_of(packed: PackedModel, batch_size: int) -> dict[Convolution, list[str]]:
    """The binary layers of a network by shape, in running order: names of those of each shape."""
    from ebcore.packed.native import NativeModel

    native = NativeModel(packed.graph, packed.isa)
    found: dict[Convolution, list[str]] = defaultdict(list)
    for node in packed.graph.nodes:
        if node.op == "binary_conv":
            channels, height, width = native.shape(node.inputs[0])
            layer = Convolution(
                inputs=channels,
                outputs=packed.graph.tensors[node.tensors["bits"]].shape[1],
                height=height,
                width=width,
                kernel=node.attrs["kernel"],
                stride=node.attrs["stride"],
                padding=node.attrs["padding"],
                groups=node.attrs["groups"],
                experts=node.attrs["experts"],
                se="se_reduce" in node.tensors,
                batch_size=batch_size,
            )
            found[layer].append(node.name)
    return dict(found)


def _random(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(0).standard_normal(shape, np.float32)
