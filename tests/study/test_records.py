from __future__ import annotations

from typing import Any

from ebcore.study.records import InTurn


def test_later_trainings_count_on() -> None:
    seen: list[dict[str, Any]] = []
    records = InTurn(seen.append)
    for _ in range(3):
        record = records.next_training()
        record({"event": "start", "step": 0, "epoch": 0, "steps": 10})
        record({"event": "epoch", "step": 10, "epoch": 2})
    assert [(r["step"], r["epoch"], r.get("steps")) for r in seen] == [
        (0, 0, 10), (10, 2, None), (10, 2, 20), (20, 4, None), (20, 4, 30), (30, 6, None),
    ]  # fmt: skip


def test_a_resumed_training_may_go_back() -> None:
    seen: list[int] = []
    records = InTurn(lambda record: seen.append(record["step"]))
    first = records.next_training()
    for step in (5, 8, 5, 10):
        first({"event": "step", "step": step, "epoch": 0})
    records.next_training()({"event": "step", "step": 1, "epoch": 0})
    assert seen == [5, 8, 5, 10, 11]
