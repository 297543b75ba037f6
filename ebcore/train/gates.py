"""What the gates of a network choose during training, counted without touching the training.

Legend: L layers with experts, N experts, B samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ebcore.layers.choices import expert_layers, usage_entropy
from ebcore.layers.gate import Gate


class GateTally:
    """Adds up each layer's choices over the forward passes of a network in one mode.

    Hooks keep the gates' logits of a pass; one batched computation on their device adds them, so
    that a step costs a few small operations and no wait for a GPU.

    Args:
        model: gets the hooks.
        training: count passes in training mode, else those in evaluation mode.
    """

    def __init__(self, model: nn.Module, *, training: bool) -> None:
        layers = expert_layers(model)
        self.layers = list(layers)
        self.experts = max((layer.experts for layer in layers.values()), default=1)
        self._training = training
        self._logits: list[Tensor] = []
        gates = [layer.gate for layer in layers.values()]
        self._temperature = gates[0].temperature if gates and gates[0] is not None else 1.0
        device = next(model.parameters()).device
        # Per layer: samples of each expert, then the sum of the samples' entropies in bits.
        self._sums = torch.zeros(len(gates), self.experts + 1, dtype=torch.float64, device=device)
        for gate in gates:
            assert isinstance(gate, Gate)
            gate.linear.register_forward_hook(self._keep)
        if gates:
            model.register_forward_hook(self._add)

    def take(self) -> list[float]:
        """The sums so far, L * (N + 1) numbers; waits for the device."""
        return self._sums.flatten().tolist()

    def put(self, sums: list[float]) -> None:
        """Goes on from sums that `take` gave; none start again."""
        self._sums.zero_()
        if sums:
            self._sums += self._sums.new_tensor(sums).view_as(self._sums)

    def use(self, sums: list[float]) -> GateUse:
        """What sums, also of several processes together, say."""
        rows = torch.tensor(sums, dtype=torch.float64).view(len(self.layers), self.experts + 1)
        return GateUse(self.layers, rows[:, :-1], rows[:, -1])

    def _keep(self, linear: nn.Module, inputs: object, logits: Tensor) -> None:
        if linear.training == self._training:
            self._logits.append(logits.detach())

    def _add(self, model: nn.Module, inputs: object, output: object) -> None:
        if not self._logits:
            return
        with torch.no_grad():
            logits = torch.stack(self._logits).float()  # [L, B, N]
            self._logits.clear()
            counts = F.one_hot(logits.argmax(2), self.experts).sum(1)  # [L, N]
            soft = (logits / self._temperature).log_softmax(2)
            bits = (soft.exp() * soft).sum((1, 2)) / -math.log(2)  # [L]
            self._sums += torch.cat([counts, bits[:, None]], 1)


@dataclass(frozen=True)
class GateUse:
    """Choices over an epoch.

    Attributes:
        layers: names of the layers with experts.
        counts: float64 [L, N], samples of each expert.
        bits: float64 [L], the sum over samples of the entropy of softmax(logits / temperature).
    """

    layers: list[str]
    counts: Tensor
    bits: Tensor

    def values(self, prefix: str) -> dict[str, float]:
        """Numbers for curves, three kinds per layer; entropies as a share of log2(N), so 0 to 1.

        `<prefix>/<layer>/expert_<k>`: share of the samples.
        `<prefix>/<layer>/usage_entropy`: of these shares. 1: all experts are used alike.
        `<prefix>/<layer>/choice_entropy`: mean over samples of that of the gate's softmax. 0: it
        is sure of each choice.
        """
        values: dict[str, float] = {}
        for layer, counts, bits in zip(self.layers, self.counts, self.bits, strict=True):
            key, seen, most = f"{prefix}/{layer}", float(counts.sum()), math.log2(len(counts))
            values |= {f"{key}/expert_{k}": float(c) / seen for k, c in enumerate(counts)}
            values[f"{key}/usage_entropy"] = usage_entropy(counts) / most
            values[f"{key}/choice_entropy"] = float(bits) / seen / most
        return values

    def idle(self, split: str) -> str:
        """Which experts no image of the split took, by layer; "" where each had one."""
        found = []
        for layer, counts in zip(self.layers, self.counts.tolist(), strict=True):
            if never := [str(k) for k, count in enumerate(counts) if not count]:
                found.append(f"{layer}: {', '.join(never)}")
        if not found:
            return ""
        return f"experts that no {split} image of this epoch took: {'; '.join(found)}"
