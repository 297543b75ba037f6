"""FTBNN: Rethinking Non-linearity for 1-bit CNNs and Going Beyond (2020), as far as it is known.

Only the abstract could be had (docs/ftbnn.md): binary convolutions turn linear, so a network needs
the right non-linear modules (claim 2); its remaining real operations can go (3), and it may grow
wider with groups (4). The recipe and its variants are ours. A variant is the network of params.yaml
(ftbnn.model, the baseline) with some options changed (ftbnn.variants), trained as EBConv's policy
trains one expert: ftbnn_real (its step 1: real weights, binary inputs), then ftbnn_binary (step 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ebcore.errors import InputError
from ebcore.measure.ops import OpCount, count_ops
from ebcore.methods.ebconv import continue_binary
from ebcore.models import EBResNet, resnet, set_binarization
from ebcore.models.checkpoint import load_resnet
from ebcore.params import ModelParams, Params
from ebcore.train.training import Training, require_step
from ebcore.workspace import checkpoint_file


@dataclass(frozen=True)
class Step:
    """One training step of the recipe.

    Attributes:
        stage: its name in dvc.yaml.
        title: for logs and reports.
        start: the stage whose checkpoint it continues; None starts from random weights.
        binary_weights: whether weights are binary, too; inputs always are.
    """

    stage: str
    title: str
    start: str | None = None
    binary_weights: bool = False


STEPS = {
    step.stage: step
    for step in (
        Step("ftbnn_real", "real weights, binary inputs"),
        Step("ftbnn_binary", "binary weights and inputs", "ftbnn_real", binary_weights=True),
    )
}


def training(stage: str, item: str, params: Params) -> Training:
    """A step for the item "VARIANT-SEED".

    Raises:
        InputError: no step of the recipe, or a variant or seed that params.yaml does not have.
    """
    require_step(stage, STEPS)
    variant, _, seed = item.rpartition("-")
    if seed not in map(str, params.ftbnn.seeds):
        raise InputError(
            f"{stage}@{item}", "is not in params.yaml", f"ftbnn.seeds: {params.ftbnn.seeds}."
        )
    start = STEPS[stage].start
    return Training(
        stage=stage,
        item=item,
        params=params.model_copy(update={"seed": int(seed)}),
        train=params.ftbnn.train_binary if start else params.ftbnn.train_real,
        content={"model": variant_model(params, variant).model_dump()},
        start=checkpoint_file(start, item) if start else None,
    )


def start_model(training: Training, num_classes: int) -> EBResNet:
    """The network a step begins with, its binarization set.

    Raises:
        InputError: a structure that cannot be built, or a bad checkpoint.
    """
    if training.start is None:
        torch.manual_seed(training.params.seed)
        model = resnet(**training.content["model"], experts=1, num_classes=num_classes)
    else:
        model = load_resnet(training.start)
    continue_binary(model, inputs=True, weights=STEPS[training.stage].binary_weights)
    return model


def variant_model(params: Params, name: str) -> ModelParams:
    """The network of a variant.

    Raises:
        InputError: params.yaml has no such variant, or it cannot be.
    """
    variants = params.ftbnn.variants
    if name not in variants:
        raise InputError(
            f"ftbnn.variants.{name}", "is not in params.yaml", f"It has: {', '.join(variants)}."
        )
    return params.ftbnn.model.model_copy(update=variants[name].overrides)


def operations(params: Params, name: str, num_classes: int) -> OpCount:
    """What one image costs a variant's binary network.

    Raises:
        InputError: as `variant_model`, or options that do not go together.
    """
    side = params.data.image_size
    with torch.device("meta"):
        options = variant_model(params, name).model_dump()
        model = resnet(**options, experts=1, num_classes=num_classes)
    set_binarization(model, inputs=True, weights=True)
    return count_ops(model, (3, side, side))
