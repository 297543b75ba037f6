"""OpenVINO's binary convolution, which no converter reaches: graphs built by hand.

The one form that computes right: opset1's fake_quantize to the levels 0 and 1 (a graph with -1 and
+1 compiles and is wrong), weights as u1 with the first bit lowest, memory kept alive by the caller,
`xnor-popcount`, padding value 0. It takes a value of exactly 0 for -1 where this project says +1.
There are no groups and no experts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ebcore.measure.cases import Array, Case, Convolution
from ebcore.measure.peers.openvino_real import channels_last, compiled
from ebcore.measure.peers.peer import Peer, Unsupported
from ebcore.measure.timing import Call

if TYPE_CHECKING:
    from torch import nn


class OpenVinoBinary(Peer):
    title = "OpenVINO binary"
    arithmetic = "binary"
    packages = ("openvino",)

    def prepare(self, case: Case, threads: int) -> Call:
        if isinstance(case, Convolution) and (case.groups > 1 or case.experts > 1 or case.se):
            raise Unsupported("no groups, experts or SE")
        if not isinstance(case, Convolution) and case.config is None:
            raise Unsupported("this network is real-valued")
        graph = BinaryGraph(case.input_shape)
        model, x = graph.model(case.binary()), case.input()
        if isinstance(case, Convolution):
            model, x = channels_last(model), np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        call = compiled(model, x, threads)
        return lambda: (call(), graph)


class BinaryGraph:
    """An OpenVINO model made from a PyTorch one in eval mode; must outlive what is compiled of it.

    Args:
        input_shape: [B, C, H, W].
    """

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        from openvino import Type, opset1

        self.ops: Any = opset1
        self.input = opset1.parameter(list(input_shape), Type.f32)
        self._kept: list[Array] = []

    def model(self, module: nn.Module) -> Any:
        """The whole module as an `openvino.Model`.

        Raises:
            Unsupported: a layer that OpenVINO's binary operator or this builder does not have.
        """
        import openvino as ov

        return ov.Model([self.emit(module, self.input)], [self.input], "binary")

    def emit(self, module: nn.Module, x: Any) -> Any:
        """The module's output for the node `x`."""
        import torch
        from torch import nn

        from ebcore.layers import BinaryConv2d, ConvUnit
        from ebcore.models import EBResNet

        ops = self.ops
        match module:
            case EBResNet():
                for part in (module.stem, *module.stages):
                    x = self.emit(part, x)
                x = ops.reduce_mean(x, ops.constant(np.array([2, 3])), False)
                x = ops.matmul(x, self._constant(module.fc.weight), False, True)
                return ops.add(x, self._constant(module.fc.bias, (1, -1)))
            case ConvUnit():
                out = self.emit(module.conv, self.emit(module.norm, x))
                return ops.add(self.emit(module.activation, out), self.emit(module.shortcut, x))
            case nn.Sequential():
                for part in module:
                    x = self.emit(part, x)
                return x
            case nn.Identity():
                return x
            case BinaryConv2d():
                return self._binary(module, x)
            case nn.Conv2d(groups=1, bias=None):
                sides = [list(module.padding)] * 2
                weight = self._constant(module.weight)
                return ops.convolution(x, weight, list(module.stride), *sides, [1, 1])
            case nn.BatchNorm2d():
                assert module.running_mean is not None and module.running_var is not None
                scale = module.weight / torch.sqrt(module.running_var + module.eps)
                shift = module.bias - module.running_mean * scale
                x = ops.multiply(x, self._constant(scale, (1, -1, 1, 1)))
                return ops.add(x, self._constant(shift, (1, -1, 1, 1)))
            case nn.ReLU():
                return ops.relu(x)
            case nn.PReLU():
                return ops.prelu(x, self._constant(module.weight))
            case nn.MaxPool2d():
                size, step, pad = ([v] * 2 for v in _ints(module, "padding"))
                return ops.max_pool(x, step, pad, pad, size)
            case nn.AvgPool2d():
                size, step, _ = ([v] * 2 for v in _ints(module, "padding"))
                kind = "ceil" if module.ceil_mode else "floor"
                return ops.avg_pool(x, step, [0, 0], [0, 0], size, True, kind)
        raise Unsupported(f"no {type(module).__name__} in the hand-built graph")

    def _binary(self, module: Any, x: Any) -> Any:
        import openvino as ov

        if module.groups > 1 or module.experts > 1 or module.se is not None:
            raise Unsupported("no groups, experts or SE")
        ops = self.ops
        threshold = ops.constant(np.zeros((1, module.in_channels, 1, 1), np.float32))
        low, high = (ops.constant(np.full((1, 1, 1, 1), v, np.float32)) for v in (0, 1))
        bits = ops.fake_quantize(x, threshold, threshold, low, high, 2)
        signs = (module.weight[0].detach().numpy() >= 0).astype(np.uint8)
        self._kept.append(np.packbits(signs.reshape(-1), bitorder="little"))
        shape = ov.Shape(list(signs.shape))
        weight = ov.op.Constant(ov.Tensor(self._kept[-1], shape, ov.Type.u1))
        sides = [[module.padding] * 2] * 2
        step = [module.stride] * 2
        out = ops.binary_convolution(bits, weight, step, *sides, [1, 1], "xnor-popcount", 0.0)
        scale = module.output_scale()
        return out if scale is None else ops.multiply(out, self._constant(scale, (1, -1, 1, 1)))

    def _constant(self, values: Any, shape: tuple[int, ...] | None = None) -> Any:
        array = np.ascontiguousarray(values.detach().numpy())
        return self.ops.constant(array if shape is None else array.reshape(shape))


def _ints(module: Any, padding: str) -> tuple[int, int, int]:
    """Kernel, stride and padding of a square pooling layer."""
    values = (module.kernel_size, module.stride, getattr(module, padding))
    assert all(isinstance(value, int) for value in values), values
    return values
