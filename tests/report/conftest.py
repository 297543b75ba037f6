"""Small made-up results in the pipeline's layout."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ebcore.checkpoint import save_checkpoint
from ebcore.measure.benchmark import metrics_of
from ebcore.measure.rows import COLUMNS
from ebcore.measure.usage import usage_counts, usage_rows, write_usage
from ebcore.params import TRAINING_STAGES, Params, load_params
from ebcore.workspace import branch, curve_file, evaluation_file, metrics_file

PARAMS = Path(__file__).parents[2] / "params" / "digits.yaml"
CLASSES = [f"digit {i}" for i in range(10)]
LAYERS = [f"stages.{s}.0.{u}.conv" for s in range(4) for u in range(3)]
IMAGES, EPOCHS = 60, 5


def params_for(experts: list[int]) -> Params:
    return load_params(PARAMS).model_copy(update={"experts": experts})


def write_branch(experts: int) -> None:
    """Writes every file the report reads for one expert count, into the current folder."""
    for stage in TRAINING_STAGES:
        _write_training(stage, experts)
    _write_json(
        "pack",
        experts,
        {
            "file_bytes": 21_000 + 4_000 * experts,
            "float_bytes": 410_000 * experts,
            "ratio": 410_000 * experts / (21_000 + 4_000 * experts),
            "bops": 5.4e6,
            "flops": 4.1e5,
            "binary_parameters": 100_000.0 * experts,
            "real_parameters": 9_000.0,
        },
    )
    _write_benchmark(experts)
    _write_evaluation(experts)


def _write_training(stage: str, experts: int) -> None:
    top1 = 95.0 + experts / 4 - (1 if stage == "train_binary" else 0)
    metrics = {"top1": top1, "top5": 99.9, "loss": 0.1, "train_loss": 0.05, "epochs": EPOCHS}
    extra = {"seconds": 12.0, "overall_images_per_second": 1500.0, "best_top1": top1 + 0.25}
    _write_json(stage, experts, {**metrics, **extra})
    rows = [
        {
            "epoch": epoch,
            "train_loss": 2 / epoch,
            "train_top1": top1 - 30 / epoch,
            "val_loss": 2.2 / epoch,
            "val_top1": top1 - 40 / epoch,
            "val_top5": 99.0,
            "lr": 0.001,
        }
        for epoch in range(1, EPOCHS + 1)
    ]
    _write_csv(f"{branch(stage, experts)}.csv", list(rows[0]), rows)


def _write_benchmark(experts: int) -> None:
    times = {"packed": 0.08, "torch_fp32": 0.92, "torch_int8": 0.31}
    rows: list[dict[str, object]] = []
    for case in ["network", *(f"{name} shape" for name in LAYERS)]:
        for candidate, ms in times.items():
            row: dict[str, object] = dict.fromkeys(COLUMNS, "")
            kind = "network" if case == "network" else "layer"
            row |= {"case": case, "kind": kind, "candidate": candidate, "cpu": "Test CPU"}
            row |= {"ms": ms, "low_ms": 0.9 * ms, "high_ms": 1.1 * ms, "share": 0.25}
            row |= {"speedup": None if candidate == "packed" else ms / 0.08}
            row |= {"layers": case.removesuffix(" shape"), "threads": 1, "batch_size": 1}
            rows.append(row)
    _write_json("benchmark", experts, metrics_of(rows))
    _write_csv(f"benchmark-{experts}.csv", list(COLUMNS), rows)


def _write_evaluation(experts: int) -> None:
    random = torch.Generator().manual_seed(experts)
    labels = torch.arange(IMAGES) * 10 // IMAGES
    layers = LAYERS if experts > 1 else []
    chosen = torch.randint(experts, (IMAGES, len(layers)), generator=random)
    features = torch.randn(IMAGES, 12, generator=random) + labels[:, None]
    tensors = {"features": features, "labels": labels, "experts": chosen}
    meta = {"layers": layers, "classes": CLASSES, "data_sha256": "0" * 64}
    meta["listed"] = [{"image": 17, "layer": LAYERS[3], "bits": 1, "expert": False}]
    save_checkpoint(evaluation_file(experts), tensors, meta)
    counts = usage_counts(chosen, labels, experts, len(CLASSES))
    write_usage(curve_file("evaluate-usage", experts), usage_rows(counts, layers, CLASSES))
    accuracies = {"packed_top1": 96.5, "packed_top5": 100.0, "pytorch_top1": 96.5}
    agreement = {"listed_images": 1, "listed_percent": 100 / IMAGES, "max_logit_error": 3e-7}
    rest = {"pytorch_top5": 100.0, "images": IMAGES, "gate_entropy": 1.2}
    _write_json("evaluate", experts, {**accuracies, **agreement, **rest})


def _write_json(stage: str, experts: int, content: dict[str, float]) -> None:
    path = metrics_file(stage, experts)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def _write_csv(name: str, columns: list[str], rows: list[dict[str, object]]) -> None:
    path = Path("plots") / name
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[int]], Params]:
    """`results([1, 4])` writes these counts' files into a folder of its own and enters it."""
    monkeypatch.chdir(tmp_path)

    def write(experts: list[int]) -> Params:
        for count in experts:
            write_branch(count)
        return params_for(experts)

    return write
