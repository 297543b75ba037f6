"""Operation counts, by hand and against the paper's printed figures."""

import pytest
import torch
from torch import nn

from ebcore.layers import BinaryConv2d
from ebcore.measure.ops import count_ops
from ebcore.models import resnet


def test_one_binary_convolution_by_hand() -> None:
    conv = BinaryConv2d(8, 16, 3, padding=1, groups=2, experts=2, se=True, se_ratio=8)
    count = count_ops(conv, (8, 5, 5))
    # 16 x 5 x 5 outputs of 4 x 3 x 3 taps
    assert count.bops == 16 * 25 * 4 * 9
    # alpha, SE's factor; pooling; gate 8 x 2; SE 8 x 2 + 2 x 16
    assert count.flops == 2 * 16 * 25 + 8 * 25 + 8 * 2 + 8 * 2 + 2 * 16
    assert count.params_binary == 2 * 16 * 4 * 9
    # alpha; gate with bias; SE
    assert count.params_real == 16 + (8 * 2 + 2) + 8 * 2 + 2 * 16
    assert count.bits == count.params_binary + 32 * count.params_real


def test_real_weights_are_real_operations_and_parameters() -> None:
    conv = BinaryConv2d(4, 4, 1)
    conv.binary_weight = False
    count = count_ops(conv, (4, 3, 3))
    assert (count.bops, count.flops) == (0, 4 * 9 * 4 + 4 * 9)
    assert (count.params_binary, count.params_real) == (0, 16 + 4)


def test_real_layers_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 10),
    )
    flops = [layer.flops for layer in count_ops(model, (3, 8, 8)).layers]
    assert flops == [4 * 64 * 27, 4 * 64, 4 * 64, 4 * 16 * 3, 4 * 16, 40]


# Table 4, e9 binary operations to the printed digit; PAPERS recomputes the third decimal.
@pytest.mark.parametrize(
    ("spec", "bops"),
    [
        ("1242-2-4:4:16:32", 1.308),
        ("1262-2-4:4:16:32", 1.526),
        ("1282-2-4:4:16:32", 1.745),
        ("1242-2-4:4:8:16", 1.575),
        ("1262-2-4:4:8:16", 1.909),
        ("1282-2-4:4:8:16", 2.243),
        ("1262-2-4:8:8:16", 1.707),
    ],
)
def test_table_4(spec: str, bops: float) -> None:
    count = count_ops(resnet(spec, experts=4), (3, 224, 224))
    assert round(count.bops / 1e9, 3) == bops
    assert round(count.flops / 1e8, 1) in (1.1, 1.2)


def test_the_papers_final_network() -> None:
    model = resnet("1262-2-4:8:8:16", experts=4)
    count = count_ops(model, (3, 224, 224))
    assert round(count.bops / 1e9, 1) == 1.7
    assert round(count.flops / 1e8, 1) == 1.1
    assert count.params_binary + count.params_real == sum(p.numel() for p in model.parameters())


# Real-to-Binary's Table 1: the binary shortcuts add 1.93e7.
@pytest.mark.parametrize(("shortcut", "bops"), [("plain", 1.676), ("binary", 1.695)])
def test_resnet_18(shortcut: str, bops: float) -> None:
    model = resnet("2222-1-1:1:1:1", experts=1, pointwise=False, stem="basic", shortcut=shortcut)
    assert int(count_ops(model, (3, 224, 224)).bops / 1e6) / 1e3 == bops


def test_counting_leaves_the_model_alone() -> None:
    model = resnet("1111-1-1:1:1:1", experts=2, width=8, stem_width=8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_ops(model, (3, 64, 64))
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
