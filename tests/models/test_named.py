"""Networks known by name."""

import json

import pytest
import torch
from torch import nn

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d
from ebcore.models import resnet, set_binarization
from ebcore.models.named import NETWORKS

SMALL = {"width": 8, "stem_width": 8, "num_classes": 5}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_learns(name: str) -> None:
    torch.manual_seed(0)
    model = resnet(name, **SMALL)  # type: ignore[arg-type]
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    for parameter, value in model.named_parameters():
        assert value.grad is not None and value.grad.isfinite().all(), parameter
    # the kernels at least; a slope's or bias's gradient may vanish by chance
    kernels = [m.weight.grad for m in model.modules() if isinstance(m, BinaryConv2d)]
    assert all(grad is not None and grad.any() for grad in kernels)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("stem", ["basic", "small"])
def test_the_first_sign_sees_both_signs(name: str, stem: str) -> None:
    """Behind a ReLU alone every sign would be +1 and the first convolution blind."""
    torch.manual_seed(0)
    model = resnet(name, stem=stem, **SMALL)  # type: ignore[arg-type]
    seen: list[torch.Tensor] = []
    first = next(m for m in model.modules() if isinstance(m, BinaryConv2d))
    first.register_forward_pre_hook(lambda _, args: seen.append(args[0] >= 0))
    model(torch.randn(2, 3, 32, 32))
    assert seen[0].any() and not seen[0].all()


def test_a_name_is_options() -> None:
    config = resnet("bi-real-18").config
    assert {key: config[key] for key in ("spec", "experts", "stem", "shortcut", "layout")} == {
        "spec": "bi-real-18",
        "experts": 1,
        "stem": "basic",
        "shortcut": "plain",
        "layout": "bi-real",
    }
    assert config["pointwise"] is False and config["se"] is False
    assert resnet("real-to-binary-18").config["se"] is True


def test_the_strong_baseline_is_the_familys_first_member() -> None:
    options = {"experts": 1, "stem": "basic", "shortcut": "plain", "pointwise": False}
    torch.manual_seed(0)
    named = resnet("strong-baseline-18", **SMALL)  # type: ignore[arg-type]
    torch.manual_seed(0)
    spelled = resnet("2222-1-1:1:1:1", **options, **SMALL)  # type: ignore[arg-type]
    assert all(
        torch.equal(a, b)
        for a, b in zip(named.state_dict().values(), spelled.state_dict().values(), strict=True)
    )


def test_an_option_given_wins_over_the_names() -> None:
    model = resnet("bi-real-18", stem="small", shortcut="binary", **SMALL)  # type: ignore[arg-type]
    assert model.config["stem"] == "small" and model.config["shortcut"] == "binary"
    model = resnet("strong-baseline-18", experts=2, **SMALL)  # type: ignore[arg-type]
    assert model.config["experts"] == 2


@pytest.mark.parametrize("name", NETWORKS)
def test_a_configuration_builds_the_same_network_again(name: str) -> None:
    model = resnet(name, **SMALL)  # type: ignore[arg-type]
    again = resnet(**json.loads(json.dumps(model.config)))
    again.load_state_dict(model.state_dict())
    assert again.config == model.config
    assert str(again) == str(model)


def test_a_configuration_from_before_there_were_layouts() -> None:
    config = resnet("1111-1-1:1:1:1", **SMALL).config  # type: ignore[arg-type]
    model = resnet(**{key: value for key, value in config.items() if key != "layout"})
    assert model.config == config


def test_the_real_layout_is_resnet_18() -> None:
    model = resnet(
        "2222-1-1:1:1:1",
        layout="real",
        experts=1,
        stem="basic",
        shortcut="plain",
        pointwise=False,
    )
    set_binarization(model, inputs=False, weights=False)
    # torchvision's resnet18: 11,689,512 parameters
    assert sum(p.numel() for p in model.parameters()) == 11_689_512
    block = model.stages[1][0].eval()
    # no values but those of ordinary layers
    c = [m for m in block.modules() if isinstance(m, BinaryConv2d)]
    n = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d)]
    x = torch.randn(1, 64, 8, 8)
    y = n[0](nn.functional.conv2d(x, c[0].weight[0], stride=2, padding=1)).relu()
    y = n[1](nn.functional.conv2d(y, c[1].weight[0], padding=1)) + block[0].shortcut(x)
    torch.testing.assert_close(block(x), y.relu())


@pytest.mark.parametrize("name", ["xnor-18", "bi-real-18", "double-skip-18"])
def test_a_scale_from_the_weights_takes_one_expert(name: str) -> None:
    with pytest.raises(InputError, match="experts is 4"):
        resnet(name, experts=4)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"bnn-18, xnor-18, .*real-to-binary-18"):
        resnet("resnet-18")
    with pytest.raises(InputError, match=r"layout 'yolo'.*expert, bi-real, xnor, bnn, real"):
        resnet(layout="yolo")
