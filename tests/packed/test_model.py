"""Packed networks as a whole."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d
from ebcore.models import EBResNet, set_binarization
from ebcore.packed import agreement, load, pack

Build = Callable[..., EBResNet]

NETWORKS: dict[str, tuple[dict[str, object], int]] = {
    "default": ({"experts": 4}, 16),
    "one expert, odd size": ({"experts": 1}, 19),
    "se": ({"experts": 2, "se": True}, 16),
    "efficient, binary shortcut": (
        {"experts": 2, "stem": "efficient", "shortcut": "binary", "spec": "1211-1-1:1:1:1"},
        49,
    ),
    "basic, relu, odd channels": (
        {"experts": 3, "stem": "basic", "shortcut": "relu", "spec": "1111-1.5-3:3:3:3",
         "width": 14, "stem_width": 21},
        40,
    ),
    "half": ({"experts": 2, "stem": "half"}, 22),
    "plain, no pointwise": ({"experts": 1, "shortcut": "plain", "pointwise": False}, 16),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_agrees_with_pytorch(name: str, network: Build, forced_isa: str) -> None:
    settings, size = NETWORKS[name]
    model = network(**settings)
    packed = pack(model, (3, size, size))
    assert packed.isa == forced_isa
    images = torch.randn(24, 3, size, size)
    report = agreement(model, packed, images, torch.zeros(24, dtype=torch.int64), batch_size=16)
    assert report.violations == []
    assert report.images == 24
    assert report.listed_share <= 0.25
    binary = [name for name, m in model.named_modules() if isinstance(m, BinaryConv2d)]
    assert sorted(packed.binary_layers) == sorted(binary)
    assert {layer.name for layer in report.layers} >= set(binary) | {"fc"}


def test_units_become_one_node_each(network: Build) -> None:
    ops = [node.op for node in pack(network(experts=2), (3, 16, 16)).graph.nodes]
    # Stem; stage 0 (16 -> 16, no shortcut) 3 units; stages 1 to 3: pool, two 1x1 (decomposed
    # shortcut), 3 units; pooling and classifier.
    stage = ["pool", "conv", "conv", "binary_conv", "binary_conv", "binary_conv"]
    expected = ["conv"] + ["binary_conv"] * 3 + stage * 3 + ["global_pool", "linear"]
    assert ops == expected


def test_file_round_trip(network: Build, tmp_path: Path) -> None:
    model = network(experts=4)
    model.metadata = {"classes": ["a", "b"], "mean": [0.1, 0.2, 0.3], "std": [1.0, 1.0, 1.0]}
    packed = pack(model, (3, 16, 16))
    packed.save(tmp_path / "net.ebp")
    again = load(tmp_path / "net.ebp")
    x = torch.randn(5, 3, 16, 16)
    assert torch.equal(packed(x), again(x))
    assert again.metadata == packed.metadata
    assert again.metadata["classes"] == ["a", "b"]
    assert again.metadata["spec"] == "1111-2-4:4:4:4"
    assert again.metadata["experts"] == 4
    assert (tmp_path / "net.ebp").stat().st_size == packed.nbytes == again.nbytes
    again.save(tmp_path / "again.ebp")
    assert (tmp_path / "net.ebp").read_bytes() == (tmp_path / "again.ebp").read_bytes()


def test_size_is_close_to_the_information(network: Build) -> None:
    model = network(experts=4, width=32, stem_width=32)
    bits = floats = 0
    for name, parameter in model.state_dict().items():
        module = model.get_submodule(name.rpartition(".")[0])
        if isinstance(module, BinaryConv2d) and name.endswith("weight"):
            bits += parameter.numel()
        elif parameter.is_floating_point():
            floats += parameter.numel()
    information = bits / 8 + floats * 4
    # The graph's description and the alignment of its tensors add a constant, BN folding takes.
    assert pack(model, (3, 16, 16)).nbytes <= information + 64_000


def test_threads_and_batches_do_not_change_the_result(network: Build) -> None:
    packed = pack(network(experts=2), (3, 16, 16))
    x = torch.randn(9, 3, 16, 16)
    expected = packed(x)
    packed.threads = 3
    assert torch.equal(packed(x), expected)
    assert torch.equal(torch.cat([packed(image[None]) for image in x]), expected)
    assert packed(x[:0]).shape == (0, 10)


def test_concurrent_calls_are_safe(network: Build) -> None:
    packed = pack(network(experts=2), (3, 16, 16))
    images = [torch.randn(4, 3, 16, 16) for _ in range(4)]
    expected = [packed(x) for x in images]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(20):
            if not torch.equal(packed(images[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_strided_input_is_read_right(network: Build) -> None:
    packed = pack(network(experts=1), (3, 16, 16))
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(packed(x.to(memory_format=torch.channels_last)), packed(x))


def test_nan_is_an_error(network: Build, forced_isa: str) -> None:
    packed = pack(network(experts=2), (3, 16, 16))
    x = torch.randn(2, 3, 16, 16)
    x[1, 2, 15, 15] = float("nan")
    with pytest.raises(InputError, match="NaN"):
        packed(x)


def test_nan_that_arises_inside_names_the_layer(forced_isa: str) -> None:
    norm = nn.BatchNorm2d(4)
    nn.init.zeros_(norm.weight)  # 0 * infinity
    packed = pack(nn.Sequential(norm, BinaryConv2d(4, 4, 1)).eval(), (4, 3, 3))
    x = torch.zeros(1, 4, 3, 3)
    x[0, 3, 2, 2] = float("inf")
    with pytest.raises(InputError, match=r"layer '1'.*NaN"):
        packed(x)


def test_infinities_have_signs(forced_isa: str) -> None:
    packed = pack(BinaryConv2d(1, 1, 1), (1, 1, 2))
    x = torch.tensor([float("inf"), float("-inf")]).view(1, 1, 1, 2)
    assert packed.trace(x).layers[""].bits.flatten().tolist() == [True, False]


@pytest.mark.parametrize(
    "x", [torch.zeros(1, 3, 16, 15), torch.zeros(3, 16, 16), torch.zeros(1, 3, 16, 16).double()]
)
def test_wrong_input_is_refused(x: torch.Tensor, network: Build) -> None:
    packed = pack(network(experts=1), (3, 16, 16))
    with pytest.raises(InputError, match="input: "):
        packed(x)


@pytest.mark.parametrize("threads", [0, -1, 1.5, 10**9])
def test_wrong_thread_count_is_refused(threads: int, network: Build) -> None:
    packed = pack(network(experts=1), (3, 16, 16))
    packed.threads = threads
    with pytest.raises(InputError, match="threads"):
        packed(torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize(("inputs", "weights", "experts"), [(True, False, 1), (False, True, 2)])
def test_real_layers_are_refused_by_name(
    inputs: bool, weights: bool, experts: int, network: Build
) -> None:
    model = network(experts=experts)
    set_binarization(model, inputs=inputs, weights=weights)
    what = "inputs" if weights else "weights"
    with pytest.raises(InputError, match=rf"stages\.0\.0\.0\.conv.*real {what}.*[Bb]inarise"):
        pack(model, (3, 16, 16))


def test_unknown_layers_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"layer '1'.*GELU"):
        pack(nn.Sequential(nn.Conv2d(3, 4, 1), nn.GELU()), (3, 4, 4))


def test_image_smaller_than_the_kernel_is_refused() -> None:
    with pytest.raises(InputError, match="kernel larger"):
        pack(BinaryConv2d(1, 1, 5), (1, 3, 3))


def test_parameters_that_are_not_finite_are_refused(network: Build) -> None:
    model = network(experts=1)
    model.get_submodule("stages.0.0.0.conv").weight.data[0, 0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match=r"stages\.0\.0\.0\.conv\.weight"):
        pack(model, (3, 16, 16))
