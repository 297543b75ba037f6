"""The recipe's steps on a small network."""

import csv
from pathlib import Path

import pytest
import torch

from ebcore.errors import InputError
from ebcore.methods.hybrid import (
    COLUMNS,
    STEPS,
    measure_partition,
    start_network,
    write_partition,
)
from ebcore.methods.partition import PartitionOptions
from ebcore.models.hybrid_net import HybridNet

SETTINGS = {
    "architecture": "sketchanet",
    "image_size": 32,
    "stem": "small",
    "width": 1 / 16,
    "in_channels": 3,
    "binary_last": True,
}
SIZE = (3, 32, 32)


def started(stage: str, real_inputs: tuple[int, ...] = ()) -> HybridNet:
    return start_network(STEPS[stage], SETTINGS, 5, seed=1, real_inputs=real_inputs)


def test_each_step_starts_its_version() -> None:
    for stage, version, last in (
        ("hybrid_fprec", "fprec", False),
        ("hybrid_wbin", "wbin", True),
        ("hybrid_fbin", "fbin", True),
    ):
        config = started(stage).config
        assert (config["version"], config["binary_last"]) == (version, last)
    hybrid = started("hybrid_train", (6,))
    assert hybrid.config["real_inputs"] == [6]
    assert hybrid.config["num_classes"] == 5
    with pytest.raises(InputError, match="Name at least one layer"):
        started("hybrid_train")


def test_the_same_seed_starts_the_same_network() -> None:
    one, two = started("hybrid_fbin"), started("hybrid_fbin")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_measured_on_a_network_it_chooses_the_cheap_last_layers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, images = started("hybrid_fbin"), torch.randn(16, *SIZE)
    options = PartitionOptions(gamma=1e3, normalise="none", share=0.3)
    measured = measure_partition(model, images.split(8), SIZE, options)
    # 32 channels of 1x1 px: layer 7's 1,024 operations are the fewest, so 1 / NF decides
    assert measured.macs[7] == 32 * 32
    assert measured.partition.chosen == (7,)
    file = tmp_path / "partition.csv"
    write_partition(file, measured)
    rows = list(csv.DictReader(file.open()))
    assert tuple(rows[0]) == COLUMNS
    assert [row["layer"] for row in rows] == ["2", "3", "4", "5", "6", "7"]
    assert [row["real_input"] for row in rows] == ["0"] * 5 + ["1"]
    last = rows[-1]
    expected = float(last["error"]) + 1e3 * 1e6 / 1024
    assert float(last["metric"]) == pytest.approx(expected)


def test_a_hybrid_is_no_measure_of_what_to_make_hybrid() -> None:
    with pytest.raises(InputError, match=r"layer6\.conv'.*has real inputs already"):
        measure_partition(
            started("hybrid_train", (6,)), [torch.randn(2, *SIZE)], SIZE, PartitionOptions()
        )
