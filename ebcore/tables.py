"""Tables on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from ebcore.measure.ops import LayerOps, OpCount
from ebcore.packed import PackedModel
from ebcore.packed.size import node_weights, weights

_PIPED_WIDTH = 160  # columns where the output is no terminal


def show(table: Table) -> None:
    """Prints a table to stdout, never cut at 80 columns when piped."""
    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    Console(width=width, highlight=False).print(table)


def benchmark_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows of `ebcore.measure.benchmark.benchmark`, whole network first."""
    first = rows[0]
    batch, threads = first["batch_size"], first["threads"]
    table = Table(
        title=f"{first['cpu']}, {first['packed_isa']} kernels, {threads} thread"
        f"{'s' if threads > 1 else ''}, batch {batch}: median ms (quartiles)",
        caption="fp32 and int8: the real-valued network of the same shapes in PyTorch"
        f" {first['torch']}.",
    )
    table.add_column("case", no_wrap=True)
    table.add_column("shape")
    for name in ("packed", "fp32", "int8", "over fp32", "over int8"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["case"],
            row["shape"],
            *(_time(row, name) for name in ("packed", "fp32", "int8")),
            *(_ratio(row[f"speedup_{name}"]) for name in ("fp32", "int8")),
            style="bold" if row["kind"] == "network" else None,
            end_section=row["kind"] == "network",
        )
    notes = {row["note"] for row in rows if row["note"]}
    if notes:
        table.caption = f"{table.caption} Missing: {'; '.join(sorted(notes))}."
    return table


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
    for name, title in (("pytorch", "PyTorch"), ("packed", "packed")):
        table.add_row(title, *(f"{scores[f'{name}_{top}']:.2f}" for top in ("top1", "top5")))
    return table


def _time(row: Mapping[str, Any], name: str) -> str:
    if row[f"{name}_ms"] is None:
        return "-"
    low, high = row[f"{name}_low_ms"], row[f"{name}_high_ms"]
    return f"{row[f'{name}_ms']:.4f} ({low:.4f}-{high:.4f})"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}x"


def predictions_table(ranked: Sequence[tuple[str, float]]) -> Table:
    """One image's classes with their probabilities, best first."""
    table = Table()
    table.add_column("class")
    table.add_column("probability", justify="right")
    for name, probability in ranked:
        table.add_row(name, f"{100 * probability:.2f} %")
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
