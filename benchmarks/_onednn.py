"""oneDNN's prepacked fp32 convolution held to AVX2, against the packed layer on AVX2, one thread.

oneDNN reads ONEDNN_MAX_CPU_ISA when it is loaded, so this runs in a process of its own: real values
in, real values out on both sides, interleaved, the best of many short samples.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import torch

ISA = "AVX2"


def measure_in_child(layers: int) -> list[dict[str, float]]:
    """`onednn_fp32_ms` and `onednn_speedup` for each of the first `layers` of LAYERS."""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": ISA}
    command = [sys.executable, "-m", "benchmarks._onednn", str(layers)]
    child = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    rows: list[dict[str, float]] = json.loads(child.stdout)
    return rows


def _main(layers: int) -> None:
    from benchmarks.kernels import LAYER, LAYERS, ROUNDS, SAMPLE_SECONDS, graph
    from ebcore.packed.native import NativeModel, Part

    assert os.environ.get("ONEDNN_MAX_CPU_ISA") == ISA
    torch.set_num_threads(1)
    rows = []
    for layer in LAYERS[:layers]:
        image = torch.randn(1, layer.inputs, layer.size, layer.size)
        x = image.contiguous(memory_format=torch.channels_last)
        geometry = [[layer.kernel // 2] * 2, [layer.stride] * 2, [1, 1], layer.groups]
        weight = torch.randn(
            layer.outputs, layer.inputs // layer.groups, layer.kernel, layer.kernel
        )
        packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *geometry, list(x.shape))
        bias = torch.zeros(layer.outputs)

        def onednn(x=x, packed=packed, bias=bias, geometry=geometry) -> None:  # type: ignore[no-untyped-def]
            torch.ops.mkldnn._convolution_pointwise(x, packed, bias, *geometry, "none", [], "")

        def seconds(calls: int, run=onednn) -> float:  # type: ignore[no-untyped-def]
            begin = time.perf_counter()
            for _ in range(calls):
                run()
            return (time.perf_counter() - begin) / calls

        model, pointer = NativeModel(graph(layer), "avx2"), image.data_ptr()
        once = min(model.time(LAYER, Part.END_TO_END, pointer, repeats=5))
        inner = max(1, int(SAMPLE_SECONDS / once))
        calls = max(1, int(SAMPLE_SECONDS / min(seconds(1) for _ in range(5))))
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours += model.time(LAYER, Part.END_TO_END, pointer, inner=inner)
            theirs.append(seconds(calls))
        rows.append(
            {"onednn_fp32_ms": 1e3 * min(theirs), "onednn_speedup": min(theirs) / min(ours)}
        )
    print(json.dumps(rows))


if __name__ == "__main__":
    with torch.inference_mode():
        _main(int(sys.argv[1]))
