"""The paper's structure names, N0N1N2N3-E-G0:G1:G2:G3 (EBConv section 4.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ebcore.errors import InputError
from ebcore.models.named import NETWORKS

_PATTERN = re.compile(r"([1-9])([1-9])([1-9])([1-9])-(\d+(?:\.\d+)?)-(\d+):(\d+):(\d+):(\d+)")


@dataclass(frozen=True)
class Spec:
    """Blocks per stage, width multiplier E over ResNet, groups of all 3x3 per stage."""

    blocks: tuple[int, ...]
    expansion: float
    groups: tuple[int, ...]

    def channels(self, width: int) -> tuple[int, ...]:
        """Output channels of the four stages."""
        return tuple(int(width * self.expansion * 2**stage) for stage in range(4))


def parse_spec(text: str) -> Spec:
    """ "1262-2-4:8:8:16" -> Spec((1, 2, 6, 2), 2.0, (4, 8, 8, 16)).

    Raises:
        InputError: the text has another form, or a number in it is 0.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise InputError(
            f"structure {text!r}",
            "is not of the form N0N1N2N3-E-G0:G1:G2:G3",
            f"Write for example 1262-2-4:8:8:16, or a name: {', '.join(NETWORKS)}.",
        )
    numbers = match.groups()
    spec = Spec(
        tuple(int(n) for n in numbers[:4]), float(numbers[4]), tuple(int(n) for n in numbers[5:])
    )
    if spec.expansion == 0 or 0 in spec.groups:
        raise InputError(f"structure {text!r}", "holds a zero", "Use E > 0 and groups >= 1.")
    return spec
