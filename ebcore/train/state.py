"""What a training run needs to go on: saved in its run directory, the two newest kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ebcore.checkpoint import load_checkpoint, save_checkpoint
from ebcore.errors import InputError
from ebcore.files import drop_abandoned

_KEEP = 2
_DAMAGED = ".damaged"
_NAME = re.compile(r"state-(\d+)\.safetensors")


def save_state(
    folder: Path,
    step: int,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    progress: dict[str, Any],
) -> None:
    """Writes modules, optimizer and `progress` after `step` steps, then drops older states."""
    tensors: dict[str, Tensor] = {
        f"{name}.{key}": value
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in values.items()}
    save_checkpoint(_path(folder, step), tensors, {**progress, "step": step})
    _drop_older(folder)


def newest_state(folder: Path) -> tuple[int, list[str]]:
    """The step of the newest undamaged state (0 where there is none), and what is damaged."""
    damaged = []
    for path in reversed(_states(folder)):
        try:
            load_checkpoint(path)
        except InputError as error:
            damaged.append(str(error))
        else:
            return _step(path), damaged
    return 0, damaged


def tidy_states(folder: Path, newest: int) -> None:
    """Clears away what a crash has left, once `newest` is chosen to go on from.

    Newer states are damaged; set aside, they do not count among those that are kept.
    """
    drop_abandoned(folder, "state-*")
    for path in _states(folder):
        if _step(path) > newest:
            path.rename(path.with_suffix(_DAMAGED))
    _drop_older(folder)


def restore_state(
    folder: Path, step: int, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Loads the state after `step` steps into modules and optimizer; returns its progress.

    Raises:
        InputError: it is missing or damaged.
    """
    tensors, progress = load_checkpoint(_path(folder, step))
    for name, module in modules.items():
        module.load_state_dict(_part(tensors, f"{name}."))
    content = optimizer.state_dict()
    content["state"] = {}
    for name, value in _part(tensors, "optimizer.").items():
        index, key = name.split(".", 1)
        content["state"].setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(content)
    return progress


def drop_states(folder: Path) -> None:
    """Removes the states of a run that is done."""
    drop_abandoned(folder, "*")
    for path in (*_states(folder), *folder.glob(f"state-*{_DAMAGED}")):
        path.unlink()


def _drop_older(folder: Path) -> None:
    for old in _states(folder)[:-_KEEP]:
        old.unlink()


def _path(folder: Path, step: int) -> Path:
    return folder / f"state-{step:09d}.safetensors"


def _step(path: Path) -> int:
    return int(_NAME.fullmatch(path.name)[1])  # type: ignore[index]


def _states(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("state-*") if _NAME.fullmatch(path.name))


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
