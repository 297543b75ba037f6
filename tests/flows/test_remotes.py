"""What `dvc push` takes and a fresh clone gets from it, through a folder and an S3 service."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ebcore.errors import InputError
from ebcore.files import sha256_file
from ebcore.packed import load
from flows.server import HOST, free_port, start_process, stop_process, wait_until_answers
from tests.flows.small_checkout import Clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
REPORT = ("report/index.html", "report/summary.json")
KEYS = {"access_key_id": "key", "secret_access_key": "not-in-git"}


@pytest.fixture
def origin(finished: Clone, tmp_path: Path) -> Clone:
    """A copy of the finished checkout, to be pushed from."""
    return finished.copied(tmp_path / "origin")


@pytest.fixture(params=["folder", "s3"])
def prepare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Clone], None]]:
    """Gives a checkout its remote, or the credentials that a clone of it lacks."""
    if request.param == "folder":
        yield lambda clone: add_remote(clone, str(tmp_path / "remote"))
        return
    pytest.importorskip("dvc_s3", reason="pip install '.[s3]'")
    pytest.importorskip("moto")
    with s3_service(tmp_path / "s3.log") as url:

        def with_s3(clone: Clone) -> None:
            add_remote(clone, "s3://results/ebcore", endpointurl=url)
            for key, value in KEYS.items():
                clone.run("dvc", "remote", "modify", "--local", "shared", key, value)

        yield with_s3


def add_remote(clone: Clone, url: str, **options: str) -> None:
    if "shared" not in (clone.folder / ".dvc/config").read_text():
        clone.run("dvc", "remote", "add", "--default", "shared", url)
        for key, value in {"verify": "true", **options}.items():
            clone.run("dvc", "remote", "modify", "shared", key, value)


class s3_service:
    """moto's server with one bucket."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __enter__(self) -> str:
        import boto3

        url = f"http://{HOST}:{(port := free_port(0))}"
        command = [sys.executable, "-m", "moto.server", "--host", HOST, "--port", str(port)]
        self._process = start_process(command, self._log)
        wait_until_answers(self._process, f"{url}/moto-api/data.json", self._log)
        names = {f"aws_{key}": value for key, value in KEYS.items()}
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **names)
        client.create_bucket(Bucket="results")
        return url

    def __exit__(self, *_: object) -> None:
        stop_process(self._process)


def cloned(origin: Clone, folder: Path) -> Clone:
    subprocess.run(["git", "clone", "--quiet", str(origin.folder), str(folder)], check=True)
    return Clone(folder, origin.server)


def test_a_fresh_clone_that_pulls_has_nothing_to_do(
    origin: Clone, prepare: Callable[[Clone], None], tmp_path: Path
) -> None:
    prepare(origin)
    origin.run("dvc", "push")
    origin.git("commit", "--quiet", "--all", "--message", "A remote")
    assert "not-in-git" not in origin.git("show")
    fresh = cloned(origin, tmp_path / "fresh")
    prepare(fresh)
    fresh.run("dvc", "pull")
    assert "up to date" in fresh.run("dvc", "status").stdout
    again = fresh.run("dvc", "repro").stdout
    assert "Running stage" not in again
    assert "up to date" in again
    assert "Every stage is up to date." in fresh.run("flows.repro").stdout
    assert not (fresh.folder / ".runs").exists()
    pulled = {name: (fresh.folder / name).read_bytes() for name in REPORT}
    assert pulled == {name: (origin.folder / name).read_bytes() for name in REPORT}
    fresh.run("dvc", "repro", "--force", "--single-item", "report")
    assert pulled == {name: (fresh.folder / name).read_bytes() for name in REPORT}
    assert not fresh.git("status", "--porcelain")


def test_one_result_alone_can_be_pulled(origin: Clone, tmp_path: Path) -> None:
    add_remote(origin, str(tmp_path / "remote"))
    origin.run("dvc", "push")
    origin.git("commit", "--quiet", "--all", "--message", "A remote")
    fresh = cloned(origin, tmp_path / "fresh")
    fresh.run("dvc", "pull", "packed/ebconv-1.ebp")
    assert load(fresh.folder / "packed/ebconv-1.ebp")
    assert not (fresh.folder / "data/raw").exists()
    assert not (fresh.folder / "checkpoints/train_one.safetensors").exists()


def test_a_damaged_object_is_refused_and_can_be_replaced(origin: Clone, tmp_path: Path) -> None:
    packed = Path("packed/ebconv-1.ebp")
    add_remote(origin, str(tmp_path / "remote"))
    origin.run("dvc", "push")
    origin.git("commit", "--quiet", "--all", "--message", "A remote")
    victim = object_of(tmp_path / "remote", origin.folder / packed)
    flip_a_bit(victim)

    fresh = cloned(origin, tmp_path / "fresh")
    refused = fresh.run("dvc", "pull", str(packed), fails=True)
    assert refused.returncode != 0
    assert str(packed) in refused.stderr
    assert not (fresh.folder / packed).exists()

    trusting = cloned(origin, tmp_path / "trusting")
    trusting.run("dvc", "remote", "modify", "shared", "verify", "false")
    trusting.run("dvc", "pull", str(packed))  # DVC's default: the damage comes along
    with pytest.raises(InputError, match=r"ebconv-1\.ebp"):
        load(trusting.folder / packed)

    victim.unlink()  # a push leaves out what seems to be there
    origin.run("dvc", "push")
    fresh.run("dvc", "pull", str(packed))
    assert sha256_file(fresh.folder / packed) == sha256_file(origin.folder / packed)


def object_of(remote: Path, file: Path) -> Path:
    content = file.read_bytes()
    return next(p for p in remote.rglob("*") if p.is_file() and p.read_bytes() == content)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def test_a_remote_that_is_not_there_ends_in_an_error(origin: Clone, tmp_path: Path) -> None:
    add_remote(origin, str(tmp_path / "remote"))
    origin.run("dvc", "push")
    origin.git("commit", "--quiet", "--all", "--message", "A remote")
    shutil.rmtree(tmp_path / "remote")
    fresh = cloned(origin, tmp_path / "fresh")
    done = fresh.run("dvc", "pull", fails=True)
    assert done.returncode != 0
    assert "ERROR: failed to pull data from the cloud" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_s3_service_that_does_not_answer_ends_in_an_error(origin: Clone) -> None:
    pytest.importorskip("dvc_s3", reason="pip install '.[s3]'")
    add_remote(origin, "s3://results/ebcore", endpointurl=f"http://{HOST}:9")
    for key, value in KEYS.items():
        origin.run("dvc", "remote", "modify", "--local", "shared", key, value)
    done = origin.run("dvc", "push", fails=True)
    assert done.returncode != 0
    assert "Could not connect to the endpoint URL" in done.stderr
    assert "not-in-git" not in done.stdout + done.stderr
