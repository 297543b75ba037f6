"""Stage report: one page that compares the expert counts."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import State

from ebcore.workspace import REPORT
from flows.stage import Stage, StageRun, main, perform


@flow(name="report", flow_run_name="report", log_prints=True)
def report(force: bool = False) -> State[Any] | None:
    files = (str(REPORT / "index.html"), str(REPORT / "summary.json"))
    return perform(Stage("report", _body, parameters=("experts", "report"), artifacts=files), force)


def _body(run: StageRun) -> dict[str, Any]:
    from ebcore.report import report_stage

    return report_stage(run.params) or {}


if __name__ == "__main__":
    main(report)
