"""What the training loop is told by a paper's recipe; the recipes are in `ebcore.methods`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from ebcore.errors import InputError
from ebcore.params import Params, TrainParams

if TYPE_CHECKING:
    from ebcore.models import Network

# By what a stage's name begins with: the module of ebcore.methods it belongs to.
METHODS = {"train": "ebconv", "hybrid": "hybrid", "ftbnn": "ftbnn", "ablation": "ftbnn"}


@dataclass(frozen=True)
class Training:
    """One training of a recipe.

    Attributes:
        stage: its name in dvc.yaml, a key of the method's `STEPS`.
        item: what follows `@` there, for example "4" (experts) or "relu-0" (variant, seed); "" for
            a stage without items.
        params: all parameters, with the training's own seed.
        train: how it is trained.
        content: what else decides its result, JSON-able: the network above all.
        start: the checkpoint it continues; None starts from random weights.
        teacher: the checkpoint of the network that teaches it; None without distillation.
    """

    stage: str
    item: str
    params: Params
    train: TrainParams
    content: Mapping[str, Any]
    start: Path | None = None
    teacher: Path | None = None


class Method(Protocol):
    """What a module of `ebcore.methods` has for the training loop."""

    def training(self, stage: str, item: str, params: Params) -> Training:
        """One of its trainings; `InputError` for an unknown stage or item."""

    def start_model(self, training: Training, num_classes: int) -> Network:
        """The network it begins with, its binarization set; `InputError` for a bad checkpoint."""


def method_name(stage: str) -> str:
    """The method a stage belongs to: "ebconv" for all that names no other."""
    return METHODS.get(stage.partition("_")[0], "ebconv")


def method_of(stage: str) -> Method:
    """The method's module; imported now, as methods import this module."""
    return cast(Method, import_module(f"ebcore.methods.{method_name(stage)}"))


def find_training(stage: str, item: str, params: Params) -> Training:
    """The training that a stage and item of dvc.yaml stand for.

    Raises:
        InputError: there is no such stage or item.
    """
    return method_of(stage).training(stage, item, params)


def require_step(stage: str, steps: Mapping[str, Any]) -> None:
    """Raises InputError for a stage that is no step of a recipe."""
    if stage not in steps:
        raise InputError(f"stage {stage!r}", "trains nothing", f"Use one of {', '.join(steps)}.")
