"""The numbers of FTBNN's page as one mapping."""

from __future__ import annotations

from typing import Any

from ebcore.methods.ftbnn import operations, variant_model
from ebcore.params import Params
from ebcore.report.files import Trained
from ebcore.report.ftbnn.inputs import Results
from ebcore.report.spread import compare, spread

BASELINE, RELU = "baseline", "relu"  # variants of the claim: the recipe's own, and with ReLU


def summarize_ftbnn(params: Params, results: Results, classes: int) -> dict[str, Any]:
    """Accuracies over seeds, the claim and the costs, JSON-able.

    The claim is None where the two variants it is about are not both compared, or differ by more.
    """
    section, binary = params.ftbnn, results["ftbnn_binary"]
    runs = [run for stage in results.values() for seeds in stage.values() for run in seeds.values()]
    claimed = {BASELINE, RELU} <= binary.keys() and _differ_by_relu(params)
    return {
        "seeds": section.seeds,
        "network": section.model.model_dump(),
        "training": {
            "ftbnn_real": section.train_real.model_dump(),
            "ftbnn_binary": section.train_binary.model_dump(),
        },
        "trainings": len(runs),
        "seconds": sum(run.metrics["seconds"] for run in runs),
        "untrained_variants": [name for name in section.variants if name not in section.compared],
        "variants": {
            variant: {
                "series": section.variants[variant].series,
                "overrides": section.variants[variant].overrides,
                "top1": spread(_top1(by_seed)),
                "top1_real_weights": spread(_top1(results["ftbnn_real"][variant])),
                **_costs(params, variant, classes),
            }
            for variant, by_seed in binary.items()
        },
        "claim": compare(_top1(binary[BASELINE]), _top1(binary[RELU])) if claimed else None,
    }


def _differ_by_relu(params: Params) -> bool:
    """Whether the variant with ReLU is the baseline but for its activation."""
    baseline = variant_model(params, BASELINE)
    return variant_model(params, RELU) == baseline.model_copy(update={"activation": "relu"})


def _top1(by_seed: dict[int, Trained]) -> list[float]:
    return [trained.metrics["top1"] for trained in by_seed.values()]


def _costs(params: Params, variant: str, classes: int) -> dict[str, int]:
    count = operations(params, variant, classes)
    return {"bops": count.bops, "flops": count.flops, "bits": count.bits}
