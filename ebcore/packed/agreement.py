"""Whether a packed network agrees with its PyTorch model.

Rule (a), layer by layer: each packed layer gets the reference's real-valued input. Its sign bits
equal the reference's but where |v| <= 1e-5 x rms(v); accumulators are exact; given equal bits and
expert, real outputs agree to 1e-5 of the layer's largest.
Rule (b), end to end: where an image's bits and experts are equal in all layers, logits agree to
1e-4 of its largest and top-1 agrees but at a tie. Every other image is listed with its first
differing layer, whose differing bits are near zero or whose gate is near a tie: one flipped sign
may change a whole image, in PyTorch against itself too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ebcore.layers import BinaryConv2d
from ebcore.packed.graph import Node
from ebcore.packed.model import LayerTrace, PackedModel

SIGN_TOLERANCE = 1e-5  # of the rms of the pre-sign value of an image's layer
GATE_TOLERANCE = 1e-5  # of the largest gate logit's size
OUTPUT_TOLERANCE = 1e-5  # of the layer's largest output
LOGIT_TOLERANCE = 1e-4  # of the image's largest logit
TOP1_SHARE = 1e-3  # of the images, at least one


@dataclass
class LayerAgreement:
    """Rule (a) for one layer: it alone, on the reference's real-valued input.

    Attributes:
        flips: sign bits that differ within the tolerance.
        ties: images whose expert differs at a tie of the gate.
        worst: largest output difference over the layer's largest output, equal bits and expert.
    """

    name: str
    flips: int = 0
    ties: int = 0
    worst: float = 0.0


@dataclass
class ListedImage:
    """Rule (b): an image whose bits or expert differ; `layer` is the first such layer."""

    index: int
    layer: str
    bits: int
    expert: bool
    top1_differs: bool


@dataclass
class Agreement:
    """What was compared and found. `ok` means that both rules hold.

    Attributes:
        violations: one line for each breach of a rule.
        reference_top1, packed_top1: predicted classes, int64 [images].
        reference_correct, packed_correct: correct predictions, None without labels.
    """

    images: int
    layers: list[LayerAgreement]
    listed: list[ListedImage] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    worst_logit: float = 0.0
    reference_top1: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    packed_top1: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    reference_correct: int | None = None
    packed_correct: int | None = None

    @property
    def ok(self) -> bool:
        """No rule is broken."""
        return not self.violations

    @property
    def listed_share(self) -> float:
        """Share of the images that are listed."""
        return len(self.listed) / max(1, self.images)

    @property
    def top1_changes(self) -> int:
        """Images with different predicted classes."""
        return int((self.reference_top1 != self.packed_top1).sum())

    @property
    def top1_difference(self) -> float | None:
        """Packed accuracy minus the reference's, None without labels."""
        if self.reference_correct is None or self.packed_correct is None:
            return None
        return (self.packed_correct - self.reference_correct) / max(1, self.images)


def agreement(
    model: nn.Module,
    packed: PackedModel,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    batch_size: int = 64,
) -> Agreement:
    """Compares a packed network with the model it was packed from.

    Args:
        images: float32 [B, C, H, W], normalised.
        labels: int64 [B]; with them the two accuracies are compared too.
        batch_size: images at a time; bounds memory, changes no result but rounding.
    """
    report = Agreement(0, [LayerAgreement(node.name) for node in _comparable(packed)])
    tops: list[tuple[Tensor, Tensor]] = []
    for batch in images.split(batch_size):
        with _recorded(model, packed) as seen, torch.no_grad():
            logits = model(batch)
        for layer, node in zip(report.layers, _comparable(packed), strict=True):
            if node.op == "binary_conv":
                _binary_layer(report, layer, node, packed, seen)
            else:
                _real_layer(report, layer, node, packed, seen)
        tops.append(_end_to_end(report, packed, batch, logits, seen))
        report.images += len(batch)
    report.reference_top1 = torch.cat([reference for reference, _ in tops])
    report.packed_top1 = torch.cat([own for _, own in tops])
    if labels is not None:
        _compare_accuracy(report, labels)
    return report


def _compare_accuracy(report: Agreement, labels: Tensor) -> None:
    report.reference_correct = int((report.reference_top1 == labels).sum())
    report.packed_correct = int((report.packed_top1 == labels).sum())
    allowed = max(1.0, TOP1_SHARE * report.images)
    if abs(report.reference_correct - report.packed_correct) > allowed:
        report.violations.append(
            f"top-1: {report.packed_correct} correct, reference {report.reference_correct}, "
            f"allowed difference {allowed:g}"
        )


@dataclass
class _Seen:
    """What the reference computed: module inputs, outputs, and the binary convolutions."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    convs: dict[str, BinaryConv2d]

    def expert(self, name: str) -> Tensor:
        expert = self.convs[name].last_expert
        assert expert is not None
        return expert

    def tied(self, name: str) -> Tensor:
        """Images [B] whose two best gate logits lie within the tolerance."""
        conv, v = self.convs[name], self.inputs[name]
        if conv.gate is None:
            return torch.zeros(len(v), dtype=torch.bool)
        with torch.no_grad():
            logits = conv.gate.linear(v.mean((2, 3)))
        best = logits.topk(2, 1).values
        return best[:, 0] - best[:, 1] <= GATE_TOLERANCE * logits.abs().amax(1)

    def near_zero(self, name: str) -> Tensor:
        """Pre-sign values [B, I, H, W] small enough for their sign to be open."""
        v = self.inputs[name]
        return v.abs() <= SIGN_TOLERANCE * v.square().mean((1, 2, 3), keepdim=True).sqrt()


@contextmanager
def _recorded(model: nn.Module, packed: PackedModel) -> Iterator[_Seen]:
    """Runs the model in eval mode with everything needed kept; restores it afterwards."""
    modules = dict(model.named_modules())
    nodes = _comparable(packed)
    enter = {n.source["enter"] for n in nodes} | {n.name for n in nodes if n.op == "binary_conv"}
    leave = {n.source[key] for n in nodes for key in ("leave", "residual") if key in n.source}
    convs = {n.name: modules[n.name] for n in nodes if n.op == "binary_conv"}
    seen = _Seen({}, {}, {k: m for k, m in convs.items() if isinstance(m, BinaryConv2d)})

    def keep_input(name: str, args: tuple[Tensor, ...]) -> None:
        seen.inputs[name] = args[0].detach().cpu()

    def keep_output(name: str, out: Tensor) -> None:
        seen.outputs[name] = out.detach().cpu()

    hooks = [
        modules[name].register_forward_pre_hook(lambda _, args, name=name: keep_input(name, args))
        for name in enter
    ] + [
        modules[name].register_forward_hook(lambda _, __, out, name=name: keep_output(name, out))
        for name in leave
    ]
    training = [module for module in model.modules() if module.training]
    records = {conv: conv.record for conv in seen.convs.values()}
    model.eval()
    for conv in records:
        conv.record = True
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
        for module in training:
            module.training = True
        for conv, record in records.items():
            conv.record = record


def _comparable(packed: PackedModel) -> list[Node]:
    """Nodes that stand for whole modules (a bare addition or concatenation does not)."""
    return [node for node in packed.graph.nodes if "enter" in node.source]


def _binary_layer(
    report: Agreement, layer: LayerAgreement, node: Node, packed: PackedModel, seen: _Seen
) -> None:
    name, source = node.name, node.source
    residual = seen.outputs[source["residual"]] if "residual" in source else None
    out, trace = packed.run_layer(name, seen.inputs[source["enter"]], residual)
    assert trace is not None
    differ = trace.bits != (seen.inputs[name] >= 0)
    wrong = int((differ & ~seen.near_zero(name)).sum())
    other = trace.expert != seen.expert(name)
    astray = int((other & ~seen.tied(name)).sum())
    layer.flips += int(differ.sum())
    layer.ties += int(other.sum())
    inexact = int((trace.accumulators != _accumulators(seen.convs[name], trace)).sum())
    same = ~(differ.flatten(1).any(1) | other)
    worst = _relative(out[same], seen.outputs[source["leave"]][same])
    layer.worst = max(layer.worst, worst)
    for count, what in (
        (wrong, "sign bits differ away from zero"),
        (astray, "experts differ away from a tie"),
        (inexact, "accumulators are not exact"),
    ):
        if count:
            report.violations.append(f"layer {name}: {count} {what}")
    _check_output(report, name, worst)


def _real_layer(
    report: Agreement, layer: LayerAgreement, node: Node, packed: PackedModel, seen: _Seen
) -> None:
    x = seen.inputs[node.source["enter"]]
    out, _ = packed.run_layer(node.name, x if x.ndim == 4 else x[:, :, None, None])
    expected = seen.outputs[node.source["leave"]]
    worst = _relative(out.view_as(expected), expected)
    layer.worst = max(layer.worst, worst)
    _check_output(report, node.name, worst)


def _check_output(report: Agreement, name: str, worst: float) -> None:
    if not worst <= OUTPUT_TOLERANCE:
        report.violations.append(f"layer {name}: outputs differ by {worst:.1e} of its maximum")


def _relative(out: Tensor, expected: Tensor) -> float:
    if not out.numel():
        return 0.0
    worst = float((out - expected).abs().max())
    return worst / max(float(expected.abs().max()), torch.finfo(torch.float32).tiny)


def _accumulators(conv: BinaryConv2d, trace: LayerTrace) -> Tensor:
    """The exact convolution of the packed layer's own bits with its own expert, int32."""
    signs = trace.bits.float() * 2 - 1
    kernels = conv.signs().cpu()
    out = torch.empty(trace.accumulators.shape)
    for expert in trace.expert.unique():
        rows = trace.expert == expert
        out[rows] = F.conv2d(
            signs[rows], kernels[expert], None, conv.stride, conv.padding, 1, conv.groups
        )
    return out.int()


def _end_to_end(
    report: Agreement, packed: PackedModel, batch: Tensor, expected: Tensor, seen: _Seen
) -> tuple[Tensor, Tensor]:
    trace = packed.trace(batch.cpu())
    expected = expected.cpu()
    listed = torch.zeros(len(batch), dtype=torch.bool)
    tops = expected.argmax(1), trace.logits.argmax(1)
    for name, layer in trace.layers.items():
        differ = layer.bits != (seen.inputs[name] >= 0)
        other = layer.expert != seen.expert(name)
        fresh = (differ.flatten(1).any(1) | other) & ~listed
        listed |= fresh
        open_bits, tied = seen.near_zero(name), seen.tied(name)
        for i in fresh.nonzero().flatten().tolist():
            index = report.images + i
            bits, expert = int(differ[i].sum()), bool(other[i])
            changed = bool(tops[0][i] != tops[1][i])
            report.listed.append(ListedImage(index, name, bits, expert, changed))
            if (differ[i] & ~open_bits[i]).any() or (expert and not tied[i]):
                what = "sign bits away from zero" if bits else "experts away from a tie"
                report.violations.append(f"image {index}: {what} differ first in layer {name}")
    _check_logits(report, trace.logits, expected, ~listed)
    return tops


def _check_logits(report: Agreement, logits: Tensor, expected: Tensor, same: Tensor) -> None:
    limit = LOGIT_TOLERANCE * expected.abs().amax(1)
    worst = (logits - expected).abs().amax(1)
    best = expected.topk(min(2, expected.shape[1]), 1).values
    clear = best[:, 0] - best[:, -1] > limit
    moved = logits.argmax(1) != expected.argmax(1)
    for i in (same & ~(worst <= limit)).nonzero().flatten().tolist():
        report.violations.append(f"image {report.images + i}: logits differ by {worst[i]:.1e}")
    for i in (same & moved & clear).nonzero().flatten().tolist():
        report.violations.append(f"image {report.images + i}: top-1 differs without a tie")
    if same.any():
        share = worst[same] / expected[same].abs().amax(1).clamp_min(1e-30)
        report.worst_logit = max(report.worst_logit, float(share.max()))
