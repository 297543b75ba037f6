"""How much faster is a packed network than the real-valued one by its peers?

Full size, 224 x 224, one image, on one and two threads: Bi-Real-18 and 1262-2-4:8:8:16 with 4
experts and with 1, against ResNet-18 by every peer and Bi-Real-18 by OpenVINO's binary operator, in
one interleaved run. Then every packed file of the pipeline against its real-valued twin, whole and
layer by layer. Writes results/network.csv, a row per network and candidate.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.targets import TARGET_COLUMNS, mark_network
from ebcore.errors import exit_on_input_error
from ebcore.measure.benchmark import (
    STAGE_LAYER_PEERS,
    Group,
    benchmark,
    contest_of,
    measure,
    with_onnx,
)
from ebcore.measure.cases import Network
from ebcore.measure.machine import available_cores, machine
from ebcore.measure.peers import PACKED, PACKED_BF16, candidates
from ebcore.measure.rows import COLUMNS, NETWORK, write_rows
from ebcore.params import load_params
from ebcore.tables import benchmark_tables, show
from ebcore.workspace import packed_file

RESULT = Path("results/network.csv")
SIZE = 224
PACKED_NETWORKS: tuple[dict[str, Any], ...] = (
    {"spec": "bi-real-18"},
    {"spec": "1262-2-4:8:8:16", "experts": 4},
    {"spec": "1262-2-4:8:8:16", "experts": 1},
)
PEER_BINARY = "openvino_binary"  # runs the first of these, the others have groups


def full_size(
    threads: int, *, size: int = SIZE, repeats: int, min_seconds: float, quick: bool = False
) -> list[dict[str, Any]]:
    """Rows of the packed networks and of the peers' ResNet-18."""
    names = candidates(machine()["isa"], quick=quick)
    with tempfile.TemporaryDirectory() as folder, contest_of(names, threads) as contest:
        for name, reason in contest.absent.items():
            print(f"{name} is left out: {reason}")
        present = [name for name in names if name not in contest.absent]
        binary = [Network(config, size, size) for config in PACKED_NETWORKS]
        real = with_onnx(Network(None, size, size), present, contest, Path(folder))
        own = [name for name in (PACKED, PACKED_BF16) if name in present]
        entries = [(name, network) for name in own for network in binary]
        entries += [
            (name, binary[0] if name == PEER_BINARY else real)
            for name in present
            if name not in (PACKED, PACKED_BF16, "onednn_fp32", "ncnn_fp32")  # single layers only
        ]
        group = Group(f"full size {size}x{size}", NETWORK, entries)
        rows = list(measure([group], contest, repeats=repeats, min_seconds=min_seconds))
    mark_network(rows)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--min-seconds", type=float, default=0.01)
    parser.add_argument("--quick", action="store_true", help="without those long to prepare")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    rows = []
    for threads in (count for count in arguments.threads if count <= available_cores()):
        measured = full_size(
            threads,
            repeats=arguments.repeats,
            min_seconds=arguments.min_seconds,
            quick=arguments.quick,
        )
        for table in benchmark_tables(measured):
            show(table)
        rows += [{"profile": "", **row} for row in measured]
    params = load_params()
    for experts in params.experts:
        path = packed_file(experts)
        if not path.is_file():
            print(f"{path} does not exist and is left out; `dvc repro pack@{experts}` makes it")
            continue
        settings = params.benchmark.model_dump()
        measured = benchmark(path, layer_names=STAGE_LAYER_PEERS, **settings)
        for table in benchmark_tables(measured):
            show(table)
        rows += [{"profile": params.profile, **row} for row in measured]
    write_rows(arguments.out, ("profile", *COLUMNS, *TARGET_COLUMNS), rows)
    print(f"{len(rows)} rows in {arguments.out}")


if __name__ == "__main__":
    with exit_on_input_error():
        main()
