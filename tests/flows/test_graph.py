from __future__ import annotations

from flows.graph import Node, startable

# data -> a1 -> b1 -> time1 (alone)
#      -> a2 -> b2
NODES = [
    Node("data"),
    Node("a1", frozenset({"data"})),
    Node("a2", frozenset({"data"})),
    Node("b1", frozenset({"a1"})),
    Node("b2", frozenset({"a2"})),
    Node("time1", frozenset({"b1"}), alone=True),
]
BY_LABEL = {node.label: node for node in NODES}


def start(done: str, running: str = "", slots: int = 2) -> list[str]:
    found = startable(
        NODES, dict.fromkeys(done.split()), [BY_LABEL[label] for label in running.split()], slots
    )
    return [node.label for node in found]


def test_what_needs_nothing_starts_first() -> None:
    assert start("") == ["data"]


def test_branches_start_side_by_side_up_to_the_limit() -> None:
    assert start("data") == ["a1", "a2"]
    assert start("data", slots=1) == ["a1"]
    assert start("data a1", "a2") == ["b1"]
    assert start("data a1", "a2", slots=1) == []


def test_what_measures_time_starts_when_nothing_else_can_and_stays_alone() -> None:
    assert start("data a1 b1") == ["a2"]
    assert start("data a1 b1", "a2", slots=9) == []
    assert start("data a1 b1 a2 b2", slots=9) == ["time1"]
    assert start("data a1 b1", "time1", slots=9) == []
