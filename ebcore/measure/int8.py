"""torch's own int8 on a CPU: static quantization, activations per tensor, weights per channel."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.fx.proxy import TraceError

ENGINES = ("x86", "onednn", "qnnpack")  # best first; the first that this machine has is used


class NoInt8(RuntimeError):
    """This torch or machine cannot run something in int8; the text says what."""


def engine() -> str:
    """The backend of quantized operators.

    Raises:
        NoInt8: none is there.
    """
    for name in ENGINES:
        if name in torch.backends.quantized.supported_engines:
            return name
    raise NoInt8("no quantized backend in this torch")


def quantize_network(model: nn.Module, example: Tensor) -> nn.Module:
    """A network of int8 operators with float input and output.

    Ranges come from the one `example` batch [B, C, H, W]: enough for times, not for accuracy.

    Raises:
        NoInt8: torch has no such quantization, or cannot quantize this network.
    """
    with _int8():
        from torch.ao.quantization import get_default_qconfig_mapping
        from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

        mapping = get_default_qconfig_mapping(torch.backends.quantized.engine)
        prepared = prepare_fx(copy.deepcopy(model).eval(), mapping, (example,))
        prepared(example)
        quantized: nn.Module = convert_fx(prepared)
        quantized(example)
    return quantized


def quantized_conv(conv: nn.Conv2d, x: Tensor) -> Callable[[], Tensor]:
    """A call of one int8 convolution on `x` [B, I, H, W], quantized already: int8 in, int8 out.

    Raises:
        NoInt8: torch cannot run this shape.
    """
    with _int8(), torch.no_grad():
        scales = conv.weight.abs().amax((1, 2, 3)).clamp(min=1e-6).double() / 127
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        packed = torch.ops.quantized.conv2d_prepack(
            torch.quantize_per_channel(conv.weight, scales, zeros, 0, torch.qint8),
            None,
            list(conv.stride),
            conv.padding,
            list(conv.dilation),
            conv.groups,
        )
        quantized = torch.quantize_per_tensor(x, *_range(x), torch.quint8)
        quantized = quantized.contiguous(memory_format=torch.channels_last)
        scale, zero = _range(conv(x))

        def call() -> Tensor:
            out: Tensor = torch.ops.quantized.conv2d(quantized, packed, scale, zero)
            return out

        call()
    return call


@contextmanager
def _int8() -> Iterator[None]:
    """Sets the engine and turns what torch raises for the impossible into `NoInt8`."""
    with warnings.catch_warnings():
        # torch.ao.quantization announces its end; torchao is the successor, a package of its own.
        warnings.simplefilter("ignore")
        try:
            torch.backends.quantized.engine = engine()
            yield
        except NoInt8:
            raise
        except (ImportError, AttributeError, RuntimeError, TraceError) as error:
            text = str(error).strip().splitlines()[0][:160]
            raise NoInt8(f"{type(error).__name__}: {text}") from error


def _range(values: Tensor) -> tuple[float, int]:
    """Scale and zero point of unsigned 8 bits that cover the values and 0."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    scale = max(high - low, 1e-6) / 255
    return scale, round(-low / scale)
