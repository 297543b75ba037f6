"""The kernels of another processor, cross-compiled and run under emulation."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packed.native.build import build

COMPILER = "aarch64-linux-gnu-g++"
EMULATOR = next(filter(shutil.which, ("qemu-aarch64", "qemu-aarch64-static")), None)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which(COMPILER) is None or EMULATOR is None,
    reason=f"needs {COMPILER} and qemu-user (apt: g++-aarch64-linux-gnu qemu-user)",
)
@pytest.mark.parametrize("isa", ["neon", "portable"])
@pytest.mark.parametrize("check", ["check_kernels", "check_real"])
def test_arm_kernels_equal_plain_loops(check: str, isa: str, tmp_path: Path) -> None:
    program = build(f"{check}.cpp", tmp_path, ["-O2", "-static"], COMPILER)
    assert EMULATOR is not None
    run = subprocess.run(
        [EMULATOR, str(program), isa, "60"], capture_output=True, text=True, timeout=500
    )
    assert (run.returncode, run.stdout) == (0, "60 cases agree\n")
