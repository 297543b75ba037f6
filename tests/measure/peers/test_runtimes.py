"""That the optional runtimes compute what they are timed on."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from ebcore.binarize import sign
from ebcore.measure.cases import Convolution, Network
from ebcore.measure.peers import PEERS, Unsupported
from ebcore.measure.peers.onnx_files import (
    convolution_input,
    convolution_model,
    network_file,
    write_network,
)
from ebcore.measure.peers.openvino_binary import BinaryGraph
from ebcore.models import resnet

LAYER = Convolution(32, 64, 7, 9, stride=2)


def run_openvino(model: object, x: np.ndarray) -> np.ndarray:
    import openvino as ov

    precision = {"INFERENCE_PRECISION_HINT": "f32"}
    return np.array(ov.Core().compile_model(model, "CPU", precision)(x)[0])


def signs_of(x: torch.Tensor) -> torch.Tensor:
    """As OpenVINO sees them: 0 is -1 there."""
    return torch.where(x > 0, 1.0, -1.0)


@pytest.mark.parametrize("kernel, padding, stride", [(3, 1, 1), (3, 1, 2), (1, 0, 1)])
def test_openvino_s_binary_convolution_is_the_convolution_of_the_signs(
    kernel: int, padding: int, stride: int
) -> None:
    pytest.importorskip("openvino")
    layer = Convolution(40, 24, 9, 9, kernel, stride, padding).binary()
    x = torch.randn(1, 40, 9, 9)
    x[0, 0, 0, 0] = 0
    graph = BinaryGraph(x.shape)
    out = run_openvino(graph.model(layer), x.numpy())
    weight = sign(layer.weight[0])
    expected = torch.conv2d(signs_of(x), weight, None, stride, padding)
    assert np.array_equal(out, expected.detach().numpy())


@pytest.mark.parametrize("name", ["bi-real-18", "strong-baseline-18"])
def test_openvino_s_whole_binary_network_is_pytorch_s(name: str) -> None:
    """A sign within rounding of 0 may differ, hence not to the last digit; else it is far off."""
    pytest.importorskip("openvino")
    torch.manual_seed(0)
    model = resnet(name, width=32, stem_width=32, num_classes=50).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    x = torch.randn(1, 3, 64, 64)
    graph = BinaryGraph(x.shape)
    out = run_openvino(graph.model(model), x.numpy())
    with torch.no_grad():
        expected = model(x).numpy()
    assert np.corrcoef(out[0], expected[0])[0, 1] > 0.99


def test_openvino_s_binary_operator_has_no_groups_and_no_experts() -> None:
    pytest.importorskip("openvino")
    config = {"spec": "1111-1-1:1:1:1", "stem": "small", "experts": 2}
    for case in (Convolution(64, 64, 4, 4, groups=2), Network(config, 32, 32)):
        with pytest.raises(Unsupported, match="no groups, experts or SE"):
            PEERS["openvino_binary"].prepare(case, 1)


@pytest.mark.parametrize("arithmetic, tolerance", [("fp32", 1e-4), ("int8", 0.02)])
def test_the_onnx_convolution_is_the_convolution(arithmetic: str, tolerance: float) -> None:
    """Against PyTorch on the same weights (read back); int8 within a step of its output."""
    ort, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    model = convolution_model(LAYER, arithmetic)  # type: ignore[arg-type]
    x = convolution_input(LAYER, arithmetic)  # type: ignore[arg-type]
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    out = session.run(None, {"x": x})[0].astype(np.float32)
    graph = onnx.load(io.BytesIO(model)).graph
    values = {t.name: onnx.numpy_helper.to_array(t).astype(np.float32) for t in graph.initializer}
    real, weight = torch.from_numpy(x.astype(np.float32)), torch.from_numpy(values["w"].copy())
    if arithmetic == "int8":
        weight = weight * torch.from_numpy(values["w_scale"].copy())[:, None, None, None]
    expected = torch.conv2d(real, weight, None, 2, 1).numpy()
    if arithmetic == "int8":
        expected = np.clip(expected, 0, 255)  # equal scales in and out cancel
        assert (expected > 0).mean() > 0.2, "ranges make sense"
    assert np.abs(out - expected).max() <= max(0.51, tolerance * np.abs(expected).max())


def test_networks_of_onnx_files_compute_the_real_network(tmp_path: Path) -> None:
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name)
    import onnxruntime as ort

    config = {"spec": "1111-1-1:1:1:1", "stem": "small", "width": 8, "stem_width": 8}
    case = write_network(Network({**config, "num_classes": 40}, 8, 8), tmp_path)
    with torch.no_grad():
        expected = case.real()(torch.from_numpy(case.input())).numpy()[0]
    for arithmetic, least in (("fp32", 0.9999), ("int8", 0.9)):
        file = network_file(case, arithmetic)  # type: ignore[arg-type]
        session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        out = session.run(None, {"x": case.input()})[0][0]
        assert np.corrcoef(out, expected)[0, 1] > least, arithmetic


def test_a_network_that_has_no_onnx_file_says_why(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    case = write_network(Network({"spec": "1111-1-1:1:1:1", "stem": "none"}, 8, 8), tmp_path)
    with pytest.raises(Unsupported, match=r"no ONNX file: .*stem 'none'"):
        network_file(case, "fp32")
