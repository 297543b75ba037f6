"""What the papers print about networks of this family, as data beside the name that builds each.

EBConv: High-Capacity Expert Binary Networks (ICLR 2021). R2B: Real-to-Binary (ICLR 2020). All on
ImageNet. Figures were read off the vector graphics, to 0.001e9 operations and 0.02 % accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One network of a table or figure; None where the paper prints nothing.

    Attributes:
        source: e.g. "EBConv Table 4".
        series: the row's group in it: a figure's curve.
        name, options: `resnet(name, **options)` builds it.
        bops: binary operations, e9.
        flops: real operations, e8.
        decimals: printed digits behind the point of `bops` and `flops`.
        top1_stage1, top5_stage1: accuracy in percent with binary activations, real weights.
        top1_stage2, top5_stage2: with both binary.
        note: what the paper leaves open about it.
    """

    source: str
    series: str
    name: str
    options: dict[str, Any]
    bops: float | None = None
    flops: float | None = None
    decimals: int = 3
    top1_stage1: float | None = None
    top5_stage1: float | None = None
    top1_stage2: float | None = None
    top5_stage2: float | None = None
    note: str = ""


_ONE_EXPERT = "one expert is inferred: accuracies lie about 1.4 % below Table 4's"
_ANY_LAYOUT = f"the count does not depend on which stages the blocks are in; {_ONE_EXPERT}"
_UNGROUPED = {"pointwise": False}

# Blocks in all -> N0N1N2N3 as even as can be, the third stage first. Beside each stage's first
# block all blocks cost the same (0.231e9), so any other layout of as many has the same count.
LAYOUTS_BY_BLOCKS = {
    7: "1222", 8: "2222", 9: "2232", 10: "2332", 12: "3333", 13: "3343", 14: "3443", 18: "4554",
    19: "4555",
}  # fmt: skip


def _tables_1_to_3() -> Iterator[Row]:
    for n, top1, top5 in ((1, 60.9, 83.0), (4, 63.8, 85.1), (8, 64.0, 85.3)):
        options = {"experts": n, **_UNGROUPED}
        yield Row(
            "EBConv Table 1", "experts", "2222-1-1:1:1:1", options,
            top1_stage2=top1, top5_stage2=top5,
        )  # fmt: skip
    for e, n, top1, top5 in (
        (1, 1, 60.9, 83.0), (2, 1, 64.6, 85.6), (4, 1, 65.1, 86.0), (1, 4, 63.8, 85.1),
        (1, 8, 64.0, 85.3), (2, 4, 66.0, 86.4), (2, 8, 66.3, 86.6),
    ):  # fmt: skip
        name = f"2222-{e}-" + ":".join([str(e * e)] * 4)
        yield Row(
            "EBConv Table 2", "expansion and experts", name, {"experts": n, **_UNGROUPED},
            top1_stage2=top1, top5_stage2=top5, note="layout and groups E^2 inferred",
        )  # fmt: skip
    for blocks, top1, top5 in (
        ("1133", 63.8, 86.5), ("1142", 63.8, 86.8), ("1124", 63.7, 87.4), ("2222", 63.9, 87.4),
    ):  # fmt: skip
        yield Row(
            "EBConv Table 3", "blocks", f"{blocks}-1-1:1:1:1", {"experts": 1, **_UNGROUPED},
            top1_stage1=top1, top5_stage1=top5, note="one expert and E=1 inferred",
        )  # fmt: skip


def _table_4() -> Iterator[Row]:
    for name, stage2, stage1, bops in (
        ("1242-2-4:4:16:32", (66.3, 86.5), (68.4, 87.7), 1.3),
        ("1262-2-4:4:16:32", (66.8, 86.8), (69.0, 88.1), 1.5),
        ("1282-2-4:4:16:32", (67.7, 87.4), (69.7, 88.8), 1.7),
        ("1242-2-4:4:8:16", (67.0, 87.1), (68.9, 88.0), 1.6),
        ("1262-2-4:4:8:16", (67.6, 87.3), (69.7, 88.6), 1.9),
        ("1282-2-4:4:8:16", (67.8, 87.5), (69.7, 88.7), 2.2),
        ("1262-2-4:8:8:16", (67.5, 87.5), (69.5, 88.6), 1.7),
        ("1262-2-4:8:8:16", (70.0, 89.2), (71.6, 90.1), 1.7),
    ):
        distilled = stage2 == (70.0, 89.2)
        yield Row(
            "EBConv Table 4", "distilled (AT+KD)" if distilled else "structures", name,
            {"experts": 4}, bops, 1.1, 1, *stage1, *stage2, "whether with SE is not said",
        )  # fmt: skip


def _tables_5_and_6() -> Iterator[Row]:
    final, open_se = "1262-2-4:8:8:16", "whether with SE is not said"
    for series, name, top1, top5, bops, flops, note in (
        ("BNN", "bnn-18", 42.2, 69.2, 1.7, 1.3, ""),
        ("XNOR-Net", "xnor-18", 51.2, 73.2, 1.7, 1.3, ""),
        ("Bi-Real Net", "bi-real-18", 56.4, 79.5, 1.7, 1.5, ""),
        ("Real-to-Binary", "real-to-binary-18", 65.4, 86.2, 1.7, 1.5, "distilled"),
        ("Ours", final, 67.5, 87.5, 1.7, 1.1, open_se),
        ("Ours*", final, 70.0, 89.2, 1.7, 1.1, f"distilled (AT+KD); {open_se}"),
        ("Ours with a stronger teacher", final, 71.2, 90.1, 1.7, 1.1, f"distilled; {open_se}"),
    ):
        options = {"experts": 4} if name == final else {}
        yield Row(
            "EBConv Tables 5 and 6", series, name, options, bops, flops, 1,
            top1_stage2=top1, top5_stage2=top5, note=note,
        )  # fmt: skip


def _figure_2a() -> Iterator[Row]:
    one = {"experts": 1}
    for blocks, bops, top1 in (
        (8, 1.676, 63.45), (12, 2.601, 64.82), (13, 2.832, 65.24), (14, 3.064, 65.25),
        (18, 3.988, 65.20), (19, 4.220, 65.60),
    ):  # fmt: skip
        name = f"{LAYOUTS_BY_BLOCKS[blocks]}-1-1:1:1:1"
        options = one | _UNGROUPED
        yield Row("EBConv Fig. 2a", "E=1", name, options, bops, top1_stage1=top1, note=_ANY_LAYOUT)
    for blocks, bops, top1 in (
        (7, 1.387, 64.60), (8, 1.619, 65.43), (9, 1.850, 65.70), (10, 2.081, 66.17),
        (12, 2.543, 66.45), (14, 3.006, 66.47), (18, 3.931, 66.70),
    ):  # fmt: skip
        name = f"{LAYOUTS_BY_BLOCKS[blocks]}-2-4:4:4:4"
        options = one | _UNGROUPED
        yield Row("EBConv Fig. 2a", "E=2", name, options, bops, top1_stage1=top1, note=_ANY_LAYOUT)
    for layout, bops, top1 in (
        ("1242", 1.575, 67.41), ("1262", 1.909, 68.27), ("1282", 2.243, 68.35),
        ("1284", 2.461, 68.40),
    ):  # fmt: skip
        name = f"{layout}-2-4:4:8:16"
        yield Row("EBConv Fig. 2a", "E=2, 1x1", name, one, bops, top1_stage1=top1, note=_ONE_EXPERT)


def _figure_2b() -> Iterator[Row]:
    for layout, points in {
        "1142": ((1.293, 66.99), (1.206, 66.73), (1.076, 66.29), (0.938, 66.11)),
        "1162": ((1.626, 67.39), (1.540, 67.28), (1.294, 66.68), (1.157, 66.55)),
        "1182": ((1.960, 68.17), (1.874, 67.22), (1.512, 67.19)),
        "1242": ((1.575, 67.41), (1.373, 67.24), (1.358, 67.13), (1.105, 66.75)),
    }.items():
        all_groups = ("4:4:8:16", "4:8:8:16", "4:4:16:16", "4:8:16:32")
        for groups, (bops, top1) in zip(all_groups, points, strict=False):
            yield Row(
                "EBConv Fig. 2b", layout, f"{layout}-2-{groups}", {"experts": 1}, bops,
                top1_stage1=top1, note=f"structure inferred from the count; {_ONE_EXPERT}",
            )  # fmt: skip


def _figure_3() -> Iterator[Row]:
    unknown = "which arrangement of 8 blocks is not said; all have the same count"
    for blocks, without, with_, note in (
        (7, (1.387, 64.60), (1.747, 66.55), ""),
        (8, (1.618, 65.43), (2.030, 67.19), ""),
        (8, (1.618, 65.27), (2.030, 66.88), unknown),
        (8, (1.618, 65.31), (2.030, 67.36), unknown),
        (8, (1.618, 65.23), (2.030, 66.87), unknown),
    ):
        for pointwise, (bops, top1) in ((False, without), (True, with_)):
            yield Row(
                "EBConv Fig. 3", "with 1x1" if pointwise else "without 1x1",
                f"{LAYOUTS_BY_BLOCKS[blocks]}-2-4:4:4:4", {"experts": 1, "pointwise": pointwise},
                bops, top1_stage1=top1, note=note,
            )  # fmt: skip


def _real_to_binary_table_1() -> Iterator[Row]:
    for name, bops, flops, top1, top5 in (
        ("bnn-18", 1.695, 1.314, None, None),
        ("xnor-18", 1.695, 1.333, None, None),
        ("double-skip-18", 1.695, 1.351, None, None),
        ("bi-real-18", 1.676, 1.544, None, None),
        ("real-to-binary-18", 1.676, 1.564, 65.4, 86.2),
    ):
        yield Row("R2B Table 1", "costs", name, {}, bops, flops, top1_stage2=top1, top5_stage2=top5)


ROWS: tuple[Row, ...] = (
    *_tables_1_to_3(),
    *_table_4(),
    *_tables_5_and_6(),
    *_figure_2a(),
    *_figure_2b(),
    *_figure_3(),
    *_real_to_binary_table_1(),
)
