"""The C interface: what Python's runtime gives, without Python."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ebcore.errors import InputError
from ebcore.models import EBResNet
from ebcore.packed import PackedModel, load, pack
from ebcore.packed import format as file_format
from ebcore.packed.graph import Bits, Graph, Node
from ebcore.packed.native import library_path
from tests.packed.c_library import INCLUDE, CLibrary, Refused

EXAMPLE = Path(__file__).parents[2] / "examples" / "c"
MEAN, STD = [0.5, 0.25, 0.125], [0.25, 0.5, 1.0]
CLASSES = ["zèbre", *(f"class {i}" for i in range(1, 10))]
WARNINGS = ["-Wall", "-Wextra", "-pedantic", "-Werror"]


@pytest.fixture
def packed(network: Callable[..., EBResNet]) -> PackedModel:
    model = network(experts=2, se=True)
    model.metadata = {"classes": CLASSES, "mean": MEAN, "std": STD, "image_size": 8}
    return pack(model, (3, 8, 8))


@pytest.fixture
def file(packed: PackedModel, tmp_path: Path) -> Path:
    packed.save(tmp_path / "net.ebp")
    return tmp_path / "net.ebp"


@pytest.mark.parametrize("threads", [1, 2])
def test_same_logits_as_python(file: Path, forced_isa: str, threads: int) -> None:
    own, reference = CLibrary().load(file), load(file)
    assert own.get("isa").decode() == reference.isa == forced_isa
    for batch in (0, 1, 3):
        x = torch.randn(batch, 3, 8, 8)
        assert torch.equal(own(x, threads), reference(x))


def test_what_the_file_says_of_itself(file: Path) -> None:
    model = CLibrary().load(file)
    assert model.input_shape == (3, 8, 8)
    assert model.get("outputs") == 10
    assert model.metadata == load(file).metadata
    assert [model.get("class", i).decode() for i in range(10)] == CLASSES
    assert model.get("class", -1) is None and model.get("class", 10) is None
    assert (model.get("mean")[:3], model.get("std")[:3]) == (MEAN, STD)


def test_memory_of_any_alignment(file: Path, packed: PackedModel) -> None:
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(CLibrary().load(file.read_bytes())(x), packed(x))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("classes", CLASSES[1:]),
        ("classes", ["\x1b[2J", *CLASSES[1:]]),
        ("classes", [*CLASSES[1:], 3]),
        ("mean", [0.5]),
        ("mean", [0.5, 0.25, "0.125"]),
        ("mean", 0.5),
    ],
)
def test_metadata_that_fits_not(packed: PackedModel, name: str, value: object) -> None:
    packed.metadata[name] = value
    model = CLibrary().load(file_format.encode(packed.graph))
    assert model.metadata[name] == value
    assert not (model.get("class", 0) if name == "classes" else model.get(name))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:30],
        lambda data: data[:-1],
        lambda data: b"PK\x03\x04" * 100,
        lambda data: data[:8] + b"\x02" + data[9:],
        lambda data: data[:100] + b"?" + data[101:],
        lambda data: file_format.seal(b"[]", b""),
        lambda data: _altered(data, rb'"stride": 1', b'"stride": 0'),
        lambda data: _altered(data, rb'"op": "linear"', b'"op": "listen"'),
    ],
)
def test_refuses_what_python_refuses(damage: Callable[[bytes], bytes], file: Path) -> None:
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError) as reference:
        load(file)
    with pytest.raises(Refused) as own:
        CLibrary().load(file)
    assert str(own.value) == f"{file}: {reference.value.reason}"


def _altered(data: bytes, old: bytes, new: bytes) -> bytes:
    end = 52 + int.from_bytes(data[44:52], "little")
    assert old in data[52:end]
    return file_format.seal(data[52:end].replace(old, new, 1).rstrip(), data[end:])


@pytest.mark.parametrize("header", [b"{", b"\xff", b'{"a": 1, "a": 1}', b"[" * 100, b"[1e999]"])
def test_refuses_headers_that_are_no_header(header: bytes) -> None:
    with pytest.raises(Refused, match=r"packed network: has a malformed header \("):
        CLibrary().load(file_format.seal(header, b""))


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"nothing\.ebp: cannot be read \(No such file"):
        CLibrary().load(tmp_path / "nothing.ebp")
    with pytest.raises(Refused, match=r"cannot be read \(Is a directory\)"):
        CLibrary().load(tmp_path)
    with pytest.raises(Refused, match="no packed network"):
        CLibrary().load(Path("/dev/zero"))  # endless


def test_calls_that_fail(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = CLibrary().load(file)
    with pytest.raises(Refused, match="NaN"):
        model(torch.full((1, 3, 8, 8), float("nan")))
    for threads in (0, 1025):
        with pytest.raises(Refused, match="1 to 1024"):
            model(torch.zeros(1, 3, 8, 8), threads)
    monkeypatch.setenv("EBCORE_ISA", "sse9")
    with pytest.raises(Refused, match=r"EBCORE_ISA=sse9.*portable"):
        CLibrary().load(file)


def test_sha256_of_every_length_in_a_block() -> None:
    library = CLibrary()
    for size in range(1, 65):
        tensors = {
            "scale": np.ones(8, np.float32),
            "z": Bits((1, 8, size, 1, 1), np.zeros(size, np.uint8)),
        }
        attrs = {"kernel": 1, "stride": 1, "padding": 0, "groups": 1, "act": 0, "experts": 1}
        node = Node("binary_conv", "conv", [0], attrs, {"bits": "z", "scale": "scale"})
        data = file_format.encode(Graph((size, 1, 1), [node], tensors))
        assert len(data) % 64 == size % 64
        library.load(data)


def test_header_and_library_have_the_same_functions() -> None:
    declared = set(
        re.findall(r"EBCORE_PUBLIC [^;]*?\b(ebcore_\w+)\(", (INCLUDE / "ebcore.h").read_text())
    )
    assert {"ebcore_error", "ebcore_model_load"} < declared
    library = CLibrary().lib
    assert not [name for name in declared if not hasattr(library, name)]


@pytest.fixture(scope="module")
def classify(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, linked with the library that Python uses."""
    program = tmp_path_factory.mktemp("c") / "classify"
    library = library_path()
    subprocess.run(
        [
            *("cc", "-std=c99", *WARNINGS, f"-I{INCLUDE}", str(EXAMPLE / "classify.c")),
            *(str(library), f"-Wl,-rpath,{library.parent}", "-lm", "-o", str(program)),
        ],
        check=True,
    )
    return program


def _write_image(path: Path, pixels: np.ndarray) -> None:
    height, width, _ = pixels.shape
    path.write_bytes(f"P6\n# a comment\n{width} {height}\n255\n".encode() + pixels.tobytes())


def _run(program: Path, *arguments: object) -> tuple[int, str, str]:
    run = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    return run.returncode, run.stdout, run.stderr


def _check_example(program: Path, file: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    _write_image(file.parent / "image.ppm", pixels)
    code, text, errors = _run(program, file, file.parent / "image.ppm", 10)
    assert (code, errors) == (0, "")
    x = (pixels.astype(np.float32) / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    logits = load(file)(torch.from_numpy(x).permute(2, 0, 1)[None])[0]
    probabilities, order = logits.softmax(0).sort(descending=True)
    rows = [re.fullmatch(r" *(\S+) % +(\S+)  (.+)", line) for line in text.splitlines()]
    assert [row and row[3] for row in rows] == [CLASSES[i] for i in order]
    printed = torch.tensor([float(row[2]) for row in rows if row])  # 9 digits give back every float
    assert torch.equal(printed, logits[order])
    assert [row and float(row[1]) for row in rows] == pytest.approx(
        (100 * probabilities).tolist(), abs=1e-4
    )


def test_example_classifies(classify: Path, file: Path) -> None:
    _check_example(classify, file)


def test_example_says_what_is_wrong(classify: Path, file: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.ppm"
    _write_image(image, np.zeros((8, 9, 3), np.uint8))
    assert "is 9 x 8 pixels, the network takes 8 x 8" in _run(classify, file, image)[2]
    image.write_bytes(b"P5 8 8 255\n" + bytes(64))
    assert "has 1 channels, the network takes 3" in _run(classify, file, image)[2]
    image.write_bytes(b"P6 8 8 255\n" + bytes(191))
    assert "ends early" in _run(classify, file, image)[2]
    image.write_bytes(b"GIF89a")
    assert "no binary PPM" in _run(classify, file, image)[2]
    file.write_bytes(b"EBPACKED")
    code, text, errors = _run(classify, file, image)
    assert (code, text, errors) == (2, "", f"error: {file}: is truncated\n")


def test_header_is_c_and_cpp(tmp_path: Path) -> None:
    for compiler, standard, suffix in (("cc", "c99", "c"), ("c++", "c++11", "cpp")):
        source = tmp_path / f"include.{suffix}"
        source.write_text("#include <ebcore.h>\n")
        subprocess.run(
            [compiler, f"-std={standard}", *WARNINGS, "-fsyntax-only", f"-I{INCLUDE}", str(source)],
            check=True,
        )


@pytest.mark.slow
def test_built_from_sources_alone(file: Path, tmp_path: Path) -> None:
    make = shutil.which("make")
    assert make
    subprocess.run([make, "-s", f"BUILD={tmp_path}"], cwd=EXAMPLE, check=True)
    _check_example(tmp_path / "classify", file)
    x = torch.randn(3, 3, 8, 8)
    own = CLibrary(tmp_path / "libebcore.so").load(file)
    assert torch.equal(own(x, 2), load(file)(x))
