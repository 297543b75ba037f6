"""States of an interrupted run."""

from pathlib import Path

import torch
from torch import nn

from ebcore.train.state import newest_state, restore_state, save_state


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
