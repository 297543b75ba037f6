"""The kernels of another processor, cross-compiled and run under emulation."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "ebcore" / "packed" / "kernels"
NATIVE = Path(__file__).parent / "native"
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
    program = tmp_path / check
    sources = [str(path) for path in sorted(KERNELS.glob("*.cpp"))]
    options = ["-std=c++17", "-O2", "-ffp-contract=off", "-pthread", "-static", "-Wno-psabi"]
    source = str(NATIVE / f"{check}.cpp")
    subprocess.run(
        [COMPILER, *options, f"-I{KERNELS}", *sources, source, "-o", str(program)], check=True
    )
    assert EMULATOR is not None
    run = subprocess.run(
        [EMULATOR, str(program), isa, "60"], capture_output=True, text=True, timeout=500
    )
    assert (run.returncode, run.stdout) == (0, "60 cases agree\n")
