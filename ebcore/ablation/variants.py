"""The variants of params.yaml, checked and taken one at a time."""

from __future__ import annotations

from ebcore.errors import InputError
from ebcore.methods.ftbnn import operations, variant_model
from ebcore.params import Params


def check_variants(params: Params) -> None:
    """Builds every network without memory for its weights, so that none fails after others trained.

    Raises:
        InputError: no variants or no seeds, or a variant cannot be built; the text names its
            parameter.
    """
    if not params.ftbnn.variants:
        raise InputError(
            "params.yaml: ftbnn.variants", "is empty", "params/digits.yaml shows entries."
        )
    if not params.ftbnn.seeds:
        raise InputError("params.yaml: ftbnn.seeds", "is empty", "Set it to [0, 1, 2].")
    for name in params.ftbnn.variants:
        try:
            operations(params, name, num_classes=2)
        except InputError as error:
            raise InputError(
                f"params.yaml: ftbnn.variants.{name}",
                f"{error.subject} {error.reason}",
                error.remedy,
            ) from error


def alone(params: Params, variant: str, seed: int) -> Params:
    """Parameters of one training: no other variant or seed is part of them.

    Raises:
        InputError: params.yaml has no such variant.
    """
    section = params.ftbnn.model_copy(
        update={
            "seeds": [seed],
            "compared": [],
            "model": variant_model(params, variant),
            "variants": {variant: params.ftbnn.variants[variant]},
        }
    )
    return params.model_copy(update={"seed": seed, "ftbnn": section, "networks": []})
