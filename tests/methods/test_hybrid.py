"""The recipe's steps on a small network."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ebcore.errors import InputError
from ebcore.methods.hybrid import (
    COLUMNS,
    chosen_layers,
    measure_partition,
    partition_stage,
    start_model,
    training,
    write_partition,
)
from ebcore.methods.partition import PartitionOptions
from ebcore.models import load_model
from ebcore.models.hybrid_net import HybridNet
from ebcore.packed import agreement, pack
from ebcore.params import Params, load_params
from ebcore.train.distributed import Group
from ebcore.train.job import FINAL, make_job
from ebcore.train.loop import Stopped, Trainer
from ebcore.train.signals import StopRequest
from ebcore.workspace import checkpoint_file, metrics_file
from tests.train.conftest import Place, place

__all__ = ["place"]

PROFILE = Path(__file__).parents[2] / "params" / "digits.yaml"
NETWORK = {
    "architecture": "sketchanet",
    "image_size": 32,
    "stem": "small",
    "width": 1 / 16,
    "binary_last": True,
}
SIZE = (3, 32, 32)


def hybrid_params(**changes: Any) -> Params:
    params = load_params(PROFILE)
    section = params.hybrid.model_copy(
        update={"network": type(params.hybrid.network)(**NETWORK), **changes}
    )
    return params.model_copy(update={"hybrid": section})


def started(stage: str, item: str = "1") -> HybridNet:
    return start_model(training(stage, item, hybrid_params()), 5)


def choose(layers: list[int], seed: str = "1") -> None:
    path = metrics_file("hybrid_partition", seed)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"chosen": layers}))


def test_each_step_starts_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for stage, item, version, last in (
        ("hybrid_compared", "fprec-1", "fprec", False),
        ("hybrid_compared", "wbin-1", "wbin", True),
        ("hybrid_fbin", "1", "fbin", True),
    ):
        config = started(stage, item).config
        assert (config["version"], config["binary_last"]) == (version, last)
    with pytest.raises(InputError, match=r"hybrid_partition-1\.json: is no partition"):
        started("hybrid_train")
    choose([6])
    hybrid = started("hybrid_train")
    assert hybrid.config["real_inputs"] == [6]
    assert hybrid.config["num_classes"] == 5


def test_the_choice_decides_which_work_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    contents = []
    for layers in ([6], [6, 7]):
        choose(layers)
        contents.append(training("hybrid_train", "1", hybrid_params()).content)
    assert contents[0] != contents[1]


@pytest.mark.parametrize(
    ("stage", "item"),
    [("hybrid_fbin", "7"), ("hybrid_fbin", ""), ("hybrid_compared", "1"),
     ("hybrid_compared", "fbin-1"), ("hybrid_fbin", "x-1"), ("hybrid_sharp", "1")],
)  # fmt: skip
def test_an_unknown_stage_seed_or_version_is_named(stage: str, item: str) -> None:
    with pytest.raises(InputError, match=stage):
        training(stage, item, hybrid_params())


def test_a_seed_is_the_trainings_own() -> None:
    one, two = started("hybrid_fbin"), started("hybrid_fbin")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    other = started("hybrid_fbin", "2")
    assert any(
        not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True)
    )
    assert training("hybrid_fbin", "2", hybrid_params()).params.seed == 2


def test_a_setting_that_the_architecture_lacks_is_refused() -> None:
    params = load_params(PROFILE)
    network = params.hybrid.network.model_copy(update={"architecture": "hybrid-resnet-18"})
    section = params.hybrid.model_copy(update={"network": network})
    with pytest.raises(InputError, match=r"hybrid\.network.*image_size"):
        start_model(training("hybrid_fbin", "1", params.model_copy(update={"hybrid": section})), 5)


ALONE = Group(rank=0, world=1, device=torch.device("cpu"), threads=1)


def place_params(place: Place) -> Params:
    section = place.content["hybrid"]
    section["network"] = {**NETWORK, "image_size": 16}
    section["train"] = {"epochs": 2, "batch_size": 12, "lr": 0.01}
    section["partition"] = {"layers": [6]}
    return place.params(hybrid=section, networks=[], workers=1)


def train(stage: str, item: str, params: Params, stop: StopRequest | None = None) -> bytes:
    """Trains in this process, publishes the network, returns its bytes."""
    job = make_job(stage, item, params)
    job.folder.mkdir(parents=True, exist_ok=True)
    Trainer(job, ALONE, StopRequest() if stop is None else stop).run()
    content = (job.folder / FINAL).read_bytes()
    path = checkpoint_file(stage, item)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return content


def test_fully_binary_then_a_partition_then_the_hybrid(place: Place) -> None:
    params = place_params(place)
    train("hybrid_fbin", "0", params)
    found = partition_stage(params, "0")
    assert found == {"chosen": [6], "layers": 7, "clusters": 0, "share": 1 / 7}
    assert chosen_layers("0") == [6]
    train("hybrid_train", "0", params)
    model = load_model(checkpoint_file("hybrid_train", "0"))
    assert model.config["real_inputs"] == [6] and model.metadata["stage"] == "hybrid_train"
    found_agreement = agreement(model, pack(model, (3, 16, 16)), torch.randn(8, 3, 16, 16))
    assert found_agreement.ok, found_agreement.violations


class StopAfter(StopRequest):
    """Asks for a stop after some steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __bool__(self) -> bool:
        self.left -= 1
        return self.left == 0


def test_dropout_draws_the_same_after_a_stop(place: Place) -> None:
    params = place_params(place)
    unbroken = train("hybrid_fbin", "0", params)
    job = make_job("hybrid_fbin", "0", params)
    for path in job.folder.iterdir():
        path.unlink()
    with pytest.raises(Stopped):
        train("hybrid_fbin", "0", params, StopAfter(3))
    torch.rand(5)  # the generator is somewhere else
    assert train("hybrid_fbin", "0", params) == unbroken


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


def test_a_hybrid_is_no_measure_of_what_to_make_hybrid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    choose([6])
    with pytest.raises(InputError, match=r"layer6\.conv'.*has real inputs already"):
        measure_partition(
            started("hybrid_train"), [torch.randn(2, *SIZE)], SIZE, PartitionOptions()
        )
