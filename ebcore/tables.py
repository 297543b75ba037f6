"""Tables on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ebcore.measure.ops import LayerOps, OpCount
from ebcore.measure.peers import LAYERS_ONLY, PACKED, title
from ebcore.measure.rows import LAYER, NETWORK
from ebcore.packed import PackedModel
from ebcore.packed.size import node_weights, weights

_PIPED_WIDTH = 160  # columns where the output is no terminal


def show(table: Table) -> None:
    """Prints a table to stdout, never cut at 80 columns when piped."""
    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    Console(width=width, highlight=False).print(table)


def benchmark_tables(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """The rows of `ebcore.measure.benchmark`: a table of networks, a table of layers."""
    kinds = {kind: [row for row in rows if row["kind"] == kind] for kind in (NETWORK, LAYER)}
    tables = []
    if kinds[NETWORK]:
        tables.append(_networks_table(kinds[NETWORK]))
    if kinds[LAYER]:
        tables.append(_layers_table(kinds[LAYER]))
    for table in tables:
        table.caption_justify = "left"
    return tables


def _networks_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A row per candidate; the reasons of those that did not run below."""
    table = Table(title=_conditions(rows[0], "Whole network"))
    table.add_column("", no_wrap=True)
    table.add_column("network")
    for heading in ("ms", "quartiles", "packed is faster", "of the limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        if row["ms"] is not None:
            table.add_row(
                title(row["candidate"]),
                row["network"],
                f"{row['ms']:.3f}",
                _quartiles(row),
                _ratio(row["speedup"]),
                _percent(row["share"]),
                style="bold" if row["candidate"] == PACKED else None,
            )
    notes = [
        f"Left out: {title(row['candidate'])}: {row['note']}"
        for row in rows
        if row["note"] not in ("", LAYERS_ONLY)
    ]
    about = "fp32 and int8 run the real-valued network of the same structure. The limit: all "
    about += "operations at the rates one core reaches in registers."
    table.caption = escape("\n".join([about, *notes]))
    return table


def _layers_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A row per shape, a column per candidate that ran."""
    title_ = _conditions(rows[0], "Binary layers, real values in and out")
    table = Table(title=title_, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("layer", no_wrap=True)
    by_case: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        by_case.setdefault(row["case"], {})[row["candidate"]] = row
    present = dict.fromkeys(row["candidate"] for row in rows if row["ms"] is not None)
    peers = [name for name in present if name != PACKED]
    headings = ("times", "packed ms", "of the\nlimit", *map(_narrow, peers))
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for case, found in by_case.items():
        packed = found[PACKED]
        speedups = (found[name]["speedup"] if name in found else None for name in peers)
        table.add_row(
            case,
            str(max(1, len((packed["layers"] or "").split()))),
            _spread(packed),
            _percent(packed["share"]),
            *map(_ratio, speedups),
        )
    table.caption = (
        "+-: half the distance of the quartiles. Last columns: how many times faster packed is "
        "(ORT: ONNX Runtime, OV: OpenVINO). fp32: the plain convolution; int8: from int8 to int8. "
        "The limit: XOR + population count + add in registers."
    )
    return table


def _narrow(candidate: str) -> str:
    """A heading of several short lines."""
    text = title(candidate).replace("ONNX Runtime", "ORT").replace("OpenVINO", "OV")
    return text.replace(", ", "\n").replace(" ", "\n", 1)


def _spread(row: Mapping[str, Any]) -> str:
    if row["ms"] is None:
        return "-"
    return f"{row['ms']:.4f} +-{50 * (row['high_ms'] - row['low_ms']) / row['ms']:.0f} %"


def _conditions(row: Mapping[str, Any], what: str) -> str:
    threads = f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"
    kernels = f"{row['packed_isa']} kernels"
    return f"{what}: {row['cpu']}, {kernels}, {threads}, batch {row['batch_size']}"


def scores_table(scores: Mapping[str, float]) -> Table:
    """What `ebcore.measure.evaluate.scores` returned."""
    table = Table(
        title=f"{scores['images']:,} validation images",
        caption=f"{scores['listed_images']:,} images differ by a sign within rounding; largest "
        f"logit error of the others {scores['max_logit_error']:.1e}.",
    )
    table.add_column("")
    for heading in ("top-1, %", "top-5, %"):
        table.add_column(heading, justify="right")
    rows = {"pytorch": "PyTorch", "packed": "packed"}
    if "bf16_loss" in scores:
        rows["bf16"] = "packed, real layers in bf16"
        table.caption = f"{table.caption} bf16 loses {scores['bf16_loss']:.2f} points of top-1."
    for name, heading in rows.items():
        table.add_row(heading, *(f"{scores[f'{name}_{top}']:.2f}" for top in ("top1", "top5")))
    return table


def _quartiles(row: Mapping[str, Any]) -> str:
    return "-" if row["ms"] is None else f"{row['low_ms']:.4g}-{row['high_ms']:.4g}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}x"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def predictions_table(ranked: Sequence[tuple[str, float]]) -> Table:
    """One image's classes with their probabilities, best first."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("class")
    table.add_column("probability", justify="right")
    for index, (name, probability) in enumerate(ranked):
        style = None if index else "bold"
        table.add_row(escape(name), f"{100 * probability:.2f} %", style=style)
    return table


def operations_table(count: OpCount, title: str) -> Table:
    """Each convolution and linear layer; what works element by element in one row; the totals."""
    table = Table(title=title, show_footer=True)
    table.add_column("layer", "total", no_wrap=True)
    table.add_column("kind")
    table.add_column("output")
    for header, total in (
        ("binary ops", count.bops),
        ("float ops", count.flops),
        ("binary parameters", count.params_binary),
        ("real parameters", count.params_real),
    ):
        table.add_column(header, f"{total:,}", justify="right", no_wrap=True)
    table.add_column("bits", f"{count.bits:,}", justify="right", no_wrap=True)
    shown = [layer for layer in count.layers if layer.kind in _SHOWN_KINDS]
    for layer in shown:
        table.add_row(layer.name, layer.kind, _sides(layer.shape), *_counts([layer]))
    rest = [layer for layer in count.layers if layer.kind not in _SHOWN_KINDS]
    table.add_section()
    table.add_row("the rest", "norms, activations, additions, pooling", "", *_counts(rest))
    return table


_SHOWN_KINDS = ("BinaryConv2d", "Conv2d", "Linear")


def _counts(layers: Sequence[LayerOps]) -> list[str]:
    keys = ("bops", "flops", "params_binary", "params_real")
    sums = [sum(getattr(layer, key) for layer in layers) for key in keys]
    return [f"{value:,}" for value in (*sums, sum(layer.bits for layer in layers))]


def packed_table(model: PackedModel, title: str) -> Table:
    """Each node of a packed network; below, the file's size and the information in it."""
    total = weights(model.graph)
    share = model.nbytes / max(1, total.information)
    table = Table(
        title=f"{title}, input {_sides(model.input_shape)}",
        caption=f"File: {model.nbytes:,} bytes, {share:.3f} x the information in it "
        f"({total.information:,} bytes: binary weights in bits, the rest fp32).",
        show_footer=True,
    )
    table.add_column("node", "total", no_wrap=True)
    for header in ("operation", "output", "experts"):
        table.add_column(header, justify="right" if header == "experts" else "left")
    for header, count in (
        ("binary weights", total.binary),
        ("real weights", total.real),
        ("bytes", total.information),
    ):
        table.add_column(header, f"{count:,}", justify="right", no_wrap=True)
    counts = node_weights(model.graph)
    for value, (node, own) in enumerate(zip(model.graph.nodes, counts, strict=True), start=1):
        table.add_row(
            node.name,
            node.op,
            _sides(model.shape(value)),
            str(node.attrs.get("experts", "")),
            *(f"{count:,}" for count in (own.binary, own.real, own.information)),
        )
    return table


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(str(side) for side in shape)
