"""ONNX models of a case: fp32, and int8 by quantize and dequantize nodes (QDQ) with fixed ranges.

Int8 is static: activations unsigned 8 bits per tensor, weights signed 8 bits per channel. Ranges
come from one random input: enough for times, not for accuracy.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ebcore.measure.cases import Array, Convolution, Network
from ebcore.measure.peers.peer import Arithmetic, Unsupported

_OPSET, _IR_VERSION = 17, 8  # what every runtime of the last years reads
INPUT, OUTPUT = "x", "y"


def network_file(case: Network, arithmetic: Arithmetic) -> Path:
    """The file that `write_network` made.

    Raises:
        Unsupported: it could not be made; the text says why.
    """
    path = Path(case.onnx) / f"{arithmetic}.onnx"
    if not case.onnx or not path.is_file():
        reason = Path(case.onnx) / "reason" if case.onnx else None
        raise Unsupported(reason.read_text() if reason and reason.is_file() else "no ONNX file")
    return path


def write_network(case: Network, folder: Path) -> Network:
    """Writes the real network's fp32.onnx and int8.onnx; returns the case that knows where.

    What cannot be made is left out, with the reason in the folder.
    """
    try:
        _export(case, folder / "fp32.onnx")
        _quantize(folder / "fp32.onnx", folder / "int8.onnx", case.input())
    except Exception as error:  # exporters raise whatever they like
        text = str(error).strip().splitlines() or [""]
        (folder / "reason").write_text(f"no ONNX file: {type(error).__name__}: {text[0][:160]}")
    return replace(case, onnx=str(folder))


def _export(case: Network, path: Path) -> None:
    import onnxruntime as ort
    import torch

    raw = path.with_suffix(".raw")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter without extra packages is the old one
        torch.onnx.export(
            case.real(),
            (torch.from_numpy(case.input()),),
            str(raw),
            dynamo=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=_OPSET,
        )
    # Folds BatchNorm and unshares initializers, without which the quantizer leaves layers real.
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    ort.InferenceSession(str(raw), options, providers=["CPUExecutionProvider"])
    raw.unlink()


def _quantize(real: Path, out: Path, x: Array) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class OneInput(CalibrationDataReader):
        def __init__(self) -> None:
            self.inputs = iter([{INPUT: x}])

        def get_next(self) -> dict[str, Any] | None:
            return next(self.inputs, None)

    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)  # advises a step that `_export` has done
    try:
        quantize_static(
            str(real),
            str(out),
            OneInput(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        logger.setLevel(before)


def convolution_model(case: Convolution, arithmetic: Arithmetic) -> bytes:
    """One real convolution: float32 to float32, or uint8 to uint8 without zero points."""
    from onnx import TensorProto, helper, numpy_helper

    out = (case.batch_size, case.outputs, *case.output_size)
    shape = (case.outputs, case.inputs // case.groups, case.kernel, case.kernel)
    weight = np.random.default_rng(1).standard_normal(shape, np.float32)
    attributes: dict[str, Any] = {
        "kernel_shape": [case.kernel] * 2,
        "strides": [case.stride] * 2,
        "pads": [case.padding] * 4,
        "group": case.groups,
    }
    if arithmetic == "fp32":
        constants = {"w": weight}
        nodes = [helper.make_node("Conv", [INPUT, "w"], [OUTPUT], **attributes)]
        kind = TensorProto.FLOAT
    else:
        scale = np.abs(weight).max((1, 2, 3)) / 127
        constants = {
            "w": np.round(weight / scale[:, None, None, None]).astype(np.int8),
            "w_scale": scale,
            "w_zero": np.zeros(case.outputs, np.int8),
            "scale": np.array(0.05, np.float32),
            "zero": np.array(0, np.uint8),
        }
        nodes = [
            helper.make_node("DequantizeLinear", [INPUT, "scale", "zero"], ["x_real"]),
            helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["w_real"], axis=0),
            helper.make_node("Conv", ["x_real", "w_real"], ["y_real"], **attributes),
            helper.make_node("QuantizeLinear", ["y_real", "scale", "zero"], [OUTPUT]),
        ]
        kind = TensorProto.UINT8
    graph = helper.make_graph(
        nodes,
        "convolution",
        [helper.make_tensor_value_info(INPUT, kind, case.input_shape)],
        [helper.make_tensor_value_info(OUTPUT, kind, out)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = helper.make_opsetid("", _OPSET)
    content: bytes = helper.make_model(
        graph, opset_imports=[opset], ir_version=_IR_VERSION
    ).SerializeToString()
    return content


def convolution_input(case: Convolution, arithmetic: Arithmetic) -> Array:
    """What `convolution_model` takes."""
    x = case.input()
    return x if arithmetic == "fp32" else np.clip(x * 60, 0, 255).astype(np.uint8)
