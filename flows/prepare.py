"""Stage prepare: an image folder becomes what the loaders read, with its manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import State

from ebcore.workspace import BETON
from flows.stage import Stage, StageRun, main, perform


@flow(name="prepare", flow_run_name="prepare", log_prints=True)
def prepare(force: bool = False) -> State[Any] | None:
    return perform(
        Stage("prepare", _body, parameters=("prepare",), artifacts=(str(BETON / "manifest.json"),)),
        force,
    )


def _body(run: StageRun) -> dict[str, Any]:
    from ebcore.data.convert import convert

    data = run.params.data
    manifest = convert(Path(data.folder), BETON, run.params.prepare, data.loader, name=data.name)
    images = {f"{name}_images": split.count for name, split in manifest.splits.items()}
    return {**images, "classes": len(manifest.classes), "skipped": len(manifest.skipped)}


if __name__ == "__main__":
    main(prepare)
