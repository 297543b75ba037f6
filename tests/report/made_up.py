"""Small made-up results in the pipeline's layout."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ebcore.checkpoint import save_checkpoint
from ebcore.measure.benchmark import metrics_of
from ebcore.measure.rows import COLUMNS
from ebcore.measure.usage import usage_counts, usage_rows, write_usage
from ebcore.methods import hybrid
from ebcore.params import TRAINING_STAGES, HybridNetworkParams, Params, load_params
from ebcore.workspace import branch, curve_file, evaluation_file, metrics_file

PARAMS = Path(__file__).parents[2] / "params" / "digits.yaml"
CLASSES = [f"digit {i}" for i in range(10)]
LAYERS = [f"stages.{s}.0.{u}.conv" for s in range(4) for u in range(3)]
IMAGES, EPOCHS = 60, 5


def params_for(experts: list[int]) -> Params:
    """The digits profile with these counts and no other method."""
    params = load_params(PARAMS)
    changed = {
        "experts": experts,
        "networks": [],
        "hybrid": params.hybrid.model_copy(update={"seeds": []}),
        "ftbnn": params.ftbnn.model_copy(update={"seeds": []}),
    }
    return params.model_copy(update=changed)


def write_branch(experts: int) -> None:
    """Writes every file the report reads for one expert count, into the current folder."""
    for stage in TRAINING_STAGES:
        _write_training(stage, experts)
    write_pack(experts, 21_000 + 4_000 * experts, 410_000 * experts)
    _write_benchmark(experts)
    _write_evaluation(experts)


def _write_training(stage: str, experts: int) -> None:
    write_trained(stage, experts, 95.0 + experts / 4 - (1 if stage == "train_binary" else 0))


def write_trained(stage: str, item: int | str, top1: float) -> None:
    """A training's metrics and curve, of any method."""
    metrics = {"top1": top1, "top5": 99.9, "loss": 0.1, "train_loss": 0.05, "epochs": EPOCHS}
    extra = {"seconds": 12.0, "overall_images_per_second": 1500.0, "best_top1": top1 + 0.25}
    _write_json(stage, item, {**metrics, **extra})
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
    _write_csv(f"{branch(stage, item)}.csv", list(rows[0]), rows)


def write_pack(network: int | str, file_bytes: int, float_bytes: int) -> None:
    sizes = {"file_bytes": file_bytes, "float_bytes": float_bytes}
    operations = {"bops": 6.4e6, "flops": 4.1e5}
    parameters = {"binary_parameters": 100_000.0, "real_parameters": 9_000.0}
    ratio = {"ratio": float_bytes / file_bytes}
    _write_json("pack", network, {**sizes, **ratio, **operations, **parameters})


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
    write_agreement(experts, 96.5)


def write_agreement(network: int | str, top1: float) -> None:
    """metrics/evaluate-NETWORK.json"""
    accuracies = {"packed_top1": top1, "packed_top5": 100.0, "pytorch_top1": top1}
    agreement = {"listed_images": 1, "listed_percent": 100 / IMAGES, "max_logit_error": 3e-7}
    rest = {"pytorch_top5": 100.0, "images": IMAGES, "gate_entropy": 1.2}
    _write_json("evaluate", network, {**accuracies, **agreement, **rest})


def _write_json(stage: str, item: int | str, content: Mapping[str, object]) -> None:
    path = metrics_file(stage, item)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def _write_csv(name: str, columns: list[str], rows: list[dict[str, object]]) -> None:
    path = Path("plots") / name
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


LAYERS_OF_HYBRID = 17  # ResNet-18's with numbers 2 to 17, and the first


def hybrid_params(params: Params, seeds: Sequence[int], versions: Sequence[str] = ()) -> Params:
    """Parameters with a ResNet-18 of 8 channels in its first stage."""
    network = HybridNetworkParams(
        architecture="hybrid-resnet-18", stem="small", width=8, binary_last=True
    )
    section = params.hybrid.model_copy(
        update={"seeds": seeds, "versions": list(versions), "network": network}
    )
    return params.model_copy(update={"hybrid": section})


def write_hybrid(top1: Mapping[str, Sequence[float]], chosen: Mapping[int, list[int]]) -> None:
    """Trainings by version, a value per seed 0, 1, ...; the chosen layers by seed."""
    stages = {"fbin": "hybrid_fbin", "hybrid": "hybrid_train"}
    for version, values in top1.items():
        for seed, value in enumerate(values):
            item = str(seed) if version in stages else f"{version}-{seed}"
            write_trained(stages.get(version, "hybrid_compared"), item, value)
    for seed, layers in chosen.items():
        _write_partition(seed, layers)


def _write_partition(seed: int, chosen: list[int]) -> None:
    share = len(chosen) / LAYERS_OF_HYBRID
    found = {"chosen": chosen, "layers": LAYERS_OF_HYBRID, "clusters": 2, "share": share}
    _write_json("hybrid_partition", seed, found)
    rows: list[dict[str, object]] = []
    for layer in range(2, LAYERS_OF_HYBRID + 1):
        real = layer in chosen
        numbers = {"error": 0.25, "power": 1.0, "macs": 73728 if real else 147456}
        metric = {"metric": 2.25 if real else 1.25, "cluster": int(real), "real_input": int(real)}
        rows.append({"layer": layer, "name": f"conv{layer}", **numbers, **metric})
    _write_csv(f"hybrid_partition-{seed}.csv", list(hybrid.COLUMNS), rows)


def ftbnn_params(params: Params, seeds: Sequence[int], compared: Sequence[str]) -> Params:
    section = params.ftbnn.model_copy(update={"seeds": seeds, "compared": compared})
    return params.model_copy(update={"ftbnn": section})


def write_ftbnn(top1: Mapping[str, Sequence[float]]) -> None:
    """By variant, a value per seed 0, 1, ...; real weights are 1 point better."""
    for variant, values in top1.items():
        for seed, value in enumerate(values):
            write_trained("ftbnn_real", f"{variant}-{seed}", value + 1)
            write_trained("ftbnn_binary", f"{variant}-{seed}", value)


def write_network(name: str, top1: float, **times: float) -> None:
    """A packed network of another method.

    Args:
        times: ms by candidate, "packed" among them.
    """
    write_pack(name, 20_000, 300_000)
    write_agreement(name, top1)
    speedups = {f"speedup_{key}": ms / times["packed"] for key, ms in times.items()}
    about = {"threads": 1.0, "batch_size": 1.0}
    _write_json(
        "benchmark", name, {f"{key}_ms": ms for key, ms in times.items()} | speedups | about
    )
