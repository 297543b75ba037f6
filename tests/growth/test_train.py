"""Two tiny structures through real workers, then side by side."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ebcore import load_model
from ebcore.errors import InputError
from ebcore.growth.collect import collect_stage
from ebcore.growth.files import TABLE, point_file
from ebcore.growth.train import growth_stage
from ebcore.measure import count_ops
from ebcore.models import resnet, set_binarization
from tests.growth.conftest import TINY, TINY_BOPS

if TYPE_CHECKING:
    from tests.train.conftest import Place


@pytest.mark.slow
def test_structures_share_their_first_step_and_end_in_the_table(place: Place) -> None:
    gated = {**TINY, "series": "gates", "experts": 2, "gate": "sigmoid"}
    params = place.params(growth={"structures": {"tiny": TINY, "gated": gated}})
    lines: list[str] = []
    records: list[dict[str, Any]] = []
    one = growth_stage(params, "tiny", on_line=lines.append)
    assert one["bops"] == TINY_BOPS and one["epochs"] == 3 and 0 <= one["top1"] <= 100
    [first] = Path(".runs").iterdir()
    two = growth_stage(params, "gated", on_line=lines.append, on_record=records.append)
    assert any("trained already" in line for line in lines)
    assert two["epochs"] == 6 and two["seconds"] > one["seconds"]

    [second] = set(Path(".runs").iterdir()) - {first}
    network = load_model(second / "final.safetensors")
    assert (network.config["experts"], network.config["gate"]) == (2, "sigmoid")
    assert network.metadata["stage"] == "train_experts"
    steps = [record["step"] for record in records]
    assert steps == sorted(steps) and steps[-1] == 2 * 18  # 72 images by 12, 3 epochs, twice

    collect_stage(params)
    with open(TABLE, newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["tiny", "gated"]
    for name, experts, result in (("tiny", 1, one), ("gated", 2, two)):
        model = resnet(
            "1111-1-1:1:1:1", experts=experts, num_classes=3, stem="small", width=8, stem_width=8,
            pointwise=False, shortcut="prelu", gate="sigmoid",
        )  # fmt: skip
        set_binarization(model, inputs=True, weights=True)
        count = count_ops(model, (3, 16, 16))
        row = rows[name]
        assert (int(row["bops"]), int(row["flops"])) == (count.bops, count.flops)
        assert int(row["binary_parameters"]) == count.params_binary
        assert int(row["real_parameters"]) == count.params_real
        assert float(row["top1"]) == result["top1"] and int(row["experts"]) == experts
    assert rows["gated"]["options"] == "pointwise=false gate=sigmoid"
    assert json.loads(point_file("tiny").read_text())["top1"] == one["top1"]


def test_a_bad_structure_stops_the_others_before_they_train(place: Place) -> None:
    bad = {**TINY, "spec": "1111-1-3:1:1:1"}
    params = place.params(growth={"structures": {"tiny": TINY, "bad": bad}})
    with pytest.raises(InputError, match=r"growth\.structures\.bad"):
        growth_stage(params, "tiny")
    assert not Path(".runs").exists()
