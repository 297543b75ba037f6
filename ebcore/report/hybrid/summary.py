"""The numbers of the page of Hybrid Binary Networks as one mapping."""

from __future__ import annotations

from typing import Any

import torch

from ebcore.measure.hybrid_cost import hybrid_cost
from ebcore.measure.ops import count_ops
from ebcore.methods.hybrid import VERSION_TITLES, training
from ebcore.models.architectures import build
from ebcore.models.hybrid_net import HybridNet
from ebcore.params import Params
from ebcore.report.hybrid.inputs import HybridResults, address
from ebcore.report.spread import compare, spread


def summarize_hybrid(params: Params, results: HybridResults, classes: int) -> dict[str, Any]:
    """Accuracies over seeds, the claim, the chosen layers and the costs, JSON-able."""
    top1 = {
        version: [trained.metrics["top1"] for trained in by_seed.values()]
        for version, by_seed in results.trained.items()
    }
    runs = [trained for by_seed in results.trained.values() for trained in by_seed.values()]
    return {
        "seeds": params.hybrid.seeds,
        "network": params.hybrid.network.settings,
        "partition": params.hybrid.partition.model_dump(),
        "training": params.hybrid.train.model_dump(),
        "trainings": len(runs),
        "seconds": sum(run.metrics["seconds"] for run in runs),
        "versions": {
            version: {
                "title": VERSION_TITLES[version],
                "top1": spread(values),
                **_costs(params, version, classes),
            }
            for version, values in top1.items()
        },
        "claim": compare(top1["hybrid"], top1["fbin"]),
        "choices": {
            seed: {**choice.found, "layers_measured": [_layer(row) for row in choice.rows]}
            for seed, choice in results.choices.items()
        },
    }


def _layer(row: dict[str, str]) -> dict[str, Any]:
    """A row of the partition's CSV with its numbers."""
    return {
        "layer": int(row["layer"]),
        "name": row["name"],
        "error": float(row["error"]),
        "macs": int(row["macs"]),
        "metric": float(row["metric"]),
        "real_input": row["real_input"] == "1",
    }


def _costs(params: Params, version: str, classes: int) -> dict[str, Any]:
    """By seed: flops and memory_saving as the paper counts; bops, flops, bytes as this project."""
    size = (3, params.data.image_size, params.data.image_size)
    papers, ours = [], []
    for seed in params.hybrid.seeds:
        config = training(*address(version, seed), params).content["network"]
        with torch.device("meta"):
            model = build({**config, "num_classes": classes})
        assert isinstance(model, HybridNet)
        papers.append(hybrid_cost(model, size))
        ours.append(count_ops(model, size))
    return {
        "paper": {
            "flops": [cost.flops for cost in papers],
            "memory_saving": [cost.memory_saving for cost in papers],
        },
        "ours": {
            "bops": [count.bops for count in ours],
            "flops": [count.flops for count in ours],
            "bytes": [count.bits / 8 for count in ours],
        },
    }
