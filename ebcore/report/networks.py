"""Every network that was packed, of all methods: the rows of the table that compares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ebcore.measure.peers import PACKED, title
from ebcore.methods.hybrid import STEPS, VERSION_TITLES
from ebcore.params import Params
from ebcore.report.ebconv.inputs import Branch
from ebcore.report.files import read, read_json
from ebcore.train.training import method_name
from ebcore.workspace import metrics_file

_KINDS = ("pack", "evaluate", "benchmark")
_FP32 = "_fp32_ms"


def deployed_networks(params: Params, branches: Sequence[Branch]) -> list[dict[str, Any]]:
    """A row per expert count and per network of `params.networks`, JSON-able.

    Each has network (as `ebcore.workspace.network_checkpoint` names it), method, variant, about,
    seed, the metrics of pack, evaluate and benchmark, fp32 (its fastest real-valued peer) and
    operations (a binary one counts as 1/64).

    Raises:
        InputError: a listed network's file is missing or damaged.
    """
    rows = []
    for branch in branches:
        count = branch.experts
        about = "one expert" if count == 1 else f"{count} experts"
        named = {"method": "ebconv", "variant": f"N = {count}", "about": about, "seed": params.seed}
        rows.append(_row(count, named, {kind: branch.metrics[kind] for kind in _KINDS}))
    for network in params.networks:
        found = {
            kind: read(metrics_file(kind, network), f"{kind}_network@{network}", read_json)
            for kind in _KINDS
        }
        rows.append(_row(network, _named(params, network), found))
    return rows


def variant_title(params: Params, variant: str) -> str:
    """What a variant of FTBNN changes."""
    overrides = params.ftbnn.variants[variant].overrides.items()
    return ", ".join(f"{key}: {value}" for key, value in overrides) or "the recipe's own"


def _row(
    network: int | str, named: dict[str, Any], found: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    pack = found["pack"]
    return {
        "network": network,
        **named,
        **found,
        "operations": pack["flops"] + pack["bops"] / 64,
        "fp32": _fastest_fp32(found["benchmark"]),
    }


def _named(params: Params, network: str) -> dict[str, Any]:
    """ "hybrid_train-0" -> method, variant, about, seed."""
    stage, _, item = network.partition("-")
    variant, _, seed = item.rpartition("-")
    method = method_name(stage)
    if method == "hybrid":
        variant = STEPS[stage].version or variant
        about = VERSION_TITLES[variant]
    else:
        about = variant_title(params, variant)
    return {"method": method, "variant": variant, "about": about, "seed": int(seed)}


def _fastest_fp32(benchmark: Mapping[str, float]) -> dict[str, Any] | None:
    """The quickest of those that ran the same structure in fp32; None where none did."""
    times = {
        key.removesuffix("_ms"): ms
        for key, ms in benchmark.items()
        if key.endswith(_FP32) and not key.startswith(PACKED)
    }
    if not times:
        return None
    name = min(times, key=lambda candidate: times[candidate])
    return {"title": title(name), "ms": times[name], "speedup": benchmark[f"speedup_{name}"]}
