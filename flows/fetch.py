"""Stage fetch@SOURCE: a known source as an image folder in data/raw/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import State

from flows.stage import Stage, StageRun, main, perform


@flow(name="fetch", flow_run_name="fetch@{source}", log_prints=True)
def fetch(source: str, force: bool = False) -> State[Any] | None:
    def body(run: StageRun) -> None:
        from ebcore.data.fetch import fetch as write

        write(source, Path("data/raw") / source)

    return perform(Stage("fetch", body, item=source), force)


if __name__ == "__main__":
    main(fetch)
