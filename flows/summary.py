"""The results of all packed networks as small tables for a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.table import Table

from ebcore.params import Params
from ebcore.train.training import method_name
from ebcore.workspace import metrics_file, trained_metrics

_PACKED = ("packed", "kB", "smaller", "faster")


def results_tables(params: Params) -> list[Table]:
    """EBConv's expert counts; and the other methods' networks, where params.yaml lists some."""
    tables = [_experts_table(params)]
    if params.networks:
        tables.append(_networks_table(params))
    return tables


def _experts_table(params: Params) -> Table:
    """One row per expert count: validation top-1 after each step, and the packed file."""
    steps = ["teacher"] if params.teacher else []
    steps += ["step 1", "step 3", "step 4"]
    title = "Validation top-1 in percent; the packed file against fp32"
    table = _table(title, ["experts"], [*steps, *_PACKED])
    for experts in params.experts:
        accuracies = [_metrics(stage, experts)["top1"] for stage in params.training_stages]
        table.add_row(str(experts), *(f"{top1:.2f}" for top1 in accuracies), *_packed(experts))
    return table


def _networks_table(params: Params) -> Table:
    """One row per network of another method: trained and packed."""
    table = _table("The other methods' networks", ["method", "network"], ["trained", *_PACKED])
    for network in params.networks:
        trained = json.loads(trained_metrics(network).read_text())
        method = method_name(network)
        table.add_row(method, network, f"{trained['top1']:.2f}", *_packed(network))
    return table


def _table(title: str, names: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(*names, title=title)
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


def _packed(network: int | str) -> list[str]:
    """The cells of `_PACKED`."""
    pack, benchmark = _metrics("pack", network), _metrics("benchmark", network)
    return [
        f"{_metrics('evaluate', network)['packed_top1']:.2f}",
        f"{pack['file_bytes'] / 1000:.1f}",
        f"{pack['ratio']:.1f} x",
        f"{benchmark['speedup_torch_fp32']:.1f} x",
    ]


def _metrics(stage: str, item: int | str) -> dict[str, float]:
    content: dict[str, float] = json.loads(metrics_file(stage, item).read_text())
    return content
