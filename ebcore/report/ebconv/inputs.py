"""What EBConv's page reads: the files of the listed expert counts, and no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from ebcore.checkpoint import load_checkpoint
from ebcore.params import Params
from ebcore.report.files import Row, read, read_json, read_rows
from ebcore.workspace import SHARED_STAGES, curve_file, evaluation_file, metrics_file

_T = TypeVar("_T")


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` kept of every validation image.

    Attributes:
        features: float32 [n, C], before the classifier.
        labels: int64 [n].
        experts: int64 [n, L], the expert of each image in each layer that has a gate.
        layers: names of those L layers.
        classes: class names.
        listed: images whose packed signs or experts differ within rounding.
        data_sha256: digest of the data's manifest.
    """

    features: Tensor
    labels: Tensor
    experts: Tensor
    layers: list[str]
    classes: list[str]
    listed: list[dict[str, Any]]
    data_sha256: str


@dataclass(frozen=True)
class Branch:
    """All results of one expert count.

    Attributes:
        metrics: by stage: the training stages, pack, benchmark, evaluate.
        curves: by training stage, a row per epoch.
        usage: rows of plots/evaluate-usage-N.csv.
        benchmark: rows of plots/benchmark-N.csv.
        evaluation: per validation image.
    """

    experts: int
    metrics: dict[str, dict[str, Any]]
    curves: dict[str, list[Row]]
    usage: list[Row]
    benchmark: list[Row]
    evaluation: Evaluation


def read_branch(params: Params, experts: int) -> Branch:
    """Reads one expert count's files.

    Raises:
        InputError: one is missing or damaged; the text names it and the stage that makes it.
    """
    training = params.training_stages
    stages = (*training, "pack", "benchmark", "evaluate")
    return Branch(
        experts,
        {s: _read(metrics_file(s, experts), s, experts, read_json) for s in stages},
        {s: _read(curve_file(s, experts), s, experts, read_rows) for s in training},
        _read(curve_file("evaluate-usage", experts), "evaluate", experts, read_rows),
        _read(curve_file("benchmark", experts), "benchmark", experts, read_rows),
        _read(evaluation_file(experts), "evaluate", experts, _read_evaluation),
    )


def _read(path: Path, stage: str, experts: int, reader: Callable[[Path], _T]) -> _T:
    return read(path, stage if stage in SHARED_STAGES else f"{stage}@{experts}", reader)


def _read_evaluation(path: Path) -> Evaluation:
    tensors, meta = load_checkpoint(path)
    return Evaluation(
        tensors["features"],
        tensors["labels"],
        tensors["experts"],
        meta["layers"],
        meta["classes"],
        meta["listed"],
        meta["data_sha256"],
    )
