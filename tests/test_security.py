"""That `make lint` finds what must not be in the product."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = """\
pickle.loads(b"")
marshal.loads(b"")
torch.load("x", weights_only=False)
np.load("x", allow_pickle=True)
yaml.load("x", yaml.Loader)
os.system("ls")
os.popen("ls")
subprocess.run("ls", shell=True)
eval("1")
exec("1")
"""
IMPORTS = """\
import marshal
import os
import pickle
import subprocess

import numpy as np
import torch
import yaml

"""


@pytest.mark.parametrize("package", ["ebcore", "flows", "benchmarks"])
def test_ruff_refuses_unpickling_shells_and_evaluation(package: str) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ruff", "check", "--output-format=json"),
            *("--stdin-filename", f"{package}/new.py", "-"),
        ],
        cwd=ROOT,
        input=IMPORTS + FORBIDDEN,
        capture_output=True,
        text=True,
    )
    first = IMPORTS.count("\n") + 1
    found = {entry["location"]["row"]: entry["code"] for entry in json.loads(done.stdout)}
    assert set(found) == set(range(first, first + FORBIDDEN.count("\n"))), found
