"""What is timed: counts by hand, and the way to another process and back."""

from __future__ import annotations

from dataclasses import asdict

from ebcore.measure.cases import Convolution, Network, from_json, layers_of, to_json
from ebcore.packed import PackedModel


def test_multiply_accumulates_by_hand() -> None:
    strided = Convolution(64, 128, 56, 56, stride=2, groups=4)
    assert strided.output_size == (28, 28)
    assert strided.macs == 28 * 28 * 128 * 16 * 9
    pointwise = Convolution(8, 4, 5, 3, kernel=1, padding=0, batch_size=2)
    assert pointwise.macs == 2 * 5 * 3 * 4 * 8
    assert pointwise.work(binary=True).binary == pointwise.work(binary=False).real == 960


def test_resnet_18_is_1_8_billion_operations() -> None:
    """He et al., Table 1: 1.8e9 FLOPs as multiply-adds; the elements' own come on top."""
    work = Network(None, 224, 224).work(binary=False)
    assert work.binary == 0 and 1.8e9 < work.real < 1.85e9


def test_a_case_survives_the_way_to_another_process() -> None:
    cases = (
        Convolution(64, 128, 56, 56, stride=2, groups=4, experts=4, se=True),
        Network({"spec": "bi-real-18", "width": 8}, 32, 48, batch_size=3, packed="a.ebp"),
    )
    for case in cases:
        again = from_json(to_json(case))
        assert type(again) is type(case) and asdict(again) == asdict(case)
        assert again.name == case.name and again.input_shape == case.input_shape


def test_layers_of_one_shape_are_one_case(packed: PackedModel) -> None:
    found = layers_of(packed, batch_size=2)
    assert [name for names in found.values() for name in names] == sorted(
        packed.binary_layers, key=packed.binary_layers.index
    )
    first = next(iter(found))
    assert first == Convolution(8, 16, 8, 8, groups=2, experts=2, batch_size=2)
    assert first.name == "8-16 3x3/1 g2 8x8"
