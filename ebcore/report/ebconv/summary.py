"""The numbers of EBConv's page as one mapping, and the source of its tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ebcore.measure.peers import LAYERS_ONLY, title
from ebcore.measure.rows import MACHINE_COLUMNS, NETWORK
from ebcore.measure.usage import ALL_CLASSES
from ebcore.params import Params
from ebcore.report.ebconv.inputs import Branch


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
        "candidates": measured_candidates(branches),
        "machine": {key: branches[0].benchmark[0].get(key, "") for key in MACHINE_COLUMNS},
        "branches": [_branch(branch) for branch in branches],
    }


def _branch(branch: Branch) -> dict[str, Any]:
    shares = usage_shares(branch)
    overall = shares[:, -1] if len(shares) else shares
    return {
        "experts": branch.experts,
        **branch.metrics,
        "listed": branch.evaluation.listed,
        "usage": {
            layer: [round(float(share), 6) for share in row]
            for layer, row in zip(branch.evaluation.layers, overall, strict=True)
        },
        "benchmark_cases": _cases(branch),
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


def measured_candidates(branches: Sequence[Branch]) -> dict[str, str]:
    """{candidate: title} of those that ran the whole network for any expert count."""
    return {
        row["candidate"]: title(row["candidate"])
        for branch in branches
        for row in branch.benchmark
        if row["kind"] == NETWORK and row["ms"]
    }


def _cases(branch: Branch) -> list[dict[str, Any]]:
    """The benchmark's cases, each with its candidates' numbers; `reasons` of those that have none.

    A candidate that runs nothing at all is left out.
    """
    cases: dict[str, dict[str, Any]] = {}
    for row in branch.benchmark:
        case = {key: row[key] for key in ("case", "kind", "layers")}
        found = cases.setdefault(row["case"], {**case, "candidates": {}, "reasons": []})
        if row["ms"]:
            keys = ("ms", "low_ms", "high_ms", "speedup", "share")
            found["candidates"][row["candidate"]] = {key: _number(row[key]) for key in keys}
        elif "not installed" not in row["note"] and row["note"] != LAYERS_ONLY:
            found["reasons"].append(f"{title(row['candidate'])}: {row['note']}")
    return list(cases.values())


def _number(text: str) -> float | str | None:
    """A CSV cell as what it was: a number, text, or None where it is empty."""
    if text == "":
        return None
    try:
        return float(text)
    except ValueError:
        return text
