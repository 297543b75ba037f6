"""EBConv: a binary convolution that holds N experts and picks one per sample (section 4.1)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ebcore.binarize import centred, hard_sign, mean_size, sign, xnor_kernel
from ebcore.layers.expert_conv import expert_conv2d
from ebcore.layers.gate import Gate
from ebcore.layers.se import SqueezeExcite


class BinaryConv2d(nn.Module):
    """sign(x) convolved with sign(theta_k), times alpha: drop-in for `nn.Conv2d` without bias.

    k is chosen per sample by a gate on the average-pooled real input (Eq. 2); alpha is one learned
    scale per output channel, shared by the experts (Eq. 1). Zero padding is applied after the sign
    and contributes 0. `binary_input` and `binary_weight` are state that a recipe sets; both start
    True.

    Args:
        in_channels: I.
        out_channels: O.
        kernel_size: K.
        stride: step in both directions, px.
        padding: zeros on each side, px.
        groups: G; I and O must be multiples of it.
        experts: N; with 1 there is no gate.
        se: scale the output by Real-to-Binary's data-driven factors (section 4.3 there).
        se_ratio: O / hidden width of that scale.
        gate: "softmax" or "sigmoid", the gate's backward activation.
        temperature: of the gate (Table 9).
        scale: alpha is "learned" (Eq. 1), the "mean" size of the kernel's weights (XNOR-Net's, for
            one expert; while weights are real there is none), "xnor" (the same with centred
            weights and the gradient of XNOR-Net's code, see `ebcore.binarize.xnor_kernel`), or
            "none".
        bias: one real value per output channel, added last.

    Raises:
        ValueError: channels are no multiple of groups, experts < 1, or a scale that is unknown or
            does not fit the number of experts or of channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        experts: int = 1,
        se: bool = False,
        se_ratio: int = 8,
        gate: str = "softmax",
        temperature: float = 1.0,
        scale: str = "learned",
        bias: bool = False,
    ) -> None:
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{in_channels} and {out_channels} channels cannot be split into {groups} groups; "
                "choose groups that divide both"
            )
        if experts < 1:
            raise ValueError(f"experts is {experts}; use 1 or more")
        one = ("mean", "xnor")
        if scale not in ("learned", "none", *one) or (scale in one and experts > 1):
            raise ValueError(
                f"scale {scale!r} with {experts} experts: use 'learned', 'none', or, with one "
                "expert, 'mean' or 'xnor'"
            )
        if scale == "xnor" and in_channels == groups:
            raise ValueError(
                "scale 'xnor' with one input channel a group: centring leaves 0; use 'mean'"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.groups, self.experts = groups, experts
        self.binary_input = True
        self.binary_weight = True
        shape = (experts, out_channels, in_channels // groups, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        self.scale = scale
        self.alpha: nn.Parameter | None = None
        if scale == "learned":
            self.alpha = nn.Parameter(torch.ones(out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.gate = Gate(in_channels, experts, gate, temperature) if experts > 1 else None
        self.se = SqueezeExcite(in_channels, out_channels, se_ratio) if se else None
        self.record = False
        self.last_expert: Tensor | None = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming-uniform per expert, as the authors' code."""
        for expert in self.weight:
            nn.init.kaiming_uniform_(expert, a=math.sqrt(5))
        if self.alpha is not None:
            nn.init.ones_(self.alpha)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def signs(self) -> Tensor:
        """The binary kernels, +1 and -1, [N, O, I / groups, K, K]; no gradient."""
        weight = self.weight.detach()
        return hard_sign(centred(weight[0])[None] if self.scale == "xnor" else weight)

    def output_scale(self) -> Tensor | None:
        """What multiplies the convolution of the signs, or of real weights, [O]; None is 1."""
        if not self.binary_weight:
            return self.alpha
        if self.scale == "mean":
            return mean_size(self.weight[0]).flatten()
        if self.scale == "xnor":
            return mean_size(centred(self.weight[0])).flatten()
        return self.alpha

    def forward(self, x: Tensor) -> Tensor:
        """`x` real [B, I, H, W] (a BatchNorm's output) -> [B, O, H', W']."""
        pooled = x.mean((2, 3)) if self.gate is not None or self.se is not None else None
        signed = sign(x) if self.binary_input else x
        out = self._convolve(signed, pooled)
        scale = None if self.scale == "xnor" else self.output_scale()  # part of its kernel
        if scale is not None:
            out = out * scale.view(-1, 1, 1)
        if self.se is not None:
            out = out * self.se(pooled)[:, :, None, None]
        return out if self.bias is None else out + self.bias.view(-1, 1, 1)

    def _convolve(self, x: Tensor, pooled: Tensor | None) -> Tensor:
        settings = self.stride, self.padding, self.groups
        if self.gate is None:
            if self.record:
                self.last_expert = x.new_zeros(len(x), dtype=torch.int64)
            return F.conv2d(x, self._kernel(), None, self.stride, self.padding, 1, self.groups)
        phi = self.gate(pooled)
        if self.record:
            self.last_expert = phi.detach().argmax(1)
        device, precision = x.device.type, x.dtype
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            # Custom operators are outside autocast's lists; weights keep their precision.
            precision = torch.get_autocast_dtype(device)
            # On CPUs the native kernels are float32's, and faster than others in bfloat16.
            x = x.to(torch.float32 if device == "cpu" else precision)
        out: Tensor = expert_conv2d(
            x, self.weight, phi.to(self.weight.dtype), self.binary_weight, *settings
        )
        return out.to(precision)

    def _kernel(self) -> Tensor:
        """The one expert's kernel with its gradient, [O, I / groups, K, K]."""
        weight = self.weight[0]
        if not self.binary_weight:
            return weight
        if self.scale != "xnor":
            return sign(weight)
        if not self.training:
            return xnor_kernel(centred(weight))
        with torch.no_grad():  # before every step, as released: the weights stay centred
            weight.copy_(centred(weight))
        return xnor_kernel(weight)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, groups={self.groups}, "
            f"experts={self.experts}, binary_input={self.binary_input}, "
            f"binary_weight={self.binary_weight}"
        )
