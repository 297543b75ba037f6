"""The networks of Hybrid Binary Networks in their four versions."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d
from ebcore.models.architectures import HYBRID, build
from ebcore.models.binarization import binary_convs
from tests.hybrid_networks import PICKED, small

LAYERS = {"alexnet": 6, "sketchanet": 6, "hybrid-resnet-18": 16, "squeezenet": 24}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def order(layer: nn.Module) -> list[str]:
    return [name for name, _ in layer.named_children()]


@pytest.mark.parametrize("name", HYBRID)
def test_layers_are_numbered_from_2(name: str) -> None:
    model = small(name, "fbin")
    assert list(model.numbered) == list(range(2, 2 + LAYERS[name]))
    assert set(model.numbered.values()) <= set(binary_convs(model))


@pytest.mark.parametrize("name", HYBRID)
@pytest.mark.parametrize("version", ["fprec", "wbin", "fbin", "hybrid"])
def test_state_and_order_of_layers_follow_the_version(name: str, version: str) -> None:
    model = small(name, version)
    chosen = {"fbin": (), "hybrid": PICKED[name]}.get(version, tuple(model.numbered))
    for number, conv_name in model.numbered.items():
        conv = model.get_submodule(conv_name)
        assert isinstance(conv, BinaryConv2d)
        assert conv.binary_weight == (version != "fprec")
        assert conv.binary_input == (number not in chosen)
        around = order(model.get_submodule(conv_name.removesuffix(".conv")))
        first = ["conv", "norm"] if number in chosen else ["norm", "conv"]
        assert around[:2] == first and around[2:] in ([], ["relu"])
    last = model.classifier[0]
    assert (last.binary_input, last.binary_weight) == (False, False)
    out = model.eval()(torch.randn(2, 3, 32, 32))
    assert out.shape == (2, 5) and out.isfinite().all()


def test_shortcuts_have_binary_inputs_in_fbin_alone() -> None:
    def shortcut(version: str) -> nn.Module:
        return small("hybrid-resnet-18", version).body.block3.shortcut

    assert isinstance(shortcut("fbin")[0], nn.BatchNorm2d) and shortcut("fbin")[1].binary_input
    for version in ("fprec", "wbin", "hybrid"):
        conv, norm = shortcut(version)
        assert isinstance(norm, nn.BatchNorm2d) and not conv.binary_input
        assert conv.binary_weight == (version != "fprec")


def test_a_binary_last_layer_keeps_its_real_inputs() -> None:
    last = small("sketchanet", "hybrid", binary_last=True).classifier[0]
    assert (last.binary_input, last.binary_weight) == (False, True)


@pytest.mark.parametrize("name", HYBRID)
@pytest.mark.parametrize("version", ["fprec", "wbin", "fbin", "hybrid"])
def test_every_parameter_learns(name: str, version: str) -> None:
    model = small(name, version, **({} if version == "fprec" else {"binary_last": True}))
    model(torch.randn(8, 3, 32, 32)).square().sum().backward()
    for parameter, value in model.named_parameters():
        assert value.grad is not None and value.grad.isfinite().all(), parameter
    kernels = [conv.weight.grad for conv in binary_convs(model).values()]
    assert all(grad is not None and grad.any() for grad in kernels)


def test_a_hybrid_unit_by_hand() -> None:
    """conv, BN, ReLU against PyTorch's own functions on the centred, scaled signs."""
    layer = small("sketchanet", "wbin").body.layer3.eval()
    norm = layer.norm
    nn.init.normal_(norm.running_mean), nn.init.uniform_(norm.running_var, 0.5, 2)
    weight = layer.conv.weight[0]
    weight = weight - weight.mean(1, keepdim=True)
    kernel = torch.where(weight >= 0, 1.0, -1.0) * weight.abs().mean((1, 2, 3), keepdim=True)
    x = torch.randn(2, weight.shape[1], 6, 6)
    expected = F.batch_norm(
        F.conv2d(x, kernel, padding=1), norm.running_mean, norm.running_var, norm.weight, norm.bias
    )
    assert torch.allclose(layer(x), expected.relu(), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "side", "kernel"),
    [("alexnet", 224, (4096, 256, 6)), ("sketchanet", 225, (512, 256, 7))],
)
def test_the_first_fully_connected_layer_at_full_size(
    name: str, side: int, kernel: tuple[int, int, int]
) -> None:
    with torch.device("meta"):
        model = HYBRID[name]().eval()
    assert model.config["image_size"] == side
    out, inputs, size = kernel
    assert model.body.layer6.conv.weight.shape == (1, out, inputs, size, size)
    shape = (1, model.config["in_channels"], side, side)
    assert model.body(torch.empty(shape, device="meta")).shape == (1, out, 1, 1)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"version": "half"}, "version 'half': is unknown"),
        ({"version": "hybrid"}, "Name at least one layer"),
        ({"version": "fbin", "real_inputs": [7]}, "none with the others"),
        ({"version": "hybrid", "real_inputs": [1, 7]}, r"not there: \[1\].*2 to 7"),
        ({"version": "fprec", "binary_last": True}, "goes not with version 'fprec'"),
        ({"image_size": 64}, "leaves nothing behind layer 5 of sketchanet"),
        ({"stem": "tiny"}, "stem 'tiny': is unknown"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, object], text: str) -> None:
    with pytest.raises(InputError, match=text):
        HYBRID["sketchanet"](**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", HYBRID)
def test_a_config_builds_the_same_network(name: str) -> None:
    model = small(name, "hybrid", binary_last=True)
    again = build(model.config)
    assert again.config == model.config
    assert [(n, p.shape) for n, p in again.named_parameters()] == [
        (n, p.shape) for n, p in model.named_parameters()
    ]


def _rings_and_crosses(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Circles of any size and plus signs on a dark ground, float32 [count, 3, 32, 32]."""
    draw = torch.Generator().manual_seed(0)
    steps = torch.arange(32.0)
    images, labels = [], torch.arange(count) % 2
    for label in labels:
        cy, cx = torch.randint(12, 20, (2,), generator=draw)
        radius = 5 + 5 * torch.rand(1, generator=draw)
        distance = ((steps[:, None] - cy).square() + (steps - cx).square()).sqrt()
        ring = (distance - radius).abs() < 1
        cross = ((steps[:, None] - cy).abs() < 1) | ((steps - cx).abs() < 1)
        images.append((ring if label else cross & (distance < radius)).float())
    return torch.stack(images)[:, None].repeat(1, 3, 1, 1), labels


def _trained(make: Callable[[], nn.Module], steps: int) -> float:
    torch.manual_seed(0)
    model = make()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.3  # a few steps only
    images, labels = _rings_and_crosses(192)
    optimiser = torch.optim.Adam(model.parameters(), 4e-3)
    for step in range(steps):
        part = slice(step * 32 % 128, step * 32 % 128 + 32)
        optimiser.zero_grad()
        F.cross_entropy(model(images[part]), labels[part]).backward()
        optimiser.step()
    right = model.eval()(images[128:]).argmax(1) == labels[128:]
    return float(right.float().mean())


@pytest.mark.parametrize("version", ["fbin", "hybrid"])
def test_a_small_network_learns_to_tell_rings_from_crosses(version: str) -> None:
    assert _trained(lambda: small("sketchanet", version), 24) > 0.9
