"""Builds the programs of this folder together with the kernels."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
KERNELS = HERE.parents[2] / "ebcore" / "packed" / "kernels"
SANITIZE = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")


def build(
    source: str, folder: Path, options: Sequence[str] = ("-O2",), compiler: str = "c++"
) -> Path:
    """`source` of this folder as a program in `folder`, which keeps what it compiles.

    The kernels are compiled once a folder: programs there share them, and must share the options.
    """
    flags = ["-std=c++17", "-ffp-contract=off", "-pthread", "-Wno-psabi", *options]
    objects = []
    for path in (*sorted(KERNELS.glob("*.cpp")), HERE / source):
        objects.append(folder / f"{path.stem}.o")
        if not objects[-1].exists():
            command = [compiler, *flags, f"-I{KERNELS}", "-c", str(path), "-o", str(objects[-1])]
            subprocess.run(command, check=True)
    program = folder / Path(source).stem
    subprocess.run([compiler, *flags, *map(str, objects), "-o", str(program)], check=True)
    return program
