"""Networks in the four versions of Hybrid Binary Networks (WACV 2018).

FPrec: nothing is binary. WBin: weights are. FBin: weights and inputs are. Hybrid: all weights are,
and of the layers 2 to P those that a partition chose keep real inputs. The first layer is real in
all of them; the last one has real inputs, and binary weights where `binary_last` asks for that.

A version is state that is set on the convolutions. The order of layers around each goes with it, as
released: BN, sign, convolution, ReLU where inputs are binary, else convolution, BN, ReLU.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d
from ebcore.models.binarization import binary_convs
from ebcore.models.network import Network

VERSIONS = ("fprec", "wbin", "fbin", "hybrid")


@dataclass(frozen=True)
class Version:
    """Which layers of a network are binary.

    Attributes:
        name: one of `VERSIONS`.
        real_inputs: numbers of the layers that keep real inputs; for "hybrid" alone.
        binary_last: whether the last layer's weights are binary; not with "fprec".

    Raises:
        InputError: an unknown name, or settings that do not go with it.
    """

    name: str = "fbin"
    real_inputs: tuple[int, ...] = ()
    binary_last: bool = False

    def __post_init__(self) -> None:
        if self.name not in VERSIONS:
            raise InputError(
                f"version {self.name!r}", "is unknown", f"Use one of {', '.join(VERSIONS)}."
            )
        if bool(self.real_inputs) != (self.name == "hybrid"):
            raise InputError(
                f"version {self.name!r}",
                f"with real_inputs {list(self.real_inputs)}",
                "Name at least one layer with version 'hybrid', and none with the others.",
            )
        if self.binary_last and self.name == "fprec":
            raise InputError("binary_last", "goes not with version 'fprec'", "Leave one out.")

    @property
    def binary_weights(self) -> bool:
        """Whether the layers between the first and the last have binary weights."""
        return self.name != "fprec"

    def keeps_real_input(self, number: int) -> bool:
        """Whether layer `number`, from 2 on, sees real values."""
        return self.name in ("fprec", "wbin") or number in self.real_inputs


class ConvLayer(nn.Sequential):
    """Convolution `number` of a network with its BN and ReLU.

    Args:
        relu: whether a ReLU ends it.
    """

    def __init__(
        self,
        number: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        version: Version,
        *,
        stride: int = 1,
        padding: int = 0,
        relu: bool = True,
    ) -> None:
        real = version.keeps_real_input(number)
        conv = hybrid_conv(in_channels, out_channels, kernel_size, version, real, stride, padding)
        norm = nn.BatchNorm2d(out_channels if real else in_channels)
        layers: list[tuple[str, nn.Module]] = [("norm", norm), ("conv", conv)]
        if real:
            layers.reverse()
        if relu:
            layers.append(("relu", nn.ReLU()))
        super().__init__(OrderedDict(layers))
        self.number = number


def hybrid_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    version: Version,
    real_input: bool,
    stride: int = 1,
    padding: int = 0,
) -> BinaryConv2d:
    """A convolution between the first and the last, its binarization set."""
    conv = BinaryConv2d(
        in_channels, out_channels, kernel_size, stride=stride, padding=padding, scale="xnor"
    )
    conv.binary_input, conv.binary_weight = not real_input, version.binary_weights
    return conv


def last_conv(in_channels: int, num_classes: int, version: Version, *, bias: bool) -> BinaryConv2d:
    """The classifier, a 1x1 convolution of real inputs."""
    conv = BinaryConv2d(in_channels, num_classes, 1, scale="xnor", bias=bias)
    conv.binary_input, conv.binary_weight = False, version.binary_last
    return conv


class HybridNet(Network):
    """A row of modules and a classifier; `ConvLayer`s carry the numbers 2 to P.

    Args:
        body: [B, C, H, W] -> [B, D, H', W'].
        classifier: a 1x1 convolution, and what follows; -> [B, classes, 1, 1].
        config: what builds it again, "architecture" included.
    """

    def __init__(
        self, body: nn.Sequential, classifier: nn.Sequential, config: dict[str, Any]
    ) -> None:
        super().__init__()
        self.body, self.classifier = body, classifier
        self.config = config
        _require_layers(config["real_inputs"], self.numbered)

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images float [B, C, H, W] -> features averaged over pixels [B, D], logits.

        Raises:
            InputError: images of another size than its fully connected layers are made for.
        """
        maps = self.body(x)
        logits = self.classifier(maps)
        if logits.shape[2:] != (1, 1):
            raise InputError(
                f"images of {x.shape[3]}x{x.shape[2]} px",
                "are too large for this network",
                "Give images of its image_size.",
            )
        return maps.mean((2, 3)), logits.flatten(1)

    @property
    def numbered(self) -> dict[int, str]:
        """The convolutions whose inputs may be binary: number -> name of the `BinaryConv2d`."""
        return {
            module.number: f"{name}.conv"
            for name, module in self.named_modules()
            if isinstance(module, ConvLayer)
        }


def initialise(model: nn.Module) -> None:
    """Kaiming-normal over the fan-out, as the released scripts; biases 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for conv in binary_convs(model).values():
        nn.init.kaiming_normal_(conv.weight.data[0], mode="fan_out")


def scaled(channels: int, width: float) -> int:
    """Channels of a layer in a network `width` times as wide; at least 2."""
    return max(2, round(channels * width))


def _require_layers(chosen: Sequence[int], numbered: Collection[int]) -> None:
    unknown = sorted(set(chosen) - set(numbered))
    if unknown:
        raise InputError(
            f"real_inputs {list(chosen)}",
            f"names layers that are not there: {unknown}",
            f"Choose from {min(numbered)} to {max(numbered)}.",
        )
