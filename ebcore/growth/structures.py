"""What the names in growth.structures stand for."""

from __future__ import annotations

import warnings

import torch

from ebcore.errors import InputError
from ebcore.measure.ops import OpCount, count_ops
from ebcore.models import EBResNet, resnet, set_binarization
from ebcore.params import GrowthParams, ModelParams, Params, StructureParams


def find_structure(params: Params, name: str) -> StructureParams:
    """The entry of this name.

    Raises:
        InputError: there is none.
    """
    structures = params.growth.structures
    if name not in structures:
        known = ", ".join(structures) or "none"
        raise InputError(f"growth.structures.{name}", "is not in params.yaml", f"It has: {known}.")
    return structures[name]


def model_of(params: Params, structure: StructureParams) -> ModelParams:
    """The model section with what the structure overrides."""
    return params.model.model_copy(update=structure.overrides)


def variant(params: Params, structure: StructureParams) -> Params:
    """Parameters under which the pipeline's own training trains this structure.

    No teacher: the paper's figures are of networks that learned from labels alone.
    """
    update = {
        stage: params.train(stage).model_copy(update={"distill": None})
        for stage in ("train_one", "train_experts")
    }
    return params.model_copy(
        update={
            **update,
            "model": model_of(params, structure),
            "growth": GrowthParams(structures={}),  # other entries are no part of this one
        }
    )


def check_structures(params: Params) -> None:
    """Builds every network without memory for its weights, so that none fails after others trained.

    Raises:
        InputError: a structure cannot be built; the text names its parameter.
    """
    for name, structure in params.growth.structures.items():
        if structure.experts == 1 and {"gate", "temperature"} & structure.overrides.keys():
            warnings.warn(
                f"growth.structures.{name}: gate and temperature are ignored without experts",
                stacklevel=2,
            )
        try:
            _network(params, structure, num_classes=2)
        except InputError as error:
            raise InputError(
                f"params.yaml: growth.structures.{name}",
                f"{error.subject} {error.reason}",
                error.remedy,
            ) from error


def operations(params: Params, structure: StructureParams, num_classes: int) -> OpCount:
    """What one image costs when the weights are binary, too, as in the paper's figures."""
    side = params.data.image_size
    return count_ops(_network(params, structure, num_classes), (3, side, side))


def _network(params: Params, structure: StructureParams, num_classes: int) -> EBResNet:
    options = model_of(params, structure).model_dump()
    with torch.device("meta"):
        model = resnet(**options, experts=structure.experts, num_classes=num_classes)
    set_binarization(model, inputs=True, weights=True)
    return model
