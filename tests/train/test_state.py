"""States of an interrupted run."""

from __future__ import annotations

import os
import random
import resource
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from torch import nn

from ebcore.checkpoint import load_checkpoint
from ebcore.errors import InputError
from ebcore.train.state import drop_states, newest_state, restore_state, save_state, tidy_states


def parts() -> tuple[dict[str, nn.Module], torch.optim.Adam]:
    model, optimizer = fresh()
    return {"model": model}, optimizer


def fresh() -> tuple[nn.Linear, torch.optim.Adam]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    return model, torch.optim.Adam(model.parameters(), lr=0.1, fused=True)


def advance(model: nn.Linear, optimizer: torch.optim.Adam) -> None:
    model(torch.ones(1, 3)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_a_restored_run_goes_on_as_the_unbroken_one(tmp_path: Path) -> None:
    model, optimizer = fresh()
    for step in range(1, 4):
        advance(model, optimizer)
        save_state(tmp_path, step, {"model": model}, optimizer, {"epoch": 0})
    other, its_optimizer = fresh()
    assert newest_state(tmp_path) == (3, [])
    restored = restore_state(tmp_path, 3, {"model": other}, its_optimizer)
    assert restored == {"epoch": 0, "step": 3}
    for _ in range(3):
        advance(model, optimizer)
        advance(other, its_optimizer)
    assert torch.equal(model.weight, other.weight)


def test_the_two_newest_are_kept(tmp_path: Path) -> None:
    for step in (5, 9, 10, 11):
        save_state(tmp_path, step, *parts(), {})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["state-000000010.safetensors", "state-000000011.safetensors"]


def test_a_damaged_state_is_named_and_the_one_before_used(tmp_path: Path) -> None:
    for step in (1, 2):
        save_state(tmp_path, step, *parts(), {})
    newest = tmp_path / "state-000000002.safetensors"
    newest.write_bytes(newest.read_bytes()[:-3])
    step, damaged = newest_state(tmp_path)
    assert step == 1
    assert restore_state(tmp_path, step, *parts()) == {"step": 1}
    assert len(damaged) == 1 and "state-000000002.safetensors: is truncated" in damaged[0]


def test_without_states_there_is_nothing_to_restore(tmp_path: Path) -> None:
    assert newest_state(tmp_path) == (0, [])


def start(folder: Path) -> tuple[int, list[str]]:
    """What a training run does with the states that it finds."""
    step, damaged = newest_state(folder)
    tidy_states(folder, step)
    return step, damaged


def die(*arguments: Any, **options: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def die_in_the_middle_of_writing() -> None:
    """The kernel ends the process at the 200th byte."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def die_after_rename() -> None:
    rename = os.replace
    os.replace = lambda *paths: die(rename(*paths))  # type: ignore[assignment]


# Point inside saving -> what makes a process die there, and whether the new state is then there.
CRASHES: dict[str, tuple[Callable[[], Any], bool]] = {
    "before the temporary file": (lambda: setattr(tempfile, "mkstemp", die), False),
    "in the middle of writing": (die_in_the_middle_of_writing, False),
    "before fsync": (lambda: setattr(os, "fsync", die), False),
    "before the rename": (lambda: setattr(os, "replace", die), False),
    "before older states go": (die_after_rename, True),
}


def crash(folder: Path, step: int, point: str) -> None:
    """Another process saves the state after `step` steps and dies at that point."""
    child = os.fork()
    if child == 0:
        try:
            CRASHES[point][0]()
            save_state(folder, step, *parts(), {})
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"saved without dying {point}"


@pytest.mark.parametrize("point", CRASHES)
def test_a_crash_while_saving_leaves_a_state_to_go_on_from(tmp_path: Path, point: str) -> None:
    for step in (1, 2):
        save_state(tmp_path, step, *parts(), {})
    crash(tmp_path, 3, point)
    step, damaged = start(tmp_path)
    assert (step, damaged) == (3 if CRASHES[point][1] else 2, [])
    assert restore_state(tmp_path, step, *parts()) == {"step": step}
    save_state(tmp_path, 4, *parts(), {})
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == [f"state-{number:09}.safetensors" for number in (step, 4)]


def test_a_hundred_crashes_leave_no_heap_of_files(tmp_path: Path) -> None:
    save_state(tmp_path, 1, *parts(), {})
    for number in range(100):
        step, damaged = start(tmp_path)
        assert step and not damaged
        crash(tmp_path, step + 1, list(CRASHES)[number % len(CRASHES)])
        assert len(list(tmp_path.iterdir())) <= 3 + 1  # states, the new one, its temporary
    assert start(tmp_path) == (21, [])  # one point of five brought the run on
    drop_states(tmp_path)
    assert list(tmp_path.iterdir()) == []


def damages() -> list[tuple[str, Callable[[bytes], bytes]]]:
    """20 seeded ways to spoil a file: bits of its header, its tensors, its digest; its length."""
    chosen = random.Random(0)

    def flip(begin: float, end: float, what: str) -> tuple[str, Callable[[bytes], bytes]]:
        share, bit = chosen.uniform(begin, end), chosen.randrange(8)

        def spoil(content: bytes) -> bytes:
            header = 8 + int.from_bytes(content[:8], "little")  # then come the tensors
            sha = content.index(b"sha256")
            size = {"length": 8, "header": header, "digest": 60, "tensors": len(content) - header}
            first = {"length": 0, "header": 8, "digest": sha + 11, "tensors": header}[what]
            at = min(first + int(share * size[what]), len(content) - 1)
            return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]

        return f"{what}, {share:.3f}, bit {bit}", spoil

    def cut(share: float) -> tuple[str, Callable[[bytes], bytes]]:
        return f"cut at {share:.3f}", lambda content: content[: int(share * len(content))]

    return [
        *(flip(0, 1, what) for what in ("length", "header", "digest", "tensors") for _ in range(3)),
        *(cut(chosen.random()) for _ in range(4)),
        ("last byte gone", lambda content: content[:-1]),
        ("empty", lambda content: b""),
        ("a byte more", lambda content: content + b"\0"),
        ("zeros", lambda content: bytes(len(content))),
    ]


@pytest.mark.parametrize("number", range(20))
def test_damage_is_named_and_the_state_before_it_used(tmp_path: Path, number: int) -> None:
    for step in (1, 9):
        save_state(tmp_path, step, *parts(), {"curve": [{"val_top1": 97.5}]})
    newest = tmp_path / "state-000000009.safetensors"
    what, spoil = damages()[number]
    content = newest.read_bytes()
    newest.write_bytes(spoil(content))
    assert newest.read_bytes() != content
    step, damaged = start(tmp_path)
    assert step == 1, what
    assert len(damaged) == 1 and str(newest) in damaged[0]
    assert restore_state(tmp_path, step, *parts())["step"] == 1
    # the damaged one does not count among the two that are kept
    save_state(tmp_path, 2, *parts(), {})
    newest.with_name("state-000000002.safetensors").write_bytes(b"")
    assert start(tmp_path)[0] == 1
    drop_states(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_flipped_bit_goes_unnoticed(tmp_path: Path) -> None:
    save_state(tmp_path, 1, *parts(), {"epoch": 0})
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        spoilt = bytearray(content)
        spoilt[bit // 8] ^= 1 << bit % 8
        path.write_bytes(spoilt)
        with pytest.raises(InputError):
            load_checkpoint(path)
