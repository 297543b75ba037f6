"""Folders as TU-Berlin and Sketchy are released, made here with small pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebcore.data.folder import scan
from ebcore.data.sketch_folders import SETS, import_sketches
from ebcore.errors import InputError


def _released(root: Path, classes: int, each: int) -> Path:
    """White sheets of 30x20 px whose left half is black."""
    sheet = np.full((20, 30), 255, np.uint8)
    sheet[:, :15] = 0
    for label in range(classes):
        folder = root / f"class {label:03d}"
        folder.mkdir(parents=True)
        for number in range(each):
            Image.fromarray(sheet).save(folder / f"{label * each + number + 1}.png")
    return root


@pytest.mark.parametrize("name", SETS)
def test_a_released_folder_becomes_one_in_our_layout(name: str, tmp_path: Path) -> None:
    inside = {"tu-berlin": "png", "sketchy": "256x256/sketch/tx_000000000000"}[name]
    _released(tmp_path / "source" / inside, SETS[name], 6)
    if name == "sketchy":  # another variant of the same drawings, which is passed over
        _released(tmp_path / "source/256x256/sketch/tx_000100000000", 2, 2)
    counts = import_sketches(name, tmp_path / "source", tmp_path / "out", side=32)
    assert counts == {"classes": SETS[name], "train": SETS[name] * 4, "val": SETS[name] * 2}
    found = scan(tmp_path / "out")
    assert found.classes[:2] == ["class 000", "class 001"]
    assert (len(found.train), len(found.val)) == (counts["train"], counts["val"])
    image = np.asarray(Image.open(tmp_path / "out" / found.train[0].path), int)
    assert image.shape == (32, 48)  # the shorter side is 32
    assert image[:, :20].min() > 250 and image[:, 28:].max() < 5  # inverted


def test_the_split_follows_the_seed_alone(tmp_path: Path) -> None:
    source = _released(tmp_path / "source", 250, 5)

    def validation(seed: int, out: str) -> set[str]:
        import_sketches("tu-berlin", source, tmp_path / out, seed=seed, val_share=0.4, side=4)
        return {path.name for path in (tmp_path / out / "val").rglob("*.JPEG")}

    one, again, other = validation(1, "a"), validation(1, "b"), validation(2, "c")
    assert one == again != other
    assert len(one) == len(other) == 500


def test_what_is_no_released_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'quickdraw': are unknown.*tu-berlin, sketchy"):
        import_sketches("quickdraw", tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="no such folder"):
        import_sketches("tu-berlin", tmp_path / "nothing", tmp_path / "out")
    source = _released(tmp_path / "source", 3, 2)
    with pytest.raises(InputError, match="has 3 class folders where tu-berlin has 250"):
        import_sketches("tu-berlin", source, tmp_path / "out")
    with pytest.raises(InputError, match=r"val_share 1\.0"):
        import_sketches("tu-berlin", source, tmp_path / "out", val_share=1.0)
    assert not (tmp_path / "out").exists()


def test_a_damaged_sketch_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    source = _released(tmp_path / "source", 125, 2)
    (source / "class 007" / "15.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"15\.png: cannot be read"):
        import_sketches("sketchy", source, tmp_path / "out", side=4)
    assert not (tmp_path / "out").exists()
