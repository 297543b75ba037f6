"""Networks in files."""

from pathlib import Path

import pytest
import torch

import ebcore
from ebcore.errors import InputError
from ebcore.models import resnet, set_binarization
from ebcore.models.checkpoint import save_model


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
