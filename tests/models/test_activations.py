"""Which activation stands where in a block."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d, ConvUnit
from ebcore.models import resnet
from ebcore.models.layout import ACTIVATIONS, LAYOUTS, with_activation

SMALL = {"width": 4, "stem_width": 4, "num_classes": 2, "stem": "small", "experts": 1}


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_a_layout_has_stays_without_a_choice(name: str) -> None:
    assert with_activation(LAYOUTS[name], None, None) is LAYOUTS[name]


@pytest.mark.parametrize(
    ("layout", "activation", "position", "unit", "joint"),
    [
        ("expert", None, "after", ("norm", "conv"), ("prelu",)),
        ("expert", "none", None, ("norm", "conv"), ()),
        ("expert", "shifted_prelu", None, ("norm", "conv", "shifted_prelu"), ()),
        ("expert", "relu", "both", ("norm", "conv", "relu"), ("relu",)),
        ("bi-real", "two_slope_prelu", None, ("conv", "norm", "two_slope_prelu"), ()),
        ("bi-real", "prelu", "after", ("conv", "norm"), ("prelu",)),
        ("xnor", "prelu", None, ("norm", "conv"), ("prelu",)),
        ("xnor", None, "before", ("norm", "conv", "relu"), ()),
        ("bnn", "prelu", None, ("conv",), ("norm", "prelu")),
        ("bnn", None, "both", ("conv", "hardtanh"), ("norm", "hardtanh")),
    ],
)
def test_the_order_of_layers(
    layout: str,
    activation: str | None,
    position: str | None,
    unit: tuple[str, ...],
    joint: tuple[str, ...],
) -> None:
    changed = with_activation(LAYOUTS[layout], activation, position)
    assert (changed.unit, changed.joint) == (unit, joint)
    assert (changed.scale, changed.stem) == (LAYOUTS[layout].scale, LAYOUTS[layout].stem)


def kinds(model: nn.Module) -> list[str]:
    """Convolutions, activations and additions of the first block, in the order they run."""
    block, found = model.stages[0][0], []  # type: ignore[index, union-attr]
    for module in block.modules():
        if type(module) in (BinaryConv2d, ConvUnit) or "ReLU" in type(module).__name__:
            name = "Add" if isinstance(module, ConvUnit) else type(module).__name__
            module.register_forward_hook(lambda *_, name=name: found.append(name))
    block(torch.randn(1, 4, 6, 6))
    return found


@pytest.mark.parametrize(
    ("position", "order"),
    [
        ("before", ["BinaryConv2d", "TwoSlopePReLU", "Add"]),
        ("after", ["BinaryConv2d", "Add", "TwoSlopePReLU"]),
        ("both", ["BinaryConv2d", "TwoSlopePReLU", "Add", "TwoSlopePReLU"]),
    ],
)
def test_before_and_after_the_addition(position: str, order: list[str]) -> None:
    model = resnet(
        "1111-1-1:1:1:1",
        layout="bi-real",
        pointwise=False,
        activation="two_slope_prelu",
        activation_position=position,
        **SMALL,  # type: ignore[arg-type]
    )
    assert kinds(model) == order * 2


def test_the_defaults_names_are_those_of_old_checkpoints() -> None:
    old = resnet("1111-1-1:1:1:1", **SMALL)  # type: ignore[arg-type]
    units = {name for name in old.state_dict() if name.startswith("stages.0.0.1.")}
    assert units == {
        *(f"stages.0.0.1.norm.{n}" for n in ("weight", "bias", "running_mean", "running_var")),
        "stages.0.0.1.norm.num_batches_tracked",
        "stages.0.0.1.conv.weight",
        "stages.0.0.1.conv.alpha",
        "stages.0.0.1.activation.weight",
    }
    # A config of before `activation` was a parameter.
    config = {k: v for k, v in old.config.items() if not k.startswith("activation")}
    resnet(**config).load_state_dict(old.state_dict())
    named = resnet(**config, activation="prelu", activation_position="before")
    named.load_state_dict(old.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(old.eval()(x), named.eval()(x))


@pytest.mark.parametrize("position", ["after", "both"])
@pytest.mark.parametrize("layout", ["bi-real", "bnn"])
def test_a_relu_whose_signs_would_all_be_one_is_refused(layout: str, position: str) -> None:
    with pytest.raises(InputError, match=f"'relu' {position} the addition: leaves nothing neg"):
        with_activation(LAYOUTS[layout], "relu", position)


def test_a_place_for_no_activation_is_refused() -> None:
    with pytest.raises(InputError, match="activation_position 'after': has no activation"):
        resnet("bi-real-18", activation_position="after")
    with pytest.raises(InputError, match="activation_position 'both': has no activation"):
        resnet(activation="none", activation_position="both")


def test_unknown_names() -> None:
    with pytest.raises(InputError, match=f"activation 'gelu'.*{', '.join(ACTIVATIONS)}"):
        resnet(activation="gelu")
    with pytest.raises(InputError, match=r"activation_position 'inside'.*before, after, both"):
        resnet(activation_position="inside")
