"""Which instruction set the kernels use on this CPU."""

from __future__ import annotations

import os

from ebcore.errors import InputError
from ebcore.packed.native import library

NAMES = ("avx512", "avx2", "neon", "portable")  # fastest first
VARIABLE = "EBCORE_ISA"


def available() -> tuple[str, ...]:
    """Instruction sets this build and CPU can run, fastest first."""
    return tuple(name for name in NAMES if library().ebcore_supports(name.encode()))


def isa() -> str:
    """The instruction set a network loaded now runs on: the fastest, or what EBCORE_ISA names.

    Raises:
        InputError: EBCORE_ISA names one that does not exist or that this CPU lacks.
    """
    able = available()
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return able[0]
    if wanted not in able:
        reason = "this CPU lacks it" if wanted in NAMES else "there is no such instruction set"
        raise InputError(
            f"{VARIABLE}={wanted}", reason, f"Use one of {', '.join(able)}, or unset it."
        )
    return wanted
