"""summary + figures -> one HTML page that loads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from ebcore.methods.ebconv import STEPS
from ebcore.report import figures
from ebcore.report.embedding import sample, tsne
from ebcore.report.inputs import Branch
from ebcore.report.summary import usage_shares
from ebcore.workspace import SHARED_STAGES

_UNITS = {
    "B": ((1e6, "MB"), (1e3, "kB")),
    "": ((1e9, " G"), (1e6, " M"), (1e3, " k")),
}


def render(summary: dict[str, Any], branches: Sequence[Branch], *, tsne_samples: int) -> str:
    """The page's HTML."""
    stages = list(summary["training"])
    environment = Environment(
        loader=PackageLoader("ebcore.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        fixed=fixed, size=lambda value: scaled(value, "B"), scaled=lambda value: scaled(value, "")
    )
    return environment.get_template("template.html").render(
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


def fixed(value: float | None, digits: int = 1) -> str:
    """A number with fixed decimals and thousands; a dash for what was not measured."""
    return "\N{EN DASH}" if value is None else f"{value:,.{digits}f}"


def scaled(value: float | None, unit: str) -> str:
    """12345 -> "12.3 kB" or "12.3 k"; a dash for what was not measured."""
    if value is None:
        return "\N{EN DASH}"
    for factor, prefix in _UNITS[unit]:
        if value >= factor:
            return f"{value / factor:.3g} {prefix.strip()}"
    return f"{value:.0f} {unit}".strip()


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
        result += [
            {
                "accuracy": figures.curve(
                    rows, {"val_top1": "-"}, title, "validation top-1, %", f"{stage}-top1"
                ),
                "loss": figures.curve(
                    rows, {"train_loss": "-", "val_loss": ":"}, title, "loss", f"{stage}-loss"
                ),
            }
        ]
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
