"""A conversion that was killed goes on, ends in the same bytes and does little twice."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from ebcore.data import beton, convert, inspection, pages
from ebcore.data.journal import Journal
from ebcore.data.staging import partial_folder, replaced_folder
from ebcore.errors import InputError
from ebcore.params import PrepareParams
from tests.data.conftest import write_images

ROOT = Path(__file__).parents[2]
RAW = PrepareParams(jpeg_fraction=0.0)  # 480 kB an image: four on a page of 2 MiB
FILES = ("train.beton", "val.beton", "manifest.json")

SCRIPT = """
import sys, time
from pathlib import Path
from ebcore.data import beton, convert, inspection, pages
from ebcore.params import PrepareParams

folder, out, log = map(Path, sys.argv[1:])

def noting(module, name, label):
    real = getattr(module, name)
    def wrapped(*arguments, **options):
        image = arguments[1] if module is beton else arguments[0][1]
        with open(log, "a") as file:
            file.write(f"{label} {image.path}\\n")
        time.sleep(0.03)
        return real(*arguments, **options)
    setattr(module, name, wrapped)

noting(inspection, "_inspect_one", "check")
noting(beton, "_encode", "encode")
convert.RESUME_FROM, inspection.NOTED, pages.SYNC_BYTES, beton.WINDOW = 1, 4, 1, 2
convert.convert(folder, out, PrepareParams(jpeg_fraction=0.0), "ffcv", name="x")
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 + 12 images of 400 px."""
    root = tmp_path_factory.mktemp("resume") / "images"
    return write_images(root, sizes=(400, 400), counts=(8, 4))


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "RESUME_FROM", 1)
    monkeypatch.setattr(inspection, "NOTED", 4)
    monkeypatch.setattr(pages, "SYNC_BYTES", 1)


def _convert(images: Path, out: Path, prepare: PrepareParams = RAW) -> None:
    convert.convert(images, out, prepare, "ffcv", name="x", progress=False)


def _bytes(out: Path) -> list[bytes]:
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    return [(out / name).read_bytes() for name in FILES]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_while_checking_and_while_writing(images: Path, tmp_path: Path) -> None:
    """Three kills: in the check, in train.beton, in val.beton."""
    _convert(images, tmp_path / "unbroken")
    log = tmp_path / "log"
    command = [sys.executable, "-c", SCRIPT, str(images), str(tmp_path / "out"), str(log)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # Images looked at or encoded since the start, over all processes so far.
    for label, count in (("check", 22), ("encode", 15), ("encode", 36)):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        try:
            while _lines(log, label) < count:
                assert process.poll() is None, "ended before it was killed"
                time.sleep(0.005)
        finally:
            process.kill()
            process.wait()
        assert not (tmp_path / "out").exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert _bytes(tmp_path / "out") == _bytes(tmp_path / "unbroken")
    times = Counter(log.read_text().split("\n"))
    again = {label: sum(n - 1 for line, n in times.items() if line.startswith(label))
             for label in ("check", "encode")}  # fmt: skip
    assert sum(line.startswith("encode") for line in times) == 36
    assert 0 < again["check"] <= 4 + 1  # what a line of the journal holds
    # The page being filled, the written one not yet noted, images under way.
    assert again["encode"] <= 2 * (4 + 4 + 2 + (os.cpu_count() or 1))
    assert not partial_folder(tmp_path / "out").exists()


def _lines(log: Path, label: str) -> int:
    return log.read_text().count(label) if log.exists() else 0


def test_an_error_in_the_middle_loses_little(
    images: Path, tmp_path: Path, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    _convert(images, tmp_path / "unbroken")
    real, calls = beton._encode, 0

    def fail(*arguments: object, **options: object) -> bytes:
        nonlocal calls
        calls += 1
        if calls == 15:
            raise RuntimeError("deliberate")
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(beton, "_encode", fail)
    with pytest.raises(RuntimeError, match="deliberate"):
        _convert(images, tmp_path / "out")
    monkeypatch.setattr(inspection, "_inspect_one", None)  # all is noted
    _convert(images, tmp_path / "out")
    assert _bytes(tmp_path / "out") == _bytes(tmp_path / "unbroken")


@pytest.mark.parametrize("what", ["image", "parameter", "file"])
def test_changes_in_between_are_seen(
    tmp_path: Path, small_steps: None, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """An image, prepare.quality or the partial file: what no longer holds is done again."""
    images = write_images(tmp_path / "images", sizes=(400, 400), counts=(8, 4))
    with monkeypatch.context() as patch:
        patch.setattr(convert, "sha256_file", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            _convert(images, tmp_path / "out")
    prepare = RAW
    if what == "image":
        first = images / "train" / "ant" / "0.JPEG"
        first.write_bytes((images / "train" / "bee" / "1.JPEG").read_bytes())
    elif what == "parameter":
        prepare = PrepareParams(jpeg_fraction=1.0)
    else:
        os.truncate(partial_folder(tmp_path / "out") / "train.beton", 100)
    _convert(images, tmp_path / "out", prepare)
    _convert(images, tmp_path / "other", prepare)
    assert _bytes(tmp_path / "out") == _bytes(tmp_path / "other")


def _interrupt(path: Path) -> str:
    raise KeyboardInterrupt


def test_a_damaged_image_costs_its_line_alone(
    tmp_path: Path, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = write_images(tmp_path / "images", counts=(8, 4))
    bad = images / "val" / "cat" / "3.JPEG"
    whole = bad.read_bytes()
    bad.write_bytes(b"no image")
    with pytest.raises(InputError, match="cannot be read"):
        _convert(images, tmp_path / "out")
    bad.write_bytes(whole)
    real, seen = inspection._inspect_one, []
    monkeypatch.setattr(inspection, "_inspect_one", lambda task: seen.append(task) or real(task))
    _convert(images, tmp_path / "out")
    assert [task[1].path for task in seen] == [f"val/cat/{n}.JPEG" for n in range(4)]


def test_a_second_process_is_refused(images: Path, tmp_path: Path, small_steps: None) -> None:
    out = tmp_path / "out"
    with replaced_folder(out, resume=True) as partial:
        (partial / "begun").touch()
        with pytest.raises(InputError, match=f"out: is written already in process {os.getpid()}"):
            _convert(images, out)
        assert (partial / "begun").exists()


def test_a_disk_that_is_too_small_is_refused_before_anything_is_done(
    images: Path, tmp_path: Path, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ebcore.data.estimate.free_bytes", lambda path: 1_000_000)
    with pytest.raises(InputError, match=r"may take \d+\.\d MB, but its disk has 1\.0 MB free"):
        _convert(images, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_torn_line_counts_as_not_written(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path, "work") as journal:
        journal.add([1])
        journal.add([2])
    path.write_bytes(path.read_bytes()[:-2])
    with Journal(path, "work") as journal:
        assert journal.lines == [[1]]
        journal.add([3])
    with Journal(path, "work") as journal:
        assert journal.lines == [[1], [3]]
    with Journal(path, "other work") as journal:
        assert journal.lines == []
