"""The report's numbers as one mapping: report/summary.json, and the source of its tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ebcore.measure.rows import MACHINE_COLUMNS, TIMES
from ebcore.measure.usage import ALL_CLASSES
from ebcore.params import Params
from ebcore.report.inputs import Branch, Row


def summarize(params: Params, branches: Sequence[Branch]) -> dict[str, Any]:
    """Numbers and provenance of all expert counts, JSON-able; equal inputs, equal result."""
    evaluation = branches[0].evaluation
    return {
        "profile": params.profile,
        "seed": params.seed,
        "data": {
            "name": params.data.name,
            "image_size": params.data.image_size,
            "classes": len(evaluation.classes),
            "validation_images": len(evaluation.labels),
            "sha256": evaluation.data_sha256,
        },
        "model": params.model.model_dump(),
        "training": {stage: params.train(stage).model_dump() for stage in params.training_stages},
        "workers": params.workers,
        "machine": {key: branches[0].benchmark[0].get(key, "") for key in MACHINE_COLUMNS},
        "branches": [_branch(branch) for branch in branches],
    }


def _branch(branch: Branch) -> dict[str, Any]:
    shares = usage_shares(branch)
    overall = shares[:, -1] if len(shares) else shares
    return {
        "experts": branch.experts,
        **branch.metrics,
        # int8 may be missing on a machine.
        "benchmark": dict.fromkeys((*TIMES, "speedup_fp32", "speedup_int8"))
        | branch.metrics["benchmark"],
        "listed": branch.evaluation.listed,
        "usage": {
            layer: [round(float(share), 6) for share in row]
            for layer, row in zip(branch.evaluation.layers, overall, strict=True)
        },
        "benchmark_cases": [_case(row) for row in branch.benchmark],
    }


def usage_shares(branch: Branch) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Shares [L, K + 1, N] from the usage table; index K of the classes is all of them."""
    evaluation = branch.evaluation
    layers = {name: index for index, name in enumerate(evaluation.layers)}
    shares = np.zeros((len(layers), len(evaluation.classes) + 1, branch.experts))
    for row in branch.usage:
        index = -1 if row["class"] == ALL_CLASSES else int(row["class_index"])
        shares[layers[row["layer"]], index, int(row["expert"])] = float(row["share"])
    return shares


def _case(row: Row) -> dict[str, Any]:
    return {
        key: _number(value)
        for key, value in row.items()
        if key not in MACHINE_COLUMNS and key != "experts"
    }


def _number(text: str) -> float | str | None:
    """A CSV cell as what it was: a number, text, or None where it is empty."""
    if text == "":
        return None
    try:
        return float(text)
    except ValueError:
        return text
