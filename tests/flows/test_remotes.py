"""What `dvc push` takes and a fresh clone gets from it, through a folder and an S3 service."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebcore.errors import InputError
from ebcore.files import sha256_file
from ebcore.packed import load
from flows.server import HOST, free_port, start_process, stop_process, wait_until_answers
from tests.flows.small_checkout import Clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
REPORT = ("report/index.html", "report/summary.json")
KEYS = {"access_key_id": "key", "secret_access_key": "not-in-git"}


@pytest.fixture
def origin(finished: Clone, tmp_path: Path) -> Clone:
    """A copy of the finished checkout, to be pushed from."""
    return finished.copied(tmp_path / "origin")


class FolderRemote:
    """A folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self, clone: Clone) -> None:
        """Gives a checkout its remote, or the credentials that a clone of it lacks."""
        add_remote(clone, str(self._folder))

    def damage(self, key: str) -> None:
        path = self._folder / key
        mode = path.stat().st_mode
        path.chmod(0o644)
        path.write_bytes(with_a_flipped_bit(path.read_bytes()))
        path.chmod(mode)

    def remove(self, key: str) -> None:
        (self._folder / key).unlink(missing_ok=True)


class S3Remote:
    """A bucket of a service at `url`."""

    def __init__(self, url: str) -> None:
        import boto3

        names = {f"aws_{key}": value for key, value in KEYS.items()}
        self._url = url
        self._client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **names)
        self._client.create_bucket(Bucket="results")

    def prepare(self, clone: Clone) -> None:
        add_remote(clone, "s3://results/ebcore", endpointurl=self._url)
        for key, value in KEYS.items():
            clone.run("dvc", "remote", "modify", "--local", "shared", key, value)

    def damage(self, key: str) -> None:
        where = {"Bucket": "results", "Key": f"ebcore/{key}"}
        content = self._client.get_object(**where)["Body"].read()
        self._client.put_object(Body=with_a_flipped_bit(content), **where)

    def remove(self, key: str) -> None:
        self._client.delete_object(Bucket="results", Key=f"ebcore/{key}")


def with_a_flipped_bit(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


def add_remote(clone: Clone, url: str, **options: str) -> None:
    if "shared" not in (clone.folder / ".dvc/config").read_text():
        clone.run("dvc", "remote", "add", "--default", "shared", url)
        for key, value in {"verify": "true", **options}.items():
            clone.run("dvc", "remote", "modify", "shared", key, value)


@pytest.fixture(params=["folder", "s3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FolderRemote | S3Remote]:
    if request.param == "folder":
        yield FolderRemote(tmp_path / "remote")
        return
    pytest.importorskip("dvc_s3", reason="pip install '.[s3]'")
    pytest.importorskip("moto")
    port = free_port(0)
    url, log = f"http://{HOST}:{port}", tmp_path / "s3.log"
    command = [sys.executable, "-m", "moto.server", "--host", HOST, "--port", str(port)]
    process = start_process(command, log)
    try:
        wait_until_answers(process, f"{url}/moto-api/data.json", log)
        yield S3Remote(url)
    finally:
        stop_process(process)


def cloned(origin: Clone, folder: Path) -> Clone:
    subprocess.run(["git", "clone", "--quiet", str(origin.folder), str(folder)], check=True)
    return Clone(folder, origin.server)


def test_a_fresh_clone_that_pulls_has_nothing_to_do(
    origin: Clone, remote: FolderRemote | S3Remote, tmp_path: Path
) -> None:
    remote.prepare(origin)
    origin.run("dvc", "push")
    origin.git("commit", "--quiet", "--all", "--message", "A remote")
    assert "not-in-git" not in origin.git("show")
    fresh = cloned(origin, tmp_path / "fresh")
    remote.prepare(fresh)
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


def test_a_damaged_object_is_refused_and_can_be_replaced(
    origin: Clone, remote: FolderRemote | S3Remote, tmp_path: Path
) -> None:
    packed = Path("packed/ebconv-1.ebp")
    remote.prepare(origin)
    origin.run("dvc", "push", str(packed))
    origin.git("commit", "--quiet", "--all", "--message", "A remote")
    digest = hashlib.md5((origin.folder / packed).read_bytes()).hexdigest()
    key = f"files/md5/{digest[:2]}/{digest[2:]}"
    remote.damage(key)

    trusting = cloned(origin, tmp_path / "trusting")
    remote.prepare(trusting)
    trusting.run("dvc", "remote", "modify", "shared", "verify", "false")
    trusting.run("dvc", "pull", str(packed))  # DVC's default: the damage comes along
    with pytest.raises(InputError, match=r"ebconv-1\.ebp"):
        load(trusting.folder / packed)

    fresh = cloned(origin, tmp_path / "fresh")
    remote.prepare(fresh)
    refused = fresh.run("dvc", "pull", str(packed), fails=True)
    assert refused.returncode != 0
    assert str(packed) in refused.stderr
    assert not (fresh.folder / packed).exists()

    remote.remove(key)  # a push leaves out what seems to be there
    origin.run("dvc", "push", str(packed))
    fresh.run("dvc", "pull", str(packed))
    assert sha256_file(fresh.folder / packed) == sha256_file(origin.folder / packed)


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
