"""One model in several threads, in a forked child, and loaded again and again."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ebcore.models import EBResNet
from ebcore.packed import PackedModel, pack
from ebcore.packed.format import encode
from tests.packed.c_library import CLibrary, CModel

THREADS, ROUNDS, SIDE = 4, 40, 24


@pytest.fixture
def packed(network: Callable[..., EBResNet]) -> PackedModel:
    """Experts and SE, so that every kind of scratch memory is in use."""
    return pack(network(experts=3, se=True, width=16), (3, SIDE, SIDE))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_disturb_each_other(packed: PackedModel, threads: int) -> None:
    inputs = [torch.randn(1 + i % 3, 3, SIDE, SIDE) for i in range(THREADS * 2)]
    alone = [packed(x) for x in inputs]
    packed.threads = threads

    def work(start: int) -> bool:
        order = [(start + i) % len(inputs) for i in range(ROUNDS)]
        return all(torch.equal(packed(inputs[i]), alone[i]) for i in order)

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(work, range(THREADS)))


def test_tracing_does_not_disturb_others(packed: PackedModel) -> None:
    x, y = torch.randn(2, 2, 3, SIDE, SIDE)
    logits, trace = packed(x), packed.trace(y)
    with ThreadPoolExecutor(2) as pool:
        runs = pool.submit(lambda: [packed(x) for _ in range(ROUNDS)])
        traces = pool.submit(lambda: [packed.trace(y) for _ in range(ROUNDS)])
    assert all(torch.equal(found, logits) for found in runs.result())
    for found in traces.result():
        for name, layer in found.layers.items():
            assert torch.equal(layer.accumulators, trace.layers[name].accumulators)


def _answer(model: CModel, x: Tensor, pipe: multiprocessing.connection.Connection) -> None:
    logits = model(x, threads=2)
    model.get("free")
    pipe.send(logits.tolist())


def test_forked_child_runs_and_frees_a_model_of_its_parent(packed: PackedModel) -> None:
    model = CLibrary().load(encode(packed.graph))
    x = torch.randn(1, 3, SIDE, SIDE)
    expected = model(x, threads=2)  # helper threads exist now, the child has none of them
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_answer, args=(model, x, there))
    child.start()
    if not here.poll(20):
        child.kill()
        pytest.fail("the child hangs")
    assert torch.equal(torch.tensor(here.recv()), expected)
    child.join(20)
    assert child.exitcode == 0
    assert torch.equal(model(x, threads=2), expected)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux for the memory")
def test_loading_again_and_again_leaks_nothing(packed: PackedModel, tmp_path: Path) -> None:
    packed.save(tmp_path / "net.ebp")
    library, x = CLibrary(), torch.randn(1, 3, SIDE, SIDE)

    def use(times: int) -> int:
        for _ in range(times):
            library.load(tmp_path / "net.ebp")(x, threads=2)
        return _resident()

    size = (tmp_path / "net.ebp").stat().st_size
    before = use(40)
    assert use(120) - before < 20 * size
