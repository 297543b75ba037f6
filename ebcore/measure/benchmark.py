"""Packed against its peers: one function for `ebcore bench`, the pipeline and `make bench`.

Each candidate runs in a process of its own, all pinned to the same cores, and all are asked in
turn, so that the machine's drift hits all alike; so are the machine's own limits. fp32 and int8
peers run the real-valued network of the same structure (`real_twin`), rebuilt from the packed
file's own description, so a packed file is all that is needed. A layer is one convolution: packed
from real values in to real values out (gate, sign, packing, convolution, scale), fp32 the plain
convolution, int8 from int8 in to int8 out.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebcore.errors import InputError
from ebcore.files import atomic_write
from ebcore.measure.cases import Network, Work, layers_of
from ebcore.measure.machine import available_cores, machine
from ebcore.measure.peers import PACKED, PACKED_BF16, candidates, peer
from ebcore.measure.peers.contest import Contest, Entry, Measured
from ebcore.measure.rows import COLUMNS, LAYER, NETWORK, write_rows
from ebcore.packed import PackedModel, isa, load
from ebcore.params import Params
from ebcore.workspace import curve_file, metrics_file, packed_file

# Beside the packed layer in the pipeline's stage, which is to take seconds.
STAGE_LAYER_PEERS = ("torch_fp32", "torch_int8")


@dataclass(frozen=True)
class Group:
    """What is measured in one interleaved run; its first entry is what speed-ups are of."""

    case: str
    kind: str
    entries: Sequence[Entry]
    layers: str = ""


def benchmark(
    packed: str | Path | PackedModel,
    *,
    threads: int = 1,
    batch_size: int = 1,
    repeats: int = 20,
    min_seconds: float = 0.01,
    names: Sequence[str] | None = None,
    layer_names: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Rows with the keys `COLUMNS`: the whole network first, then its binary layers by shape.

    Args:
        names: candidates beside the packed network; None for all that need no long preparation.
        layer_names: those of them that run the layers too; None for all.

    Times are milliseconds per call: median (`ms`) and quartiles (`low_ms`, `high_ms`) over
    `repeats` samples of at least `min_seconds`. What cannot run is None, with the reason in `note`.

    Raises:
        InputError: no packed file, a damaged one, or more threads than cores.
    """
    _check_threads(threads)
    model = packed if isinstance(packed, PackedModel) else load(packed)
    chosen = candidates(machine()["isa"], quick=True) if names is None else names
    everyone = list(dict.fromkeys((PACKED, *chosen)))
    _, height, width = model.input_shape
    with tempfile.TemporaryDirectory() as folder, Contest(everyone, threads) as contest:
        file = Path(folder) / "model.ebp"
        model.save(file)
        network = Network(model.metadata["model"], height, width, batch_size, str(file))
        network = with_onnx(network, everyone, contest, Path(folder))
        groups = [Group("network", NETWORK, [(name, network) for name in everyone])]
        for case, layers in layers_of(model, batch_size).items():
            beside = [name for name in everyone[1:] if peer(name).layers]
            beside = beside if layer_names is None else list(layer_names)
            entries = [(name, case) for name in (PACKED, *beside)]
            groups.append(Group(case.name, LAYER, entries, " ".join(layers)))
        return list(measure(groups, contest, repeats=repeats, min_seconds=min_seconds))


@contextmanager
def contest_of(names: Iterable[str], threads: int) -> Iterator[Contest]:
    """The processes of these candidates.

    Raises:
        InputError: more threads than cores.
    """
    _check_threads(threads)
    with Contest(names, threads) as contest:
        yield contest


def _check_threads(threads: int) -> None:
    if threads > available_cores():
        raise InputError(
            f"threads {threads}",
            f"this process may use {available_cores()} cores",
            "Use at most as many threads.",
        )


def with_onnx(network: Network, names: Iterable[str], contest: Contest, folder: Path) -> Network:
    """The network with ONNX files of its real form, where someone present reads those."""
    if not any(peer(name).reads_onnx and name not in contest.absent for name in names):
        return network
    from ebcore.measure.peers.onnx_files import write_network

    return write_network(network, folder)


def measure(
    groups: Iterable[Group], contest: Contest, *, repeats: int, min_seconds: float
) -> Iterator[dict[str, Any]]:
    """Rows of one group after the other."""
    about = {
        "threads": contest.threads,
        "repeats": repeats,
        "min_seconds": min_seconds,
        "pinned": " ".join(map(str, contest.cores)) or "no",
        "packed_isa": isa(),
        **machine(),
    }
    for group in groups:
        measured = contest.run(group.entries, repeats=repeats, min_seconds=min_seconds)
        for entry in group.entries:
            row = _row(group, entry, measured, contest)
            yield {**dict.fromkeys(COLUMNS), **row, **about}


def _row(group: Group, entry: Entry, measured: Measured, contest: Contest) -> dict[str, Any]:
    name, case = entry
    arithmetic = peer(name).arithmetic
    work = case.work(binary=arithmetic == "binary" and not _is_real(case))
    row: dict[str, Any] = {
        "case": group.case,
        "kind": group.kind,
        "network": case.name if isinstance(case, Network) else None,
        "layers": group.layers,
        "batch_size": case.batch_size,
        "candidate": name,
        "gmac": work.total / 1e9,
        "note": measured.reasons.get(entry, ""),
        "version": contest.versions.get(name, ""),
    }
    for kind in ("fp32", "int8", "binary"):
        rate = measured.limits.get(kind)
        row[f"{kind}_limit"] = rate and rate / 1e9
    timing = measured.times.get(entry)
    if timing is not None:
        row |= {
            "ms": 1e3 * timing.median,
            "low_ms": 1e3 * timing.low,
            "high_ms": 1e3 * timing.high,
        }
        first = measured.times.get(group.entries[0])
        row["speedup"] = timing.median / first.median if first and name != PACKED else None
        floor = floor_seconds(work, arithmetic, measured.limits, contest.threads)
        if floor is not None and name != PACKED_BF16:  # the limits are those of fp32
            row |= {"floor_ms": 1e3 * floor, "share": floor / timing.median}
    return row


def _is_real(case: object) -> bool:
    return isinstance(case, Network) and case.config is None


def floor_seconds(
    work: Work, arithmetic: str, limits: dict[str, float], threads: int
) -> float | None:
    """What the work takes at the machine's limits, None where a limit was not measured.

    Binary work counts at the limit of XOR + population count + add, real work at that of fp32, or
    of int8 where the candidate computes in int8.
    """
    real = "int8" if arithmetic == "int8" else "fp32"
    seconds = 0.0
    for operations, kind in ((work.binary, "binary"), (work.real, real)):
        if operations:
            if kind not in limits:
                return None
            seconds += operations / (limits[kind] * threads)
    return seconds


def metrics_of(rows: Iterable[dict[str, Any]]) -> dict[str, float]:
    """The whole network's numbers with the candidate in their names: what the pipeline keeps.

    What could not be measured has no key.
    """
    metrics: dict[str, float] = {}
    for row in rows:
        if row["kind"] != NETWORK:
            continue
        name = row["candidate"]
        values = {f"{name}_{key}": row[key] for key in ("ms", "low_ms", "high_ms", "share")}
        values |= {f"speedup_{name}": row["speedup"]}
        values |= {"threads": row["threads"], "batch_size": row["batch_size"]}
        metrics |= {key: float(value) for key, value in values.items() if value is not None}
    return metrics


def benchmark_stage(params: Params, network: int | str) -> dict[str, float]:
    """A packed file -> plots/benchmark-NETWORK.csv, and the whole network's rows as metrics.

    Args:
        network: see `ebcore.workspace.network_checkpoint`.

    Raises:
        InputError: the packed file is missing or damaged.
    """
    settings = params.benchmark.model_dump()
    names = candidates("", quick=True)  # none twice for AMX: that takes its time
    rows = benchmark(packed_file(network), names=names, layer_names=STAGE_LAYER_PEERS, **settings)
    metrics = metrics_of(rows)
    write_rows(curve_file("benchmark", network), COLUMNS, rows)
    with atomic_write(metrics_file("benchmark", network)) as file:
        json.dump(metrics, file, indent=1)
    return metrics
