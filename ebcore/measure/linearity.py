"""How linear a network's binary convolutions are, and how far their operands are from binary.

FTBNN's claim: the smaller the quantization error, the more linear the binarized convolution. The
paper's own measure is not known; this one is ours (docs/ftbnn.md).

Linearity of a layer: x is what enters its sign, y what its convolution makes (alpha included). Each
output channel of y is predicted from the real-valued patch of x that it covers, zero padding
included, by least squares with an intercept. R2 is the share of y's variance that this explains on
images it was not fitted on, all channels together:

    R2 = 1 - sum over channels, positions (y - prediction)^2 / sum (y - channel mean)^2

Fitting takes moments of patches in float64: with D = I / groups * K^2 taps and n positions, n * D^2
multiplications and 8 * groups * D^2 bytes a layer, then D^3 / 3 multiplications. n should be ten
times D or more: with fewer, noise is fitted, which lowers R2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ebcore.binarize import hard_sign
from ebcore.errors import InputError
from ebcore.layers import BinaryConv2d
from ebcore.models.binarization import binary_convs

RIDGE = 1e-6  # of the taps' mean variance: for taps that never change, no more

Seen = Callable[[str, BinaryConv2d, Tensor, Tensor], None]


@dataclass(frozen=True)
class LayerLinearity:
    """One binary convolution.

    Attributes:
        name: as in `model.named_modules()`.
        r2: share of the output's variance that a linear map of the input explains on held-out
            images: 1 is linear, 0 is nothing; below 0 where too few positions were fitted; NaN
            where the output never changes.
        input_error: |x - s sign(x)| / |x| on those images, with the best s for the layer, mean |x|.
        weight_error: |w - s sign(w)| / |w| with the best s per output channel, mean |w|.
        taps: D, what an output depends on.
        positions: n, how many outputs per channel were fitted.
    """

    name: str
    r2: float
    input_error: float
    weight_error: float
    taps: int
    positions: int


def linearity(
    model: nn.Module,
    fit: Iterable[Tensor],
    score: Iterable[Tensor],
    *,
    positions: int = 32,
    seed: int = 0,
) -> list[LayerLinearity]:
    """Measures every binary convolution of a model in eval mode; the model is left as it was.

    Args:
        fit: batches of images [B, C, H, W] that the linear maps are fitted on.
        score: batches of other images, for R2 and the input errors.
        positions: of each image and layer, drawn anew for each batch; all where there are fewer.
        seed: of that draw.

    Raises:
        InputError: no images, or values that are not finite.
    """
    moments: dict[str, _Moments] = {}
    scores: dict[str, _Scores] = {}
    draw = torch.Generator().manual_seed(seed)

    def add(name: str, conv: BinaryConv2d, x: Tensor, y: Tensor) -> None:
        moments.setdefault(name, _Moments()).add(*_samples(conv, x, y, positions, draw))

    def judge(name: str, conv: BinaryConv2d, x: Tensor, y: Tensor) -> None:
        if name not in scores:
            scores[name] = _Scores(*moments[name].solve())
        scores[name].add(x, *_samples(conv, x, y, positions, draw))

    _run(model, fit, add, "fit")
    _run(model, score, judge, "score")
    return [
        LayerLinearity(
            name,
            scores[name].r2,
            scores[name].input_error,
            quantization_error(conv.weight.detach().flatten(2)),
            conv.weight[0, 0].numel(),
            moments[name].count,
        )
        for name, conv in binary_convs(model).items()
        if name in scores
    ]


def quantization_error(values: Tensor) -> float:
    """|v - s sign(v)| / |v| of all of `values` [..., n], with the best s for each of its rows.

    The best s is mean |v| (XNOR-Net section 3.1); 0 for values of one size, sqrt(1 - 2 / pi) for
    Gaussian ones. 0 where all values are 0.
    """
    v = values.double()
    left = v - v.abs().mean(-1, keepdim=True) * hard_sign(v)
    return _root_share(float(left.square().sum()), float(v.square().sum()))


def _root_share(part: float, whole: float) -> float:
    return math.sqrt(max(0.0, part) / whole) if whole else 0.0


class _Moments:
    """Sums over samples of z = (patch, 1): z z' [G, D + 1, D + 1] and z y' [G, D + 1, O / G]."""

    def __init__(self) -> None:
        self.zz: Tensor | float = 0.0
        self.zy: Tensor | float = 0.0
        self.count = 0

    def add(self, patches: Tensor, y: Tensor) -> None:
        z = F.pad(patches, (0, 1), value=1.0)
        self.zz = self.zz + z.mT @ z
        self.zy = self.zy + z.mT @ y
        self.count += z.shape[1]

    def solve(self) -> tuple[Tensor, Tensor]:
        """Coefficients [G, D, O / G] and intercepts [G, 1, O / G] of least squares."""
        assert isinstance(self.zz, Tensor) and isinstance(self.zy, Tensor)
        mean_x, mean_y = self.zz[:, :-1, -1:] / self.count, self.zy[:, -1:] / self.count
        covariance = self.zz[:, :-1, :-1] / self.count - mean_x @ mean_x.mT
        shared = self.zy[:, :-1] / self.count - mean_x @ mean_y
        variance = covariance.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-30)
        ridge = RIDGE * variance[:, None, None] * torch.eye(covariance.shape[1]).to(covariance)
        coefficients = torch.linalg.solve(covariance + ridge, shared)
        return coefficients, mean_y - mean_x.mT @ coefficients


class _Scores:
    """Errors of a linear map, and of the input's best binary form, summed over batches."""

    def __init__(self, coefficients: Tensor, intercepts: Tensor) -> None:
        self.coefficients, self.intercepts = coefficients, intercepts
        self.unexplained = 0.0
        self.y: Tensor | float = 0.0  # sums and squares of each channel
        self.y2: Tensor | float = 0.0
        self.samples = 0
        self.size = self.square = 0.0  # sums of |x| and x^2
        self.values = 0

    def add(self, x: Tensor, patches: Tensor, y: Tensor) -> None:
        left = y - patches @ self.coefficients - self.intercepts
        self.unexplained += float(left.square().sum())
        self.y, self.y2 = self.y + y.sum(1), self.y2 + y.square().sum(1)
        self.samples += y.shape[1]
        x = x.double()
        self.size += float(x.abs().sum())
        self.square += float(x.square().sum())
        self.values += x.numel()

    @property
    def r2(self) -> float:
        assert isinstance(self.y, Tensor) and isinstance(self.y2, Tensor)
        spread = self.y2 - self.y.square() / self.samples
        # What rounding leaves of a channel that never changes is no variance.
        variance = float(torch.where(spread > 1e-12 * self.y2, spread, 0).sum())
        return 1 - self.unexplained / variance if variance else math.nan

    @property
    def input_error(self) -> float:
        # min over s of |x - s sign(x)|^2 = |x|^2 - (sum |x|)^2 / n
        return _root_share(self.square - self.size**2 / self.values, self.square)


def _samples(
    conv: BinaryConv2d, x: Tensor, y: Tensor, positions: int, draw: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Patches [G, n, D] of x [B, I, H, W] and the outputs [G, n, O / G] of y [B, O, H', W']."""
    k, step, groups = conv.kernel_size, conv.stride, conv.groups
    height, width = y.shape[2:]
    chosen = torch.randperm(height * width, generator=draw)[:positions].to(x.device)
    rows, columns = chosen // width, chosen % width
    windows = F.pad(x, [conv.padding] * 4).unfold(2, k, step).unfold(3, k, step)
    patches = windows[:, :, rows, columns].double()  # [B, I, P, K, K]
    batch, channels, count = patches.shape[:3]
    patches = patches.view(batch, groups, channels // groups, count, k * k)
    patches = patches.permute(1, 0, 3, 2, 4).reshape(groups, batch * count, -1)
    outputs = y[:, :, rows, columns].double().view(batch, groups, -1, count)
    return patches, outputs.permute(1, 0, 3, 2).reshape(groups, batch * count, -1)


@contextmanager
def _watched(model: nn.Module, seen: Seen) -> Iterator[None]:
    """Eval mode, with `seen` called after every binary convolution; all undone at the end."""
    training = [module for module in model.modules() if module.training]

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            assert isinstance(module, BinaryConv2d)
            if not (inputs[0].isfinite().all() and output.isfinite().all()):
                raise InputError(f"layer {name}", "meets NaN or infinity", "Check the images.")
            seen(name, module, inputs[0], output)

        return after

    hooks = [conv.register_forward_hook(hook(name)) for name, conv in binary_convs(model).items()]
    model.eval()
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()
        for module in training:
            module.training = True


def _run(model: nn.Module, batches: Iterable[Tensor], seen: Seen, what: str) -> None:
    some = False
    with _watched(model, seen), torch.no_grad():
        for batch in batches:
            model(batch)
            some = True
    if not some:
        raise InputError(f"images to {what}", "there are none", "Give a batch or more.")
