"""The machine and the versions behind a measurement: the columns every benchmark row carries."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

import ebcore
from ebcore.commit import git_commit
from ebcore.processes import available_cores

# In the order of what decides the speed of a binary, an int8 and a float kernel.
_ISA_FLAGS = (
    "avx2",
    "avx512f",
    "avx512bw",
    "avx512_vpopcntdq",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "sve",
)


@functools.cache
def machine() -> dict[str, str]:
    """Hardware and versions, as text: cpu, isa, cores, os, python, torch, ebcore, commit."""
    import torch

    model, flags = _cpu_model_and_flags()
    return {
        "cpu": model,
        "isa": " ".join(flag for flag in _ISA_FLAGS if flag in flags),
        "cores": str(available_cores()),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ebcore": ebcore.__version__,
        "commit": git_commit(),
    }


def _cpu_model_and_flags() -> tuple[str, set[str]]:
    """From /proc/cpuinfo; elsewhere the name that Python knows and no flags."""
    fields: dict[str, str] = {}
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine(), set()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    model = fields.get("model name") or platform.machine()
    return " ".join(model.split()), set(fields.get("flags", fields.get("Features", "")).split())
