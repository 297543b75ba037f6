"""Where things are."""

from pathlib import Path

import pytest

from ebcore.workspace import checkpoint_file, main_checkout


def test_the_shared_step_has_one_file_for_all_expert_counts() -> None:
    assert checkpoint_file("train_one", 4) == Path("checkpoints/train_one.safetensors")
    assert checkpoint_file("train_binary", 4) == Path("checkpoints/train_binary-4.safetensors")


@pytest.mark.parametrize("inside", ["", ".dvc/tmp/exps/standalone/tmpabc", ".dvc/tmp/exps/temp1"])
def test_experiments_in_copies_belong_to_the_checkout_around_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    folder = tmp_path / inside
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)
    assert main_checkout() == tmp_path.resolve()
