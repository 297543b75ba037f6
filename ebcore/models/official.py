"""The authors' published EBConv checkpoint as a network of this project.

Layout of the state dict of their test model, by block b of stage s (1 to 4) and unit i (1 to 3):
    conv1, conv2_1, conv2_2, conv3          the efficient stem's convolution .0 and BatchNorm .1
    layer<s>.<b>.bn<i>                      BatchNorm before the binary convolution
    layer<s>.<b>.conv<i>.weight             latent [N, O, I / groups, K, K], real
    layer<s>.<b>.conv<i>.alpha2             [1, O, 1, 1]
    layer<s>.<b>.conv<i>.fc                 the gate, with bias
    layer<s>.<b>.conv<i>.se_fc.0, .2        SE, O / 8 wide inside
    layer<s>.<b>.activation<i>              PReLU
    layer<s>.0.downsample.1 to .6           convolution, BatchNorm, PReLU, twice; 0 is the pooling
    fc                                      classifier
The shortcut's convolutions are real and use expert 0 and its alpha2 only; their gates and other
experts are in the file without being used. Their sign(0) is 0, this project's is +1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ebcore.errors import InputError
from ebcore.models.binarization import binary_convs
from ebcore.models.checkpoint import save_model
from ebcore.models.resnet import EBResNet, resnet

_WIDTH = 64  # channels of stage 0 before the expansion
_STEM = {"conv1": "conv1", "branch_a1": "conv2_1", "branch_a2": "conv2_2", "conv3": "conv3"}
# ImageNet's validation view: R, G, B in 0..1, px.
_VIEW = {
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "image_size": 224,
    "resize": 256,
}
_REMEDY = "Give a checkpoint in the layout of the authors' test model, unchanged."


def import_official(
    source: str | Path, out: str | Path, classes: str | Path | None = None
) -> EBResNet:
    """Writes the network in `source` as a checkpoint of this project; returns it.

    Args:
        source: what torch.save wrote of the state dict (bare, under "state_dict", with or without
            the prefix "module."), or a .safetensors of it. Never unpickles other objects.
        out: the file to write.
        classes: a text file, a class name per line in the order of the logits; default their
            numbers.

    Raises:
        InputError: a file that is missing or damaged, or not of the layout; names file and key.
    """
    model = convert(_read(Path(source)), source)
    count = model.config["num_classes"]
    names = [str(i) for i in range(count)] if classes is None else _names(Path(classes), count)
    model.metadata = {"stage": "import-official", "classes": names, **_VIEW}
    save_model(out, model, model.metadata)
    return model


def convert(state: Mapping[str, Any], origin: str | Path) -> EBResNet:
    """The network of a state dict in the authors' layout, in eval mode.

    Its structure is read from the tensors' shapes. `origin` is what errors name.

    Raises:
        InputError: a key is missing, unknown, or of a shape or type that does not fit the others.
    """
    source = _Source(state, origin)
    config = _structure(source)
    try:
        with torch.device("meta"):
            model = resnet(**config)
    except ValueError as error:
        raise InputError(origin, f"describes no network ({error})", _REMEDY) from error
    modules = dict(_modules(model))
    tensors = {}
    for name, ours in model.state_dict().items():
        module, _, leaf = name.rpartition(".")
        theirs = modules[module]
        if leaf == "alpha":
            tensors[name] = source.take(f"{theirs}.alpha2", ours[None, :, None, None]).flatten()
        elif ".downsample." in theirs and ours.ndim == 4:
            tensors[name] = _shortcut_kernel(source, theirs, ours, config["experts"])
        else:
            tensors[name] = source.take(f"{theirs}.{leaf}", ours)
    source.finish()
    model.load_state_dict(tensors, assign=True)
    return model.eval()


def zero_weights(model: nn.Module) -> int:
    """How many latent binary weights are exactly 0, where the authors' sign differs from ours."""
    return sum(int((conv.weight == 0).sum()) for conv in binary_convs(model).values())


class _Source:
    """The tensors of a file; each is taken once, and none may stay."""

    def __init__(self, state: Mapping[str, Any], origin: str | Path) -> None:
        self.left, self.origin = dict(state), origin

    def refuse(self, reason: str) -> InputError:
        return InputError(self.origin, reason, _REMEDY)

    def shape(self, key: str, dimensions: int) -> tuple[int, ...]:
        """The shape of a tensor that stays."""
        shape = tuple(self._tensor(key).shape)
        if len(shape) != dimensions or 0 in shape:
            raise self.refuse(f"{key} has shape {list(shape)}, not {dimensions} dimensions")
        return shape

    def take(self, key: str, like: Tensor) -> Tensor:
        """A tensor of `like`'s shape and type; floats of other precision are converted."""
        tensor = self._tensor(key)
        if tensor.shape != like.shape:
            needed, found = list(like.shape), list(tensor.shape)
            raise self.refuse(f"{key} has shape {found} where the other tensors need {needed}")
        if tensor.is_floating_point() != like.is_floating_point() or tensor.is_complex():
            raise self.refuse(f"{key} is {tensor.dtype} where {like.dtype} is needed")
        # Their own memory: a file can hold two names of one tensor.
        taken = tensor.detach().to(like.dtype, copy=True).contiguous()
        if not taken.isfinite().all():
            raise self.refuse(f"{key} holds NaN or infinity")
        del self.left[key]
        return taken

    def finish(self) -> None:
        if self.left:
            more = f" and {len(self.left) - 1} more" if len(self.left) > 1 else ""
            raise self.refuse(f"has the unknown key {min(self.left)!r}{more}")

    def _tensor(self, key: str) -> Tensor:
        if key not in self.left:
            raise self.refuse(f"lacks {key}")
        tensor = self.left[key]
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_meta:
            raise self.refuse(f"{key} is no ordinary tensor")
        return tensor


def _structure(source: _Source) -> dict[str, Any]:
    """The arguments of `resnet`. What they do not explain is noticed when tensors are taken."""
    blocks, groups = [], []
    for stage in range(1, 5):
        blocks.append(_blocks(source, stage))
        key = f"layer{stage}.0.conv2.weight"
        _, channels, in_group, _, _ = source.shape(key, 5)
        if channels % in_group:
            raise source.refuse(f"{key} has {channels} channels, in groups of {in_group}")
        groups.append(channels // in_group)
    experts, channels = source.shape("layer1.0.conv2.weight", 5)[:2]
    if experts < 2:
        raise source.refuse("layer1.0.conv2.weight has one expert, which that layout never has")
    _, middle, wide, _, _ = source.shape("layer2.0.downsample.1.weight", 5)
    config: dict[str, Any] = {
        "spec": f"{''.join(map(str, blocks))}-{channels / _WIDTH:.10g}-"
        + ":".join(map(str, groups)),
        "experts": experts,
        "num_classes": source.shape("fc.weight", 2)[0],
        "stem": "efficient",
        "shortcut": "prelu",
        "shortcut_ratio": wide / middle,
        "pointwise": "layer4.0.conv3.weight" in source.left,
        "width": _WIDTH,
        "stem_width": source.shape("conv3.0.weight", 4)[0],
        "in_channels": source.shape("conv1.0.weight", 4)[1],
        "se": "layer4.0.conv2.se_fc.0.weight" in source.left,
    }
    if config["se"]:
        hidden = source.shape("layer4.0.conv2.se_fc.0.weight", 2)[0]
        config["se_ratio"] = max(1, source.shape("layer4.0.conv2.weight", 5)[1] // hidden)
    return config


def _blocks(source: _Source, stage: int) -> int:
    pattern = re.compile(rf"layer{stage}\.([0-9]+)\.")
    found = {match[1] for key in source.left if (match := pattern.match(key))}
    if found != {str(i) for i in range(len(found))} or not 1 <= len(found) <= 9:
        raise source.refuse(
            f"layer{stage} has blocks {', '.join(sorted(found)) or '(none)'}, not 0 to at most 8"
        )
    return len(found)


def _modules(model: EBResNet) -> Iterator[tuple[str, str]]:
    """(our name, theirs) of every module with tensors."""
    for ours, theirs in _STEM.items():
        yield f"stem.{ours}.0", f"{theirs}.0"
        yield f"stem.{ours}.1", f"{theirs}.1"
    for name, unit in model.named_modules():
        match = re.fullmatch(r"stages\.(\d)\.(\d)\.(\d)", name)
        if match is None:
            continue
        stage, block, index = (int(number) for number in match.groups())
        there, number = f"layer{stage + 1}.{block}", index + 1
        yield f"{name}.norm", f"{there}.bn{number}"
        yield f"{name}.conv", f"{there}.conv{number}"
        yield f"{name}.conv.gate.linear", f"{there}.conv{number}.fc"
        yield f"{name}.conv.se.reduce", f"{there}.conv{number}.se_fc.0"
        yield f"{name}.conv.se.expand", f"{there}.conv{number}.se_fc.2"
        yield f"{name}.activation", f"{there}.activation{number}"
        layers = [layer for layer, _ in unit.shortcut.named_children()]
        for theirs_at, layer in enumerate(layers[-6:], 1):
            yield f"{name}.shortcut.{layer}", f"{there}.downsample.{theirs_at}"
    yield "fc", "fc"


def _shortcut_kernel(source: _Source, name: str, like: Tensor, experts: int) -> Tensor:
    """Expert 0 with its alpha folded in; what is there without being used goes."""
    out_channels, in_channels = like.shape[:2]
    weight = source.take(f"{name}.weight", like.expand(experts, *like.shape))
    alpha = source.take(f"{name}.alpha2", like.new_empty(1, out_channels, 1, 1))
    source.take(f"{name}.fc.weight", like.new_empty(experts, in_channels))
    source.take(f"{name}.fc.bias", like.new_empty(experts))
    return weight[0] * alpha.view(-1, 1, 1, 1)


def _read(path: Path) -> dict[str, Any]:
    """{key: tensor}, without wrapper and prefix."""
    if not path.is_file():
        raise InputError(path, "does not exist", "Give the authors' checkpoint.")
    content: object
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except OSError as error:
        raise InputError(
            path, f"cannot be read ({error.strerror or error})", "Give a readable file."
        ) from error
    except SafetensorError as error:
        raise InputError(path, f"is truncated or altered ({error})", "Get it again.") from error
    except Exception as error:  # a damaged or foreign pickle raises nearly anything
        raise InputError(
            path,
            f"is damaged or holds more than tensors ({type(error).__name__})",
            "Get it again, or save its state dict alone: only tensors are ever read.",
        ) from error
    if isinstance(content, dict) and "state_dict" in content:
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(path, "holds no state dict", _REMEDY)
    if content and all(key.startswith("module.") for key in content):
        content = {key.removeprefix("module."): value for key, value in content.items()}
    return content


def _names(path: Path, count: int) -> list[str]:
    try:
        names = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(
            path, f"cannot be read ({reason})", "Give a text file, a class name per line."
        ) from error
    names = [name.strip() for name in names]
    if len(names) != count or not all(names):
        raise InputError(
            path,
            f"has {sum(map(bool, names))} names in {len(names)} lines for {count} classes",
            "Write one name per line, in the order of the logits.",
        )
    return names
