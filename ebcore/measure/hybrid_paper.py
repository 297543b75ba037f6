"""What Hybrid Binary Networks prints, as data: tables of its poster and slides, and its plot.

The plotted metrics are those of the released plotting script. It does not say which layers of
SqueezeNet its numbers 2 to 20 are: the network has 24 convolutions in its fire modules.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HybridRow:
    """A network of the tables.

    Attributes:
        table: "ImageNet" or "sketches".
        architecture: of `ebcore.models.architectures.HYBRID`.
        label, version: as printed, and of `ebcore.models.hybrid_net.Version`.
        memory: times smaller, as printed; "" where it is 1.
        flops: e6, as printed.
        real_inputs: the layers of the released hybrid that the printed FLOPs fit best.
        binary_last: whether the printed memory has a binary last layer.
        top1: accuracy in percent; ImageNet, or TU-Berlin and Sketchy.
    """

    table: str
    architecture: str
    label: str
    version: str
    memory: str
    flops: str
    top1: tuple[float, ...]
    real_inputs: tuple[int, ...] = ()
    binary_last: bool = False


_SQUEEZENET_V3 = tuple(n for n in range(2, 26) if n < 5 or n > 22 or (n - 2) % 3 != 2)
_FC, _LAST_BLOCK = (6, 7), (16, 17)

ROWS = (
    HybridRow("ImageNet", "alexnet", "FPrec", "fprec", "", "1135", (57.1,)),
    HybridRow("ImageNet", "alexnet", "WBin", "wbin", "10.4", "780", (56.8,)),
    HybridRow("ImageNet", "alexnet", "FBin", "fbin", "10.4", "121", (43.3,)),
    HybridRow("ImageNet", "alexnet", "Hybrid-1", "hybrid", "10.4", "174", (48.6,), _FC),
    HybridRow("ImageNet", "alexnet", "Hybrid-2", "hybrid", "31.6", "174", (48.2,), _FC, True),
    HybridRow("ImageNet", "hybrid-resnet-18", "FPrec", "fprec", "", "1814", (69.3,)),
    HybridRow("ImageNet", "hybrid-resnet-18", "WBin", "wbin", "13.4", "1030", (60.8,)),
    HybridRow("ImageNet", "hybrid-resnet-18", "FBin", "fbin", "13.4", "134", (51.2,)),
    HybridRow(
        "ImageNet", "hybrid-resnet-18", "Hybrid-1", "hybrid", "13.4", "359", (54.9,), _LAST_BLOCK
    ),
    HybridRow(
        "ImageNet",
        "hybrid-resnet-18",
        "Hybrid-2",
        "hybrid",
        "31.2",
        "359",
        (54.8,),
        _LAST_BLOCK,
        True,
    ),
    HybridRow("sketches", "sketchanet", "FPrec", "fprec", "", "608", (72.9, 85.9)),
    HybridRow("sketches", "sketchanet", "WBin", "wbin", "29.2", "406", (73.0, 85.6), (), True),
    HybridRow("sketches", "sketchanet", "FBin", "fbin", "19.7", "78", (59.6, 68.6)),
    HybridRow("sketches", "sketchanet", "Hybrid", "hybrid", "29.2", "85", (73.1, 83.6), _FC, True),
    HybridRow("sketches", "hybrid-resnet-18", "FPrec", "fprec", "", "1814", (74.1, 88.7)),
    HybridRow(
        "sketches", "hybrid-resnet-18", "WBin", "wbin", "31.2", "1030", (73.4, 89.3), (), True
    ),
    HybridRow(
        "sketches", "hybrid-resnet-18", "FBin", "fbin", "31.2", "134", (68.8, 82.8), (), True
    ),
    HybridRow(
        "sketches",
        "hybrid-resnet-18",
        "Hybrid",
        "hybrid",
        "31.2",
        "359",
        (73.8, 87.9),
        _LAST_BLOCK,
        True,
    ),
    HybridRow("sketches", "squeezenet", "FPrec", "fprec", "8", "610", (71.2, 86.5)),
    HybridRow("sketches", "squeezenet", "WBin", "wbin", "23.7", "412", (66.7, 81.1), (), True),
    HybridRow("sketches", "squeezenet", "FBin", "fbin", "23.7", "92", (56.8, 66.0), (), True),
    HybridRow(
        "sketches",
        "squeezenet",
        "Hybrid",
        "hybrid",
        "23.7",
        "164",
        (64.8, 79.6),
        _SQUEEZENET_V3,
        True,
    ),
)


@dataclass(frozen=True)
class PlottedMetric:
    """The metric per layer, and the layers drawn as keeping real inputs."""

    metric: dict[int, float]
    starred: tuple[int, ...]


def _numbered(*values: float) -> dict[int, float]:
    return dict(enumerate(values, start=2))


PLOTTED = {
    "sketchanet": PlottedMetric(
        _numbered(7.192249767, 14.39824368, 13.05819078, 15.47645223, 19.61632079, 41.40185173),
        (6, 7),
    ),
    "hybrid-resnet-18": PlottedMetric(
        _numbered(
            7.778161546, 8.461481603, 7.505486858, 7.681106623, 8.898121926, 7.159081028,
            8.935400266, 8.603094771, 10.46739098, 8.399149204, 9.866220439, 10.00512817,
            12.74742177, 10.78683444, 13.66791164, 13.94559512,
        ),
        (12, 13, 14, 15, 16, 17),
    ),
    "squeezenet": PlottedMetric(
        _numbered(
            14.82375307, 17.58301921, 8.835599047, 11.95660176, 6.984417692, 8.993459398,
            6.0594408, 10.69682376, 6.934750442, 9.601049151, 6.272803935, 8.658359955,
            6.179147811, 8.391750271, 7.874301322, 6.119591339, 12.17591362, 17.84112251,
            11.56444865,
        ),
        (2, 3, 4, 5, 7, 9, 11, 13, 15, 18, 19, 20),
    ),
}  # fmt: skip
