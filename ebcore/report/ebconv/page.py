"""summary + figures -> EBConv's page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from ebcore.methods.ebconv import STEPS
from ebcore.report.curves import training_curves
from ebcore.report.ebconv import figures
from ebcore.report.ebconv.embedding import sample, tsne
from ebcore.report.ebconv.inputs import Branch
from ebcore.report.ebconv.summary import usage_shares
from ebcore.report.page import render_page
from ebcore.workspace import SHARED_STAGES


def render_ebconv(summary: dict[str, Any], branches: Sequence[Branch], *, tsne_samples: int) -> str:
    """The page's HTML."""
    stages = list(summary["training"])
    return render_page(
        "ebconv/page.html",
        current="ebconv",
        summary=summary,
        steps={stage: STEPS[stage] for stage in stages},
        best=max(summary["branches"], key=lambda branch: branch["evaluate"]["packed_top1"]),
        accuracy=figures.accuracy_by_experts(branches, _titles(stages)),
        latency=figures.latencies(branches, summary["candidates"]),
        curves=_curves(branches, stages),
        usage=[_usage(branch) for branch in branches],
        features=[_features(branch, summary["seed"], tsne_samples) for branch in branches],
        libraries=[f"{name} {version(name)}" for name in ("matplotlib", "scikit-learn", "jinja2")],
    )


def _titles(stages: Iterable[str]) -> dict[str, str]:
    return {stage: f"{STEPS[stage].number}. {STEPS[stage].title}" for stage in stages}


def _curves(branches: Sequence[Branch], stages: Iterable[str]) -> list[dict[str, str]]:
    result = []
    for stage in stages:
        shared = stage in SHARED_STAGES
        rows = {
            "" if shared else f"N = {branch.experts}": branch.curves[stage]
            for branch in (branches[:1] if shared else branches)
        }
        title = f"Step {STEPS[stage].number}: {STEPS[stage].title}"
        result.append(training_curves(rows, title, stage))
    return result


def _usage(branch: Branch) -> dict[str, Any]:
    shares, evaluation = usage_shares(branch), branch.evaluation
    if not evaluation.layers:
        return {"experts": branch.experts, "layers": None, "classes": None}
    names = short_names(evaluation.layers)
    name = f"usage-{branch.experts}"
    return {
        "experts": branch.experts,
        "layers": figures.usage_by_layer(shares[:, -1], names, f"{name}-layers"),
        "classes": figures.usage_by_class(
            shares[:, :-1], names, evaluation.classes, f"{name}-classes"
        ),
    }


def _features(branch: Branch, seed: int, wanted: int) -> dict[str, Any]:
    evaluation = branch.evaluation
    chosen = sample(len(evaluation.labels), wanted)
    points = tsne(evaluation.features[chosen], seed)
    plots = []
    if points is not None:
        labels, experts = evaluation.labels.numpy()[chosen], evaluation.experts.numpy()[chosen]
        if evaluation.layers:
            names = [f"expert {e}" for e in range(branch.experts)]
            title = f"by expert of {short_names(evaluation.layers)[-1]}"
            plots.append(_scatter(points, experts[:, -1], names, title, branch.experts))
        plots.append(_scatter(points, labels, evaluation.classes, "by class", branch.experts))
    return {"experts": branch.experts, "samples": len(chosen), "plots": plots}


def _scatter(
    points: np.ndarray[Any, np.dtype[Any]],
    groups: np.ndarray[Any, np.dtype[Any]],
    labels: list[str],
    title: str,
    experts: int,
) -> str:
    name = f"features-{experts}-{title}"
    return figures.scatter(points, groups, labels, f"N = {experts}, {title}", name)


def short_names(layers: Sequence[str]) -> list[str]:
    """ "stages.0.1.2.conv" -> "0.1.2": stage, block, convolution in the block."""
    return [name.removeprefix("stages.").removesuffix(".conv") for name in layers]
