"""The ablation's results as rows: a variant, a seed, what it costs, what it reaches."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ebcore.ablation.files import point_file
from ebcore.ablation.variants import check_variants
from ebcore.errors import InputError
from ebcore.methods.ftbnn import operations
from ebcore.params import Params
from ebcore.study.options import options_text


@dataclass(frozen=True)
class Run:
    """One variant with one seed; the columns of ablation/ablation.csv.

    Attributes:
        options: what it overrides of ftbnn.model, "key=value key=value".
        top1: of the binary network, validation images, percent.
        top1_real_weights: after the first step, inputs binary.
        bops, flops: operations for one image (see `ebcore.measure.ops`).
        bits: memory of the parameters.
        epochs, seconds: of training, both steps.
        images: of the validation set.
    """

    variant: str
    series: str
    options: str
    seed: int
    top1: float
    top1_real_weights: float
    bops: int
    flops: int
    bits: int
    epochs: int
    seconds: float
    images: int


def read_runs(params: Params) -> list[Run]:
    """Those of params.yaml, in its order; other files and seeds are passed over.

    Raises:
        InputError: no variants or seeds, or a result is missing or damaged.
    """
    check_variants(params)
    return [run for variant in params.ftbnn.variants for run in _runs(params, variant)]


def _runs(params: Params, variant: str) -> list[Run]:
    path, entry = point_file(variant), params.ftbnn.variants[variant]
    remedy = f"Run `dvc repro ablation/dvc.yaml:ablation@{variant}`."
    try:
        point = json.loads(path.read_text(encoding="utf-8"))
        results = {result["seed"]: result for result in point["runs"]}
        count = operations(params, variant, point["classes"])
        return [
            Run(
                variant=variant,
                series=entry.series,
                options=options_text(entry.overrides),
                seed=seed,
                top1=results[seed]["top1"],
                top1_real_weights=results[seed]["top1_real_weights"],
                bops=count.bops,
                flops=count.flops,
                bits=count.bits,
                epochs=int(results[seed]["epochs"]),
                seconds=results[seed]["seconds"],
                images=int(point["images"]),
            )
            for seed in params.ftbnn.seeds
        ]
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", remedy) from error
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(path, f"is no result of the ablation ({error!r})", remedy) from error
