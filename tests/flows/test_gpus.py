from __future__ import annotations

import pytest

from flows.gpus import default_slots, share


@pytest.mark.parametrize(
    ("gpus", "workers", "slots"),
    [("", 1, 1), ("", 8, 1), ("0", 1, 1), ("01", 1, 2), ("0123", 2, 2), ("0123", 8, 1)],
)
def test_as_many_stages_as_get_a_gpu_per_worker(gpus: str, workers: int, slots: int) -> None:
    assert default_slots(list(gpus), workers) == slots


def test_slots_share_the_gpus_without_overlap() -> None:
    own = [share(["4", "5", "6", "7"], slot, 2)["CUDA_VISIBLE_DEVICES"] for slot in range(2)]
    assert own == ["4,5", "6,7"]


def test_more_slots_than_gpus_take_turns() -> None:
    own = [share(["4", "5"], slot, 4)["CUDA_VISIBLE_DEVICES"] for slot in range(4)]
    assert own == ["4", "4", "5", "5"]


def test_one_slot_keeps_what_it_has() -> None:
    assert share(["0", "1"], 0, 1) == {}
    assert share([], 1, 2) == {}
