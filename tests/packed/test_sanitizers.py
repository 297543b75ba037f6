"""The kernels and the runtime under sanitizers and valgrind."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ebcore.models import EBResNet
from ebcore.packed import available, pack
from tests.packed.native.build import SANITIZE, build
from tests.packed.small_files import small_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CASES, ROUNDS = "1500", 10


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the kernels are compiled once."""
    return tmp_path_factory.mktemp("sanitized")


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("check", ["check_kernels", "check_real"])
def test_convolutions_of_random_shapes(check: str, isa: str, sanitized: Path) -> None:
    program = build(f"{check}.cpp", sanitized, SANITIZE)
    run = subprocess.run([program, isa, CASES], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, f"{CASES} cases agree\n"), run.stderr


@pytest.mark.skipif(
    shutil.which("valgrind") is None or "avx2" not in available(),
    reason="needs valgrind and a CPU with AVX2, the most that valgrind knows",
)
def test_valgrind_finds_nothing(tmp_path: Path) -> None:
    program = build("check_kernels.cpp", tmp_path, ["-O2", "-g"])
    command = ["valgrind", "-q", "--error-exitcode=9", str(program), "avx2", "60"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "60 cases agree\n"), run.stderr


def test_threads_share_a_model_without_a_race(
    network: Callable[..., EBResNet], tmp_path: Path
) -> None:
    files = [tmp_path / f"{i}.ebp" for i in range(len(small_files()))]
    for file, data in zip(files, small_files(), strict=True):
        file.write_bytes(data)
    pack(network(experts=2, se=True), (3, 16, 16)).save(tmp_path / "network.ebp")
    files.append(tmp_path / "network.ebp")
    program = build("check_threads.cpp", tmp_path, ["-O1", "-g", "-fsanitize=thread"])
    run = subprocess.run(
        [program, str(ROUNDS), *files],
        env=os.environ | {"TSAN_OPTIONS": "halt_on_error=1"},
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout) == (0, f"{4 * ROUNDS * len(files)} runs agree\n"), (
        run.stderr
    )
