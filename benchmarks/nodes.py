"""Where does the time of a whole packed network go?

Times every node of Bi-Real-18 and 1262-2-4:8:8:16 (4 experts) at 224 x 224 as it runs in its
network, over and over, so with its data in the caches; and the whole network, one image after the
other. What the whole takes beyond the sum of its nodes is data that must come from further away.
One thread, medians; writes results/nodes.csv.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ebcore.errors import exit_on_input_error
from ebcore.measure.cases import Network
from ebcore.measure.machine import machine
from ebcore.measure.rows import MACHINE_COLUMNS, write_rows
from ebcore.measure.timing import pinned
from ebcore.packed import pack
from ebcore.packed.native import NativeModel, Part

RESULT = Path("results/nodes.csv")
SIZE, REPEATS, WHOLE = 224, 15, "whole network"
NETWORKS: tuple[dict[str, Any], ...] = (
    {"spec": "bi-real-18"},
    {"spec": "1262-2-4:8:8:16", "experts": 4},
)
COLUMNS = ("network", "node", "kind", "output", "ms", "packed_isa", *MACHINE_COLUMNS)


def measure(network: Network) -> list[dict[str, Any]]:
    """A row per node, then one for the whole."""
    packed = pack(network.binary(), (3, network.height, network.width))
    native, x = NativeModel(packed.graph, packed.isa), network.input()
    out = np.empty((1, *native.shape(len(packed.graph.nodes))), np.float32)
    rows = []
    for i, node in enumerate(packed.graph.nodes):
        shape = native.shape(i + 1)
        kind = node.op
        if kind in ("conv", "binary_conv"):
            kind += f" {node.attrs['kernel']}x{node.attrs['kernel']}"
        times = native.time(i, Part.IN_NETWORK, x.ctypes.data, repeats=REPEATS, inner=5)
        ms = 1e3 * statistics.median(times)
        rows.append(
            {"node": node.name, "kind": kind, "output": "x".join(map(str, shape)), "ms": ms}
        )
    times = []
    for _ in range(10 * REPEATS):
        begin = time.perf_counter()
        native.run(x.ctypes.data, 1, out.ctypes.data, 1, None)
        times.append(time.perf_counter() - begin)
    rows.append({"node": WHOLE, "kind": WHOLE, "ms": 1e3 * statistics.median(times)})
    return [{"network": network.name, "packed_isa": packed.isa, **row} for row in rows]


def main() -> None:
    about, rows = machine(), []
    for config in NETWORKS:
        with pinned(1):
            found = measure(Network(config, SIZE, SIZE))
        kinds: Counter[str] = Counter()
        for row in found:
            kinds[row["kind"]] += row["ms"]
        whole = kinds.pop(WHOLE)
        print(f"{found[0]['network']}: {whole:.3f} ms")
        for kind, ms in kinds.most_common():
            print(f"  {kind:<18}{ms:7.3f} ms  {ms / whole:5.0%}")
        print(f"  {'beyond the nodes':<18}{whole - kinds.total():7.3f} ms")
        rows += [{**row, **about} for row in found]
    write_rows(RESULT, COLUMNS, rows)
    print(f"{len(rows)} rows in {RESULT}")


if __name__ == "__main__":
    with exit_on_input_error():
        main()
