"""Networks in files."""

from pathlib import Path

import pytest
import torch

import ebcore
from ebcore.errors import InputError
from ebcore.models import resnet, set_binarization
from ebcore.models.binarization import binary_convs
from ebcore.models.checkpoint import load_resnet, save_model
from ebcore.models.sketchanet import sketchanet


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = resnet("1111-1-1:1:1:1", experts=2, num_classes=3, width=8, stem_width=8)
    set_binarization(model, inputs=True, weights=False)
    path = tmp_path / "model.safetensors"
    save_model(path, model, {"classes": ["a", "b", "c"]})
    return path


def test_a_saved_network_computes_the_same(file: Path) -> None:
    model, again = ebcore.load_model(file), ebcore.load_model(file)
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(model(x), again(x))
    assert not model.training
    assert model.metadata["classes"] == ["a", "b", "c"]
    assert model.metadata["experts"] == 2
    conv = model.stages[0][0][0].conv
    assert (conv.binary_input, conv.binary_weight) == (True, False)


def test_equal_networks_make_equal_files(file: Path, tmp_path: Path) -> None:
    for number in range(5):
        other = tmp_path / f"{number}.safetensors"
        save_model(other, ebcore.load_model(file), {"classes": ["a", "b", "c"]})
        assert other.read_bytes() == file.read_bytes()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.safetensors: does not exist"):
        ebcore.load_model(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("keep", [0, 7, 100, 0.5, -1])
def test_a_truncated_file_is_refused(file: Path, keep: float) -> None:
    content = file.read_bytes()
    length = int(len(content) * keep) if isinstance(keep, float) else keep
    file.write_bytes(content[:length])
    with pytest.raises(InputError, match=r"model\.safetensors: is truncated"):
        ebcore.load_model(file)


def test_an_altered_weight_is_noticed(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="was altered"):
        ebcore.load_model(file)


def test_an_altered_description_is_noticed(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content.replace(b'\\"width\\": 8', b'\\"width\\": 9'))
    assert file.read_bytes() != content
    with pytest.raises(InputError, match="was altered"):
        ebcore.load_model(file)


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="none of this project's checkpoints"):
        ebcore.load_model(tmp_path / "x.safetensors")


def test_a_hybrid_network_comes_back_with_its_architecture(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = sketchanet(
        4, version="hybrid", real_inputs=[7], image_size=32, stem="small", width=1 / 16
    ).eval()
    save_model(tmp_path / "x.safetensors", model, {"classes": list("abcd")})
    again = ebcore.load_model(tmp_path / "x.safetensors")
    assert (again.title, again.metadata["experts"]) == ("sketchanet", 1)
    assert again.config == model.config
    convs = binary_convs(again)
    assert [convs[name].binary_input for name in again.numbered.values()] == [True] * 5 + [False]
    x = torch.randn(2, 1, 32, 32)
    assert torch.equal(again(x), model(x))
    with pytest.raises(InputError, match=r"x\.safetensors: holds sketchanet, no network of the EB"):
        load_resnet(tmp_path / "x.safetensors")


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    model = resnet("1111-1-1:1:1:1", num_classes=3, width=8, stem_width=8)
    model.config["architecture"] = "perceptron"
    save_model(tmp_path / "x.safetensors", model, {})
    with pytest.raises(InputError, match="architecture 'perceptron': is unknown"):
        ebcore.load_model(tmp_path / "x.safetensors")


def test_single_layers_are_switched_by_name() -> None:
    model = resnet("1111-1-1:1:1:1", num_classes=3, width=8, stem_width=8)
    name = "stages.1.0.0.conv"
    set_binarization(model, inputs=False, weights=True, layers=[name])
    assert [n for n, conv in binary_convs(model).items() if not conv.binary_input] == [name]
    with pytest.raises(InputError, match=r"layer 'fc': is no binary convolution.*stages\.0"):
        set_binarization(model, inputs=False, weights=True, layers=["fc"])
