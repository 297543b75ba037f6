"""Stage report: a page per method, and one that compares them."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from ebcore.train.training import METHODS
from ebcore.workspace import REPORT
from flows.stage import Stage, StageRun, main, perform


@flow(name="report", flow_run_name="report", log_prints=True)
def report(force: bool = False) -> State[Any] | None:
    pages = [f"{name}.html" for name in dict.fromkeys(METHODS.values())]
    files = tuple(str(REPORT / name) for name in ("index.html", *pages, "summary.json"))
    keys = ("experts", "networks", "report")
    return perform(Stage("report", _body, parameters=keys, artifacts=files), force)


def _body(run: StageRun) -> dict[str, Any]:
    from ebcore.report import report_stage

    return report_stage(run.params) or {}


if __name__ == "__main__":
    main(report)
