"""FTBNN: Rethinking Non-linearity for 1-bit CNNs and Going Beyond (2020), as far as it is known.

Only the abstract could be had (docs/ftbnn.md): binary convolutions turn linear, so a network needs
the right non-linear modules (claim 2); its remaining real operations can go (3), and it may grow
wider with groups (4). The variants below are ours. A variant is the baseline with some options of
`ebcore.models.resnet` changed, trained by steps 1 and 4 of EBConv's policy with one expert: real
weights first, then binary ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ebcore.measure.ops import OpCount, count_ops
from ebcore.models import resnet, set_binarization
from ebcore.params import GrowthParams, ModelParams, Params

STEPS = ("train_one", "train_binary")  # of `ebcore.methods.ebconv`

# A Bi-Real network that digits tell apart: 4 to 32 channels, 8 binary convolutions.
BASELINE: dict[str, Any] = {
    "spec": "1111-1-1:1:1:1",
    "layout": "bi-real",
    "stem": "small",
    "stem_width": 4,
    "width": 4,
    "shortcut": "plain",
    "pointwise": False,
}
_WIDE = {"spec": "1111-2-4:4:4:4", "stem_width": 8}  # as many binary operations


@dataclass(frozen=True)
class Variant:
    """One row of a study.

    Attributes:
        series: which of the paper's claims it belongs to.
        options: what it changes in `BASELINE`.
    """

    name: str
    series: str
    options: dict[str, Any]


def activation_variants() -> list[Variant]:
    """Claim 2: every activation before and after the addition.

    A ReLU after it would leave nothing for the next sign to tell apart.
    """
    places = [("none", None), ("relu", "before")]
    for activation in ("prelu", "two_slope_prelu", "shifted_prelu"):
        places += [(activation, "before"), (activation, "after")]
    return [
        Variant(
            f"{activation}-{position}" if position else activation,
            "activation",
            {"activation": activation, "activation_position": position},
        )
        for activation, position in places
    ]


def compression_variants(best: Variant) -> list[Variant]:
    """Claim 3: no real convolution in the shortcuts, with the best activation."""
    return [
        Variant(f"shortcut-{kind}", "compression", {**best.options, "shortcut": kind})
        for kind in ("binary", "concat")
    ]


def group_variants(best: Variant) -> list[Variant]:
    """Claim 4: twice as wide in 4 groups, and with the groups mixed in two ways."""
    mixings: dict[str, dict[str, Any]] = {
        "groups": {},
        "groups-shuffle": {"shuffle": True},
        "groups-pointwise": {"pointwise": True},
    }
    common = {**best.options, **_WIDE, "shortcut": "concat"}
    return [Variant(name, "groups", {**common, **options}) for name, options in mixings.items()]


def variant_params(params: Params, variant: Variant, seed: int) -> Params:
    """`params` for one training of a variant, by one worker and without a teacher."""
    update: dict[str, Any] = {
        stage: params.train(stage).model_copy(update={"distill": None}) for stage in STEPS
    }
    return params.model_copy(
        update={
            **update,
            "seed": seed,
            "workers": 1,
            "model": ModelParams.model_validate(BASELINE | variant.options),
            "growth": GrowthParams(structures={}),
        }
    )


def operations(params: Params, num_classes: int) -> OpCount:
    """What one image costs a variant's binary network."""
    side = params.data.image_size
    with torch.device("meta"):
        model = resnet(**params.model.model_dump(), experts=1, num_classes=num_classes)
    set_binarization(model, inputs=True, weights=True)
    return count_ops(model, (3, side, side))
