"""The stage `report`: a page per method, and one that compares them."""

from __future__ import annotations

import json
from typing import Any

from ebcore.files import atomic_write
from ebcore.params import Params
from ebcore.report.ebconv.inputs import read_branch
from ebcore.report.ebconv.page import render_ebconv
from ebcore.report.ebconv.summary import summarize
from ebcore.report.ftbnn.inputs import read_ftbnn
from ebcore.report.ftbnn.page import render_ftbnn
from ebcore.report.ftbnn.summary import summarize_ftbnn
from ebcore.report.hybrid.inputs import read_hybrid
from ebcore.report.hybrid.page import render_hybrid
from ebcore.report.hybrid.summary import summarize_hybrid
from ebcore.report.networks import deployed_networks
from ebcore.report.overview import ebconv_trainings, render_overview
from ebcore.workspace import REPORT


def report_stage(params: Params) -> dict[str, float]:
    """metrics/, plots/, evaluation/ -> report/summary.json, index.html and METHOD.html.

    A method without seeds has no page. Equal inputs give equal bytes. Returns the accuracy and the
    speed-up of each packed network.

    Raises:
        InputError: a file of something that params.yaml lists is missing or damaged.
    """
    branches = [read_branch(params, experts) for experts in params.experts]
    hybrid = read_hybrid(params) if params.hybrid.seeds else None
    ftbnn = read_ftbnn(params) if params.ftbnn.seeds and params.ftbnn.compared else None
    summary = summarize(params, branches)
    classes = summary["data"]["classes"]
    methods: dict[str, Any] = {"ebconv": ebconv_trainings(branches)}
    if hybrid:
        methods["hybrid"] = summarize_hybrid(params, hybrid, classes)
    if ftbnn:
        methods["ftbnn"] = summarize_ftbnn(params, ftbnn, classes)
    summary |= {"networks": deployed_networks(params, branches), "methods": methods}

    pages = {
        "index": render_overview(summary),
        "ebconv": render_ebconv(summary, branches, tsne_samples=params.report.tsne_samples),
    }
    if hybrid:
        pages["hybrid"] = render_hybrid(summary, hybrid)
    if ftbnn:
        pages["ftbnn"] = render_ftbnn(summary, ftbnn)
    with atomic_write(REPORT / "summary.json") as file:
        json.dump(summary, file, indent=1)
        file.write("\n")
    for name, page in pages.items():
        with atomic_write(REPORT / f"{name}.html") as file:
            file.write(page)
    return _results(summary)


def _results(summary: dict[str, Any]) -> dict[str, float]:
    result: dict[str, float] = {}
    for row in summary["networks"]:
        network = row["network"]
        result[f"packed_top1_{network}"] = row["evaluate"]["packed_top1"]
        result[f"speedup_torch_fp32_{network}"] = row["benchmark"]["speedup_torch_fp32"]
    return result
