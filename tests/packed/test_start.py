"""How long a fresh process takes to its first result."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ebcore.models import resnet
from ebcore.packed import pack

ROOT = Path(__file__).parents[2]
SECONDS = 0.3  # beyond torch's own import; of the CPU, as other tests may have the rest of it
PROCESSES = 5
PROGRAM = """
import sys, time
import torch
x = torch.zeros(1, 3, 224, 224)
start = time.process_time()
import ebcore.packed
ebcore.packed.load(sys.argv[1])(x)
print(time.process_time() - start)
"""


@pytest.mark.slow
def test_full_size_network_runs_soon_after_torch_is_there(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = resnet("1262-2-4:8:8:16", experts=4).eval()
    pack(model, (3, 224, 224)).save(tmp_path / "net.ebp")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "net.ebp")]
    seconds = [float(subprocess.check_output(command, cwd=ROOT)) for _ in range(PROCESSES)]
    assert statistics.median(seconds) <= SECONDS, seconds


def test_import_loads_nothing_heavy() -> None:
    heavy = "{'torchvision', 'mlflow', 'prefect', 'pandas', 'dvc', 'ffcv', 'matplotlib', 'sklearn'}"
    program = f"import ebcore.packed, sys; print({heavy} & set(sys.modules) or 'none')"
    assert subprocess.check_output([sys.executable, "-c", program], cwd=ROOT) == b"none\n"
