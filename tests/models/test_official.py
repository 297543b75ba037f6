"""The authors' checkpoints: import against a plain forward pass on their state dict."""

from __future__ import annotations

import os
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import ebcore
from ebcore.cli import main
from ebcore.errors import InputError
from ebcore.measure.usage import last_experts, recorded_experts
from ebcore.models import EBResNet, resnet
from ebcore.models.binarization import binary_convs
from ebcore.models.checkpoint import save_model
from ebcore.models.official import convert, import_official, zero_weights
from ebcore.packed import load, pack
from tests.networks import calibrate, pictures, randomise

State = dict[str, Tensor]
PARITY = "EBCORE_OFFICIAL_PARITY"


def written_as_theirs(model: EBResNet) -> State:
    """A network's state dict in the authors' layout.

    Shortcuts get what import must undo or leave out: an alpha2 (powers of two, so that nothing is
    rounded), a gate, and experts that are never used.
    """
    experts, state = model.config["experts"], {}

    def put(name: str, module: nn.Module, prefix: str = "") -> None:
        state.update({f"{name}.{key}": v.clone() for key, v in module.state_dict().items()})

    for ours, theirs in (("conv1", "conv1"), ("branch_a1", "conv2_1"), ("branch_a2", "conv2_2")):
        put(theirs, model.stem.get_submodule(ours))
    put("conv3", model.stem.get_submodule("conv3"))
    put("fc", model.fc)
    for s, stage in enumerate(model.stages, 1):
        for b, block in enumerate(stage):
            for i, unit in enumerate(block, 1):
                name = f"layer{s}.{b}.conv{i}"
                put(f"layer{s}.{b}.bn{i}", unit.norm)
                put(f"layer{s}.{b}.activation{i}", unit.activation)
                put(f"{name}.fc", unit.conv.gate.linear)
                state[f"{name}.weight"] = unit.conv.weight.detach().clone()
                state[f"{name}.alpha2"] = unit.conv.alpha.detach().clone()[None, :, None, None]
                if unit.conv.se is not None:
                    put(f"{name}.se_fc.0", unit.conv.se.reduce)
                    put(f"{name}.se_fc.2", unit.conv.se.expand)
            layers = [m for m in block[0].shortcut.children() if not isinstance(m, nn.AvgPool2d)]
            for i, layer in enumerate(layers, 1):
                name = f"layer{s}.{b}.downsample.{i}"
                if not isinstance(layer, nn.Conv2d):
                    put(name, layer)
                    continue
                alpha = 2.0 ** torch.randint(-2, 3, (1, layer.out_channels, 1, 1))
                others = torch.randn(experts - 1, *layer.weight.shape)
                own = layer.weight.detach() / alpha.view(-1, 1, 1, 1)
                state[f"{name}.weight"] = torch.cat([own[None], others])
                state[f"{name}.alpha2"] = alpha
                state[f"{name}.fc.weight"] = torch.randn(experts, layer.in_channels)
                state[f"{name}.fc.bias"] = torch.randn(experts)
    return state


def reference(state: State, images: Tensor, *, zero: float = 1.0) -> tuple[Tensor, State]:
    """Logits and {layer: expert of each image}, from the layout alone, in double precision.

    Args:
        zero: what sign(0) is: +1 here, 0 in the authors' code.
    """
    t = {name: value.double() for name, value in state.items()}
    chosen = {}

    def norm(x: Tensor, name: str, eps: float) -> Tensor:
        keys = ("running_mean", "running_var", "weight", "bias")
        mean, var, weight, bias = (t[f"{name}.{key}"].view(1, -1, 1, 1) for key in keys)
        return (x - mean) / (var + eps).sqrt() * weight + bias

    def sign(v: Tensor) -> Tensor:
        return torch.where(v == 0, zero, v.sign())

    def stem_layer(x: Tensor, name: str, stride: int) -> Tensor:
        weight = t[f"{name}.0.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        return norm(x, f"{name}.1", 1e-5).relu()

    def binary_layer(x: Tensor, name: str, stride: int) -> Tensor:
        """`name` without the unit's number is the block, e.g. "layer1.0.", and number 1 to 3."""
        block, number = name[:-1], name[-1]
        conv = f"{block}conv{number}"
        weight = t[f"{conv}.weight"]
        v = norm(x, f"{block}bn{number}", 1e-4)
        pooled = v.mean((2, 3))
        expert = (pooled @ t[f"{conv}.fc.weight"].T + t[f"{conv}.fc.bias"]).argmax(1)
        chosen[conv] = expert
        groups, padding = v.shape[1] // weight.shape[2], weight.shape[-1] // 2
        y = torch.cat(
            [
                F.conv2d(sign(v[n : n + 1]), sign(weight[k]), None, stride, padding, 1, groups)
                for n, k in enumerate(expert.tolist())
            ]
        )
        y = y * t[f"{conv}.alpha2"]
        if f"{conv}.se_fc.0.weight" in t:
            hidden = (pooled @ t[f"{conv}.se_fc.0.weight"].T).clamp(min=0)
            y = y * torch.sigmoid(hidden @ t[f"{conv}.se_fc.2.weight"].T)[:, :, None, None]
        slope = t[f"{block}activation{number}.weight"].view(1, -1, 1, 1)
        return torch.where(y >= 0, y, slope * y)

    def shortcut(x: Tensor, name: str, stride: int) -> Tensor:
        if f"{name}.1.weight" not in t:
            return x
        x = F.avg_pool2d(x, stride)
        for conv, bn, activation in ((1, 2, 3), (4, 5, 6)):
            x = F.conv2d(x, t[f"{name}.{conv}.weight"][0]) * t[f"{name}.{conv}.alpha2"]
            x = norm(x, f"{name}.{bn}", 1e-5)
            x = torch.where(x >= 0, x, t[f"{name}.{activation}.weight"].view(1, -1, 1, 1) * x)
        return x

    x = stem_layer(images.double(), "conv1", 2)
    left = stem_layer(stem_layer(x, "conv2_1", 1), "conv2_2", 2)
    x = stem_layer(torch.cat([left, F.max_pool2d(x, 3, 2, 1)], 1), "conv3", 1)
    for s in range(1, 5):
        b = 0
        while f"layer{s}.{b}.bn1.weight" in t:
            stride = 2 if s > 1 and b == 0 else 1
            block = f"layer{s}.{b}."
            x = binary_layer(x, f"{block}1", stride) + shortcut(x, f"{block}downsample", stride)
            x = binary_layer(x, f"{block}2", 1) + x
            if f"{block}conv3.weight" in t:
                x = binary_layer(x, f"{block}3", 1) + x
            b += 1
    return x.mean((2, 3)) @ t["fc.weight"].T + t["fc.bias"], chosen


class Vector:
    """A small network in the authors' layout, images, and what the reference makes of them."""

    def __init__(self) -> None:
        # A seed without pre-sign values between 0 and 1e-5 of the rms: rounding flips none.
        torch.manual_seed(7)
        model = resnet("1121-0.25-4:8:8:16", experts=4, num_classes=10, shortcut_ratio=4, se=True)
        randomise(model)
        for module in model.modules():
            if isinstance(module, nn.PReLU):
                assert len(module.weight.unique()) == len(module.weight)
        for name, module in model.named_modules():
            if isinstance(module, nn.BatchNorm2d) and not name.endswith(".norm"):
                # Small values, so that the epsilon of the next BatchNorm shows.
                module.weight.data *= 0.1
                module.bias.data *= 0.1
        convs = binary_convs(model)
        for conv in convs.values():
            assert conv.se is not None
            for linear in (conv.se.reduce, conv.se.expand):
                nn.init.normal_(linear.weight, 0, 2 * linear.in_features**-0.5)
        # Exact zeros: channels whose pre-sign value is always 0, and latent weights.
        for name in ("stages.0.0.0.norm", "stages.2.1.1.norm"):
            dead = model.get_submodule(name)
            dead.weight.data[:4] = dead.bias.data[:4] = 0
        convs["stages.1.0.2.conv"].weight.data[:, :, :5] = 0
        # A channel that is always 1 pulls each gate to expert 0, which its bias must undo.
        for name, module in model.named_modules():
            if name.endswith(".norm"):
                module.weight.data[-1], module.bias.data[-1] = 0, 1
        self.images = pictures(8, 64)
        calibrate(model, self.images)
        pull = torch.tensor([8.0, 4.0, 0.0, -4.0])
        for conv in convs.values():
            assert conv.gate is not None
            conv.gate.linear.weight.data[:, -1] += pull
            conv.gate.linear.bias.data -= pull
        self.state = written_as_theirs(model)
        self.logits, self.experts = reference(self.state, self.images)


@pytest.fixture(scope="module")
def vector() -> Vector:
    return Vector()


def error(logits: Tensor, expected: Tensor) -> float:
    return float((logits - expected).abs().max() / expected.abs().max())


def computed(model: EBResNet, images: Tensor) -> tuple[Tensor, State]:
    """The imported network's logits and experts, by the authors' names."""
    with recorded_experts(model) as layers, torch.no_grad():
        logits = model(images)
        chosen = last_experts(layers, len(images))
    return logits, {_theirs(name): chosen[:, i] for i, name in enumerate(layers)}


def _theirs(name: str) -> str:
    stage, block, unit = (int(number) for number in re.findall(r"\d+", name))
    return f"layer{stage + 1}.{block}.conv{unit + 1}"


def assert_agrees(state: State, images: Tensor, logits: Tensor, experts: State) -> None:
    """Logits to 1e-5 in PyTorch and 1e-4 packed, and the same experts in both."""
    model = convert(state, "checkpoint")
    own, chosen = computed(model, images)
    assert error(own, logits) <= 1e-5
    packed = pack(model, (3, *images.shape[2:])).trace(images)
    assert error(packed.logits, logits) <= 1e-4
    assert len(chosen) == len(experts)
    for name, expected in experts.items():
        assert torch.equal(chosen[name], expected), name
    for name, layer in packed.layers.items():
        assert torch.equal(layer.expert, experts[_theirs(name)]), name


def test_logits_and_experts_are_the_reference_s(vector: Vector) -> None:
    assert_agrees(vector.state, vector.images, vector.logits, vector.experts)
    for name, experts in vector.experts.items():
        assert experts.unique().tolist() == [0, 1, 2, 3], name


def test_without_its_bias_every_gate_chooses_otherwise(vector: Vector) -> None:
    for name, experts in vector.experts.items():
        state = {**vector.state, f"{name}.fc.bias": torch.zeros(4)}
        _, chosen = reference(state, vector.images)
        assert not torch.equal(chosen[name], experts), name


def test_zeros_count_as_plus_one(vector: Vector) -> None:
    """The one difference to the authors' code, whose sign(0) is 0."""
    for zero in (0.0, -1.0):
        logits, _ = reference(vector.state, vector.images, zero=zero)
        assert error(logits, vector.logits) > 1e-2
    assert zero_weights(convert(vector.state, "x")) == 4 * 32 * 5


@pytest.mark.skipif(PARITY not in os.environ, reason=f"{PARITY} names no file")
def test_logits_and_experts_are_the_authors() -> None:
    """A file of tensors: state.<key>, input, logits, experts.<layer> of the authors' own code."""
    tensors = load_file(os.environ[PARITY])
    parts: dict[str, State] = {"state": {}, "experts": {}}
    for name, value in tensors.items():
        part, _, key = name.partition(".")
        parts.get(part, {})[key] = value
    assert_agrees(parts["state"], tensors["input"], tensors["logits"], parts["experts"])
    logits, _ = reference(parts["state"], tensors["input"])
    assert error(logits, tensors["logits"]) <= 1e-5


def _zero(state: State, key: str) -> None:
    state[key] = torch.zeros_like(state[key])


def _swap(state: State, first: str, second: str) -> None:
    for key in [key for key in state if key.startswith(f"{first}.")]:
        other = second + key.removeprefix(first)
        state[key], state[other] = state[other], state[key]


def _other_expert(state: State, name: str) -> None:
    state[f"{name}.weight"] = state[f"{name}.weight"].flip(0)


MISTAKES: dict[str, Callable[[State], None]] = {
    "gate bias": lambda s: _zero(s, "layer3.0.conv1.fc.bias"),
    "gate weight": lambda s: _zero(s, "layer3.1.conv2.fc.weight"),
    "PReLUs": lambda s: _swap(s, "layer2.0.activation2", "layer2.0.activation3"),
    "PReLUs of a shortcut": lambda s: _swap(s, "layer4.0.downsample.6", "layer4.0.activation1"),
    "SE layers": lambda s: _swap(s, "layer3.1.conv1.se_fc", "layer3.1.conv2.se_fc"),
    "SE within": lambda s: _zero(s, "layer4.0.conv3.se_fc.0.weight"),
    "shortcut expert": lambda s: _other_expert(s, "layer2.0.downsample.4"),
    "shortcut scale": lambda s: s.update({"layer1.0.downsample.1.alpha2": torch.ones(1, 16, 1, 1)}),
    "scale": lambda s: s.update({"layer4.0.conv2.alpha2": s["layer4.0.conv3.alpha2"]}),
    "BatchNorms": lambda s: _swap(s, "layer3.0.bn2", "layer3.0.bn3"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_vector_shows_mistakes(mistake: str, vector: Vector) -> None:
    state = dict(vector.state)
    MISTAKES[mistake](state)
    logits, _ = computed(convert(state, "x"), vector.images)
    assert error(logits, vector.logits) > 1e-3


@pytest.mark.parametrize("part", ["stem", "norm", "shortcut"])
def test_the_vector_shows_a_wrong_epsilon(part: str, vector: Vector) -> None:
    model = convert(vector.state, "x")
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d) and f".{part}" in f".{name}":
            module.eps = 1e-5 if part == "norm" else 1e-4
    logits, _ = computed(model, vector.images)
    assert error(logits, vector.logits) > 1e-4


@settings(deadline=None, max_examples=10)
@given(
    blocks=st.tuples(*[st.integers(1, 2)] * 4),
    expansion=st.sampled_from(["0.25", "0.375"]),
    groups=st.tuples(*[st.sampled_from([1, 2, 4, 8])] * 4),
    options=st.fixed_dictionaries(
        {
            "experts": st.integers(2, 5),
            "num_classes": st.integers(1, 7),
            "se": st.booleans(),
            "pointwise": st.booleans(),
            "shortcut_ratio": st.sampled_from([2.0, 4.0]),
            "stem_width": st.sampled_from([16, 24]),
            "in_channels": st.sampled_from([1, 3]),
        }
    ),
)
def test_any_structure_comes_back(
    blocks: tuple[int, ...], expansion: str, groups: tuple[int, ...], options: dict[str, Any]
) -> None:
    spec = f"{''.join(map(str, blocks))}-{expansion}-{':'.join(map(str, groups))}"
    model = resnet(spec, **options)
    randomise(model)
    again = convert(written_as_theirs(model), "x")
    if not options["se"]:
        model.config.pop("se_ratio")
        again.config.pop("se_ratio")
    assert again.config == model.config
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert not again.training


@pytest.fixture(scope="module")
def small() -> State:
    """The quickest state to read."""
    torch.manual_seed(0)
    model = resnet(
        "1211-0.25-2:2:2:2", experts=2, num_classes=3, shortcut_ratio=4, stem_width=16, se=True
    )
    return written_as_theirs(model)


def _saved(form: str, state: State, folder: Path) -> Path:
    path = folder / ("model.safetensors" if form == "safetensors" else "model.pth.tar")
    if form == "safetensors":
        save_file(state, path)
        return path
    with_prefix = {f"module.{key}": value for key, value in state.items()}
    content: dict[str, Any] = {
        "bare": state,
        "wrapped": {"epoch": 75, "state_dict": state, "optimizer": {"state": {}}},
        "prefixed": with_prefix,
        "both": {"state_dict": with_prefix, "best_acc1": torch.tensor(71.2)},
        "old": state,
        "double": {key: v.double() if v.is_floating_point() else v for key, v in state.items()},
    }
    torch.save(content[form], path, _use_new_zipfile_serialization=form != "old")
    return path


@pytest.mark.parametrize(
    "form", ["bare", "wrapped", "prefixed", "both", "old", "double", "safetensors"]
)
def test_every_form_of_the_file(form: str, small: State, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    import_official(_saved(form, small, tmp_path), out)
    model, expected = ebcore.load_model(out), convert(small, "x").state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name
        assert value.dtype == expected[name].dtype
    about = model.metadata
    assert about["classes"] == ["0", "1", "2"]
    assert (about["image_size"], about["resize"], about["experts"]) == (224, 256, 2)
    assert about["mean"] == [0.485, 0.456, 0.406] and about["std"] == [0.229, 0.224, 0.225]


KEY = "layer2.1.conv2.weight"
BROKEN: dict[str, tuple[Callable[[State], object], str]] = {
    "missing": (lambda s: s.pop(KEY), "lacks " + KEY),
    "missing gate bias": (
        lambda s: s.pop("layer1.0.conv1.fc.bias"),
        "lacks layer1.0.conv1.fc.bias",
    ),
    "missing in a shortcut": (
        lambda s: s.pop("layer3.0.downsample.4.alpha2"),
        "lacks layer3.0.downsample.4.alpha2",
    ),
    "a whole stage missing": (
        lambda s: [s.pop(key) for key in list(s) if key.startswith("layer4.")],
        "layer4 has blocks (none)",
    ),
    "a block's number missing": (
        lambda s: [s.pop(key) for key in list(s) if key.startswith("layer2.0.")],
        "layer2 has blocks 1,",
    ),
    "unknown": (lambda s: s.update({"bn1.weight": torch.ones(1)}), "unknown key 'bn1.weight'"),
    "SE in a shortcut": (
        lambda s: s.update({"layer1.0.downsample.1.se_fc.0.weight": torch.ones(1)}),
        "unknown key 'layer1.0.downsample.1.se_fc.0.weight'",
    ),
    "another shape": (
        lambda s: s.update({KEY: s[KEY][:, :-1]}),
        KEY + " has shape [2, 31, 16, 3, 3] where the other tensors need [2, 32, 16, 3, 3]",
    ),
    "another number of experts": (
        lambda s: s.update({KEY: s[KEY][:1]}),
        KEY + " has shape [1, 32,",
    ),
    "no experts": (
        lambda s: s.update({"layer1.0.conv2.weight": s["layer1.0.conv2.weight"][0]}),
        "layer1.0.conv2.weight has shape [16, 8, 3, 3], not 5 dimensions",
    ),
    "one expert": (
        lambda s: s.update({"layer1.0.conv2.weight": s["layer1.0.conv2.weight"][:1]}),
        "layer1.0.conv2.weight has one expert",
    ),
    "groups that divide nothing": (
        lambda s: s.update({"layer1.0.conv2.weight": torch.ones(2, 16, 5, 3, 3)}),
        "layer1.0.conv2.weight has 16 channels, in groups of 5",
    ),
    "empty": (
        lambda s: s.update({"layer3.0.conv2.weight": torch.ones(2, 64, 0, 3, 3)}),
        "layer3.0.conv2.weight has shape [2, 64, 0, 3, 3]",
    ),
    "whole numbers": (lambda s: s.update({KEY: s[KEY].int()}), KEY + " is torch.int32"),
    "complex numbers": (lambda s: s.update({KEY: s[KEY] * 1j}), KEY + " is torch.complex64"),
    "NaN": (
        lambda s: s.update({"fc.bias": torch.tensor([0, 1, float("nan")])}),
        "fc.bias holds NaN",
    ),
    "sparse": (lambda s: s.update({"fc.bias": s["fc.bias"].to_sparse()}), "fc.bias is no ordinary"),
    "no tensor": (lambda s: s.update({"fc.bias": 1.0}), "fc.bias is no ordinary tensor"),
    "stem of another width": (
        lambda s: s.update({"conv3.0.weight": torch.ones(18, 16, 1, 1)}),
        "has shape",
    ),
    "odd stem": (
        lambda s: s.update({"conv3.0.weight": torch.ones(15, 16, 1, 1)}),
        "describes no network",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_fit_is_named(case: str, small: State, tmp_path: Path) -> None:
    change, reason = BROKEN[case]
    state = dict(small)
    change(state)
    path = tmp_path / "model.pth.tar"
    torch.save(state, path)
    with pytest.raises(InputError, match=rf"model\.pth\.tar: .*{re.escape(reason)}.* Give "):
        import_official(path, tmp_path / "out.safetensors")
    assert list(tmp_path.iterdir()) == [path]


class _Harmful:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (os.environ["HARM"],)


def test_objects_are_never_unpickled(
    small: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harm = tmp_path / "harm"
    monkeypatch.setenv("HARM", str(harm))
    path = tmp_path / "model.pth.tar"
    for content in ({"state_dict": small, "args": _Harmful()}, _Harmful()):
        torch.save(content, path)
        with pytest.raises(InputError, match="only tensors are ever read"):
            import_official(path, tmp_path / "out.safetensors")
    path.write_bytes(pickle.dumps(_Harmful(), protocol=2))
    with pytest.raises(InputError, match="only tensors are ever read"):
        import_official(path, tmp_path / "out.safetensors")
    assert not harm.exists()


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, -1])
@pytest.mark.parametrize("form", ["bare", "old", "safetensors"])
def test_a_truncated_file_is_refused(form: str, keep: float, small: State, tmp_path: Path) -> None:
    path = _saved(form, small, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(InputError, match=rf"{re.escape(path.name)}: is (damaged|truncated)"):
        import_official(path, tmp_path / "out.safetensors")


@pytest.mark.parametrize("content", [[1, 2], {1: torch.ones(1)}, {"state_dict": 3}, torch.ones(2)])
def test_what_is_no_state_dict_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "model.pth.tar")
    with pytest.raises(InputError, match=r"model\.pth\.tar: holds no state dict"):
        import_official(tmp_path / "model.pth.tar", tmp_path / "out.safetensors")


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pth.tar", tmp_path):
        with pytest.raises(InputError, match="does not exist"):
            import_official(path, tmp_path / "out.safetensors")


def test_an_empty_dict_and_other_checkpoints_are_refused(small: State, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="layer1 has blocks"):
        convert({}, "x")
    save_model(tmp_path / "ours.safetensors", convert(small, "x"), {})
    with pytest.raises(InputError, match=r"ours\.safetensors: layer1 has blocks"):
        import_official(tmp_path / "ours.safetensors", tmp_path / "out.safetensors")


def test_tensors_that_share_memory_are_read(small: State, tmp_path: Path) -> None:
    state = dict(small)
    state["layer1.0.bn2.bias"] = state["layer1.0.bn3.bias"]
    path = tmp_path / "model.pth.tar"
    torch.save(state, path)
    import_official(path, tmp_path / "out.safetensors")
    model = ebcore.load_model(tmp_path / "out.safetensors")
    assert torch.equal(model.stages[0][0][1].norm.bias, model.stages[0][0][2].norm.bias)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"cat\ndog\n", "2 names in 2 lines for 3 classes"),
        (b"cat\n\nemu\n", "2 names in 3 lines"),
        (b"\xff\n1\n2\n", "not UTF-8"),
        (None, "No such file"),
    ],
)
def test_class_names_that_do_not_fit_are_refused(
    text: bytes | None, reason: str, small: State, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "names.txt").write_bytes(text)
    with pytest.raises(InputError, match=rf"names\.txt: .*{reason}"):
        import_official(
            _saved("bare", small, tmp_path), tmp_path / "out.safetensors", tmp_path / "names.txt"
        )
    assert not (tmp_path / "out.safetensors").exists()


def test_the_command_and_those_that_follow(
    small: State,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, out, packed = (tmp_path / name for name in ("m.pth.tar", "m.safetensors", "m.ebp"))
    state = dict(small)
    state[KEY] = state[KEY].clone()
    state[KEY][0, 0, 0] = 0  # 9 latent weights
    torch.save(state, source)
    (tmp_path / "names.txt").write_text("cat\ndog\nemu\n")
    Image.new("RGB", (300, 260), "red").save(tmp_path / "red.png")
    said = []
    for arguments in (
        ("import-official", source, out, "--classes", tmp_path / "names.txt"),
        ("summary", out),
        ("pack", out, packed),
        ("predict", packed, tmp_path / "red.png"),
        ("bench", packed, "--repeats", "3", "--min-seconds", "0"),
    ):
        monkeypatch.setattr(sys, "argv", ["ebcore", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, arguments
        said.append(capsys.readouterr().out)
    assert "1211-0.25-2:2:2:2, 2 experts, 3 classes" in said[0]
    assert "9 latent weights are exactly 0" in said[0]
    assert all(name in said[3] for name in ("cat", "dog", "emu"))
    assert load(packed).input_shape == (3, 224, 224)


def test_a_wrong_file_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.pth.tar").write_text("hello")
    arguments = ["import-official", str(tmp_path / "m.pth.tar"), str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["ebcore", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert re.fullmatch(r"error: .*m\.pth\.tar: is damaged .*\n", capsys.readouterr().err)


@pytest.mark.slow
def test_the_published_size() -> None:
    """The published network's structure, random weights: its name comes back, and its experts."""
    torch.manual_seed(0)
    model = resnet("1262-2-4:8:8:16", experts=4, shortcut_ratio=4, se=True)
    randomise(model)
    images = pictures(4, 224)
    calibrate(model, images)
    state = written_as_theirs(model)
    again = convert(state, "x")
    assert again.config == model.config
    experts = reference(state, images[:1])[1]
    chosen = computed(again, images[:1])[1]
    for name, expected in experts.items():
        assert torch.equal(chosen[name], expected), name
