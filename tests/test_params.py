"""params.yaml is checked whole before anything starts."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ebcore.errors import InputError
from ebcore.models.named import NETWORKS
from ebcore.params import load_params, parse_params

ROOT = Path(__file__).parents[1]


def edited(key: str, value: Any) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "params" / "digits.yaml").read_text())
    section = content
    *path, last = key.split(".")
    for part in path:
        section = section[part]
    section[last] = value
    return content


@pytest.mark.parametrize("file", sorted((ROOT / "params").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_profile_is_valid_and_knows_its_name(file: Path) -> None:
    assert load_params(file).profile == file.stem


def test_the_active_parameters_are_the_default_profile() -> None:
    assert load_params(ROOT / "params.yaml") == load_params(ROOT / "params" / "digits.yaml")


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("experts", [0], ["experts.0", "value 0", "greater than or equal to 1"]),
        ("experts", [2, 2], ["experts", "twice"]),
        ("experts", [], ["experts", "at least 1 item"]),
        ("colour", 1, ["colour", "unknown parameter", "Allowed here", "experts"]),
        ("train_one.epoch", 3, ["train_one.epoch", "unknown parameter", "epochs"]),
        ("train_binary.epochs", -3, ["train_binary.epochs", "-3", "greater than or equal to 1"]),
        ("train_one.lr", 0, ["train_one.lr", "0", "greater than 0"]),
        ("train_one.milestones", [5, 3], ["train_one", "must increase"]),
        ("model.spec", "1262", ["model.spec", "1262"]),
        ("model.stem", "huge", ["model.stem", "huge", "efficient"]),
        ("workers", 3, ["batch_size must be a multiple of workers"]),
        ("sync_batchnorm", "often", ["sync_batchnorm", "often"]),
        ("prepare.page_size", 3000000, ["prepare.page_size", "power of two"]),
        ("data.resize", 8, ["data", "at least image_size"]),
        ("data.rotate", -1, ["data.rotate", "-1", "greater than or equal to 0"]),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(key: str, value: Any, parts: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        parse_params(edited(key, value), "params.yaml")
    text = str(caught.value)
    assert text.startswith("params.yaml: ") and "\n" not in text
    for part in parts:
        assert part in text


def test_a_missing_parameter_is_named() -> None:
    content = edited("seed", 0)
    del content["data"]["image_size"]
    with pytest.raises(InputError, match=r"data\.image_size: missing"):
        parse_params(content, "params.yaml")


@pytest.mark.parametrize("text", ["a: [", "- 1", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"params\.yaml"):
        load_params(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ebcore profile use"):
        load_params(tmp_path / "params.yaml")


def test_the_known_networks_are_structures() -> None:
    for name in NETWORKS:
        params = parse_params(edited("model.spec", name), "params.yaml")
        assert params.model.spec == name
    with pytest.raises(InputError, match=r"model\.spec"):
        parse_params(edited("model.spec", "resnet-18"), "params.yaml")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"teacher": ["real"]}, "needs the section train_real"),
        ({"train_one.distill": {"logits": 1}}, r"train_one\.distill needs teacher: \[real\]"),
        ({"train_binary.distill": {}}, "attention and logits are both 0"),
        ({"train_binary.distill": {"attention": 1, "points": []}}, "at least one of the points"),
        ({"train_binary.distill": {"logits": 1, "colour": 2}}, "Allowed here: attention, logits"),
        ({"train_binary.ema": 1.0}, "less than 1"),
    ],
)
def test_distillation_is_checked(changes: dict[str, Any], text: str) -> None:
    ((key, value),) = changes.items()
    with pytest.raises(InputError, match=text):
        parse_params(edited(key, value), "params.yaml")


def test_a_teacher_has_no_teacher() -> None:
    content = edited("teacher", ["real"])
    content["train_real"] = {**content["train_one"], "distill": {"logits": 1.0}}
    with pytest.raises(InputError, match="the teacher has no teacher"):
        parse_params(content, "params.yaml")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [("workers", 1, "needs at least 2 workers"), ("device", "cpu", "needs GPUs")],
)
def test_batchnorm_is_shared_by_several_gpus_only(key: str, value: Any, reason: str) -> None:
    content = {**edited("sync_batchnorm", True), key: value}
    with pytest.raises(InputError, match=f"sync_batchnorm {reason}"):
        parse_params(content, "params.yaml")


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("hybrid.seeds", [0, 0], r"hybrid\.seeds.*twice"),
        ("hybrid.versions", ["wbin", "wbin"], r"hybrid\.versions.*twice"),
        ("hybrid.versions", ["fbin"], r"hybrid\.versions\.0.*fprec"),
        ("hybrid.partition.layers", [6, 6], r"hybrid\.partition\.layers.*twice"),
        ("hybrid.partition.gamma", float("inf"), r"hybrid\.partition\.gamma"),
        ("hybrid.network.image_size", 32, "built for images of 32 px, data.image_size is 16"),
        ("hybrid.network", {"architecture": "alexnet"}, "built for images of 224 px"),
        (
            "hybrid.network",
            {"architecture": "hybrid-resnet-18", "width": 0.125},
            "first stage's channels, whole",
        ),
        (
            "hybrid.network",
            {"architecture": "squeezenet", "image_size": 16},
            "squeezenet has no image_size",
        ),
        (
            "hybrid.network",
            {"architecture": "squeezenet", "stem": "half"},
            "squeezenet has no stem 'half': use 'small'",
        ),
        ("ftbnn.seeds", [1, 1], r"ftbnn\.seeds.*twice"),
        ("ftbnn.compared", ["baseline", "maxout"], r"compared names \['maxout'\]"),
        ("ftbnn.train_real.distill", {"logits": 1}, "nor have the other methods"),
        ("networks", ["hybrid_train-0", "hybrid_train-0"], r"networks.*twice"),
        ("networks", ["hybrid_train-9"], "the pipeline trains hybrid_fbin-0"),
        ("networks", ["hybrid_compared-fprec-0"], "the pipeline trains"),
        ("networks", ["../x"], r"networks\.0"),
    ],
)
def test_the_other_methods_are_checked(key: str, value: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        parse_params(edited(key, value), "params.yaml")


def test_a_method_without_seeds_asks_nothing_of_workers_and_images() -> None:
    content = edited("workers", 64)  # batches are 64
    content["hybrid"]["train"]["batch_size"] = content["ftbnn"]["train_real"]["batch_size"] = 100
    with pytest.raises(InputError, match=r"hybrid\.train\.batch_size must be a multiple"):
        parse_params(content, "params.yaml")
    content["hybrid"]["seeds"] = content["ftbnn"]["seeds"] = content["networks"] = []
    content["hybrid"]["network"]["image_size"] = 225
    assert parse_params(content, "params.yaml").workers == 64
