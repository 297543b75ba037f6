"""Runs every benchmark of this folder, one process each, then says which targets hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LAST = "targets"  # reads what the others wrote
STUDIES = {"linearity"}  # train for long: by name only


def main() -> int:
    """The first exit code that is not 0; a failing benchmark does not stop the others."""
    names = sorted(
        p.stem
        for p in Path(__file__).parent.glob("*.py")
        if p.stem[0] != "_" and p.stem not in STUDIES
    )
    codes = []
    for name in [*(name for name in names if name != LAST), LAST]:
        print(f"benchmarks/{name}.py", flush=True)
        codes.append(subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode)
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
