"""The stages of dvc.yaml and what each waits for, from DVC itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ebcore.errors import InputError

PIPELINE = "dvc.yaml"


@dataclass(frozen=True)
class Node:
    """One stage.

    Attributes:
        needs: labels of the stages whose outputs it reads.
        alone: it measures time, so nothing may run beside it (`meta: {alone: true}`).
    """

    label: str
    needs: frozenset[str] = frozenset()
    alone: bool = False


def read_graph() -> list[Node]:
    """The stages of dvc.yaml in the current folder, in DVC's order; not those of other files.

    Raises:
        InputError: DVC cannot read it.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with Repo() as repo:
        try:
            graph = repo.index.graph  # an edge from a stage to each that it needs
        except DvcException as error:
            raise InputError(PIPELINE, str(error), "`dvc status` says more.") from error
        own = {stage: stage.addressing for stage in graph if stage.path_in_repo == PIPELINE}
        return [
            Node(
                label,
                frozenset(own[need] for need in graph.successors(stage) if need in own),
                bool((stage.meta or {}).get("alone")),
            )
            for stage, label in own.items()
        ]


def startable(
    nodes: Sequence[Node], done: Mapping[str, object], running: Sequence[Node], slots: int
) -> list[Node]:
    """The stages to start now, in order.

    Args:
        nodes: all of them, in the order in which they should start where there is a choice.
        done: labels of those that ended, well or not.
        running: those that run.
        slots: how many may run at once.
    """
    if any(node.alone for node in running):
        return []
    busy = {node.label for node in running}
    ready = [
        node
        for node in nodes
        if node.label not in done and node.label not in busy and node.needs <= done.keys()
    ]
    together = [node for node in ready if not node.alone]
    if not together and not running:
        return ready[:1]  # the machine is quiet: the time to measure
    return together[: max(slots - len(running), 0)]
