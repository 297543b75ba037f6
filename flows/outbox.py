"""What MLflow missed while it was down, kept in .runs/outbox/ until it is sent.

The next stage that reaches MLflow sends it; `make sync` (python -m flows.outbox) does so at once.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ebcore.errors import InputError, exit_on_input_error
from ebcore.workspace import main_checkout
from flows.environment import tracking_uri
from flows.lock import locked
from flows.mask import mask
from flows.mlflow_run import MlflowRun, Point, connect
from flows.work import Outcome, Work

_CONTENT = "run.json"


@dataclass(frozen=True)
class Entry:
    """All that MLflow is to know of one attempt at a stage."""

    work: Work
    points: list[Point]
    outcome: Outcome


def keep(entry: Entry) -> Path:
    """Writes an entry with copies of its files, which the next run of the stage would change."""
    outcome, packed = entry.outcome, entry.outcome.packed
    name = f"{entry.work.started}-{entry.work.fingerprint[:16]}"
    unfinished = _folder() / f".{name}"
    unfinished.mkdir(parents=True)
    for path in [*outcome.files, *([packed.file] if packed else [])]:
        shutil.copyfile(path, unfinished / Path(path).name)
    outcome = replace(
        outcome,
        files=[Path(path).name for path in outcome.files],
        packed=packed and replace(packed, file=Path(packed.file).name),
    )
    text = json.dumps(asdict(replace(entry, outcome=outcome)))
    (unfinished / _CONTENT).write_text(text, encoding="utf-8")
    return unfinished.rename(_folder() / name)


def send_kept(client: Any, experiment: str) -> int:
    """Sends the entries, the oldest first; returns how many. One that fails stays, with a line."""
    if not _entries():
        return 0
    sent = 0
    with locked(_folder().with_suffix(".lock")):
        for folder in _entries():
            try:
                entry = _read(folder)
                run = MlflowRun.open(client, experiment, entry.work)
                run.send(entry.points)
                run.close(entry.outcome)
            except Exception as error:  # it must not hold up the others, nor a stage
                print(f"warning: {folder} was not sent: {mask(error)}")
                continue
            shutil.rmtree(folder)
            print(f"MLflow has {entry.work.label} now, which it had missed.")
            sent += 1
    return sent


def _read(folder: Path) -> Entry:
    content = json.loads((folder / _CONTENT).read_text(encoding="utf-8"))
    entry = TypeAdapter(Entry).validate_python(content)
    outcome, packed = entry.outcome, entry.outcome.packed
    outcome = replace(
        outcome,
        files=[str(folder / name) for name in outcome.files],
        packed=packed and replace(packed, file=str(folder / packed.file)),
    )
    return replace(entry, outcome=outcome)


def _entries() -> list[Path]:
    return sorted(path for path in _folder().glob("[0-9]*") if path.is_dir())


def _folder() -> Path:
    return main_checkout() / ".runs" / "outbox"


def main() -> int:
    """Sends what waits; returns the exit code, 1 if something had to stay."""
    with exit_on_input_error():
        if not _entries():
            print("MLflow has missed nothing.")
            return 0
        try:
            client, experiment = connect()
        except Exception as error:
            uri = mask(tracking_uri())
            raise InputError(uri, f"no MLflow answers ({mask(error)})", "Start it.") from error
        send_kept(client, experiment)
        return 1 if _entries() else 0


if __name__ == "__main__":
    sys.exit(main())
