"""The stage `report`: results of all listed expert counts on one page."""

from __future__ import annotations

import json

from ebcore.files import atomic_write
from ebcore.params import Params
from ebcore.report.inputs import read_branch
from ebcore.report.page import render
from ebcore.report.summary import summarize
from ebcore.workspace import REPORT


def report_stage(params: Params) -> dict[str, float]:
    """metrics/, plots/, evaluation/ -> report/summary.json and report/index.html.

    Equal inputs give equal bytes. Returns each count's final accuracy and speed-up.

    Raises:
        InputError: a file of a listed expert count is missing or damaged.
    """
    branches = [read_branch(params, experts) for experts in params.experts]
    summary = summarize(params, branches)
    page = render(summary, branches, tsne_samples=params.report.tsne_samples)
    with atomic_write(REPORT / "summary.json") as file:
        json.dump(summary, file, indent=1)
        file.write("\n")
    with atomic_write(REPORT / "index.html") as file:
        file.write(page)
    result: dict[str, float] = {}
    for branch in branches:
        result[f"packed_top1_{branch.experts}"] = branch.metrics["evaluate"]["packed_top1"]
        speedup = branch.metrics["benchmark"]["speedup_torch_fp32"]
        result[f"speedup_torch_fp32_{branch.experts}"] = speedup
    return result
