"""Mutated packed files: refused or run, never a crash; C and Python agree on which.

tests/packed/native/mutate.h makes the files. The loader, the graph's checks and the kernels run
under AddressSanitizer and UndefinedBehaviorSanitizer. A file that fails is named by its number:
`fuzz_file NUMBER 1 FILE...` makes it again.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ebcore.packed import available, load
from ebcore.packed.ops import OPS
from tests.packed.c_library import agreed
from tests.packed.native.build import SANITIZE, build
from tests.packed.small_files import small_files

FILES = 210_000  # under the sanitizers, shared out among the instruction sets
COMPARED = 20_000  # in Python and C
# At most so much memory for one array; an allocation past it fails as on a full machine.
LIMITS = {
    "ASAN_OPTIONS": "abort_on_error=1:allocator_may_return_null=1:max_allocation_size_mb=512",
    "UBSAN_OPTIONS": "abort_on_error=1:print_stacktrace=1",
}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("seeds")
    paths = [folder / f"{i}.ebp" for i in range(len(small_files()))]
    for path, data in zip(paths, small_files(), strict=True):
        path.write_bytes(data)
    return paths


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("fuzz_file.cpp", tmp_path_factory.mktemp("fuzz"), SANITIZE)


def test_seeds_have_every_operation_and_tensor(seeds: list[Path]) -> None:
    nodes = [node for path in seeds for node in load(path).graph.nodes]
    for name, op in OPS.items():
        own = [node for node in nodes if node.op == name]
        assert {len(node.inputs) for node in own} == set(op.inputs), name
        assert {slot for node in own for slot in node.tensors} == set(op.tensors), name
    for path in seeds:
        model = load(path)
        assert model(torch.randn(2, *model.input_shape)).isfinite().all()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_mutated_file_crashes(program: Path, seeds: list[Path]) -> None:
    names = available()
    share = FILES // len(names)
    counts: Counter[str] = Counter()
    for i, isa in enumerate(names):
        run = subprocess.run(
            [program, str(i * share), str(share), *seeds],
            env=os.environ | LIMITS | {"EBCORE_ISA": isa},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert run.returncode == 0, run.stderr[-4000:]
        for line in run.stdout.splitlines():
            count, _, what = line.partition("\t")
            counts[what] += int(count)
    ran, loaded = counts.pop("ran"), counts.pop("loaded")
    assert loaded + counts.total() == share * len(names)
    assert 0.1 < loaded / FILES < 0.5
    assert ran > 0.9 * loaded
    at_least = {
        "altered: its differs": 0.01,
        "(no at byte": 0.01,  # UTF-8
        "a name comes twice": 0.01,
        "nested too deeply": 0.0005,
        "number that is not finite": 0.0005,
        "lies outside the file": 0.01,
        "overlaps another tensor": 0.01,
        "holds NaN": 0.005,
        "bits past its end": 0.005,
        "has wrong fields": 0.005,
        "has wrong inputs": 0.005,
        "attributes of node is out of range": 0.005,
        "tensor of the wrong shape": 0.005,
        "attribute out of range": 0.005,
        "groups that do not divide": 0.0005,
        "kernel larger than its image": 0.0005,
        "values of different shapes": 0.0005,
    }
    for what, least in at_least.items():
        assert sum(n for reason, n in counts.items() if what in reason) > least * FILES, what


def _written(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while size := stream.read(8):
            yield stream.read(int.from_bytes(size, "little"))


@pytest.mark.slow
def test_python_and_c_refuse_the_same_files(
    program: Path, seeds: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "files"
    # Other files than those above.
    subprocess.run([program, "--write", out, str(10**9), str(COMPARED), *seeds], check=True)
    reasons = [agreed(data) for data in _written(out)]
    assert len(reasons) == COMPARED
    assert reasons.count(None) > 0.1 * COMPARED
    assert len(set(reasons)) > 300
