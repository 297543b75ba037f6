"""Operations and memory as Hybrid Binary Networks counts them, against its print."""

import pytest
import torch

from ebcore.measure.hybrid_cost import hybrid_cost, layer_macs
from ebcore.models.architectures import HYBRID

SIDE = {"alexnet": 224, "sketchanet": 225, "hybrid-resnet-18": 224, "squeezenet": 224}


def cost(name: str, version: str, **settings: object) -> tuple[float, float]:
    """FLOPs in e6, memory saving."""
    with torch.device("meta"):
        model = HYBRID[name](version=version, **settings)  # type: ignore[arg-type]
    found = hybrid_cost(model, (model.config["in_channels"], SIDE[name], SIDE[name]))
    return found.flops / 1e6, found.memory_saving


def test_alexnet_by_hand() -> None:
    sides = {1: 55, 2: 27, 3: 13, 4: 13, 5: 13, 6: 1, 7: 1, 8: 1}
    shapes = {1: (96, 3, 11), 2: (256, 96, 5), 3: (384, 256, 3), 4: (384, 384, 3)}
    shapes |= {5: (256, 384, 3), 6: (4096, 256, 6), 7: (4096, 4096, 1), 8: (1000, 4096, 1)}
    weights = {n: o * i * k * k for n, (o, i, k) in shapes.items()}
    macs = {n: sides[n] ** 2 * weights[n] for n in shapes}
    with torch.device("meta"):
        model = HYBRID["alexnet"]()
    assert list(layer_macs(model, (3, 224, 224)).values()) == list(macs.values())
    rest = sum(weights.values()) - weights[1]
    assert cost("alexnet", "fbin") == pytest.approx(
        (
            (macs[1] + (sum(macs.values()) - macs[1]) / 64) / 1e6,
            (weights[1] + rest) / (weights[1] + weights[8] + (rest - weights[8]) / 32),
        )
    )
    assert cost("alexnet", "hybrid", real_inputs=(6, 7), binary_last=True) == pytest.approx(
        (
            (macs[1] + macs[6] + macs[7] + sum(macs[n] for n in (2, 3, 4, 5, 8)) / 64) / 1e6,
            (weights[1] + rest) / (weights[1] + rest / 32),
        )
    )


def test_the_printed_figures() -> None:
    assert round(cost("alexnet", "fprec")[0]) == 1135
    assert round(cost("alexnet", "fbin")[0], 1) == 121.5
    assert round(cost("sketchanet", "fprec")[0]) == 608
    assert round(cost("hybrid-resnet-18", "fprec")[0]) == 1814
    assert round(cost("hybrid-resnet-18", "fbin")[1], 1) == 13.4
    assert round(cost("hybrid-resnet-18", "fbin", binary_last=True)[1], 1) == 31.2
    hybrid, saving = cost("alexnet", "hybrid", real_inputs=(6, 7))
    assert hybrid == pytest.approx(174, rel=0.01)
    assert saving == pytest.approx(10.4, rel=0.01)
    assert cost("alexnet", "fbin", binary_last=True)[1] == pytest.approx(31.6, rel=0.01)


def test_nothing_is_saved_in_full_precision() -> None:
    assert cost("squeezenet", "fprec")[1] == 1
