"""A small copy of the tree that the whole pipeline can run in within a minute or two."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from mlflow import MlflowClient

from ebcore.workspace import TEACHER

ROOT = Path(__file__).parents[2]
GIT = ("git", "-c", "user.name=test", "-c", "user.email=test@example.org")


def own_environment() -> dict[str, str]:
    """In which `python` and `dvc` are those of this process."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@dataclass
class Clone:
    """A copy of the tree; commands run in it.

    Attributes:
        server: address of the Prefect server that its runs are told to.
        output: of `make repro`.
    """

    folder: Path
    server: str
    output: str = ""
    environment: dict[str, str] = field(default_factory=own_environment)

    def run(
        self, *command: str, fails: bool = False, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env={**self.environment, "PREFECT_API_URL": self.server, **settings},
            capture_output=True,
            text=True,
        )
        assert fails or done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            [*GIT, *arguments], cwd=self.folder, check=True, capture_output=True, text=True
        )
        return done.stdout

    def copied(self, folder: Path) -> Clone:
        """A copy, history and tracker included."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Clone(folder, self.server)

    def mlflow(self) -> MlflowClient:
        uri = f"sqlite:///{self.folder / 'mlflow.db'}"
        return MlflowClient(uri, registry_uri=uri)


def make_small_checkout(
    folder: Path, server: str, experts: Sequence[int], *, methods: bool = False
) -> Clone:
    """A git repository with the pipeline, its sources and parameters that take seconds.

    Args:
        methods: with Hybrid Binary Networks and FTBNN, one seed each.
    """
    folder.mkdir(parents=True, exist_ok=True)  # its server may have begun a log there
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    (folder / TEACHER).mkdir(parents=True)
    shutil.copy(ROOT / TEACHER / "README.md", folder / TEACHER)
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, folder / ".dvc")
    for name in ("ebcore", "flows"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    write_small_params(folder, experts, methods)
    clone = Clone(folder, server)
    clone.git("init", "--quiet")
    clone.git("add", ".")
    clone.git("commit", "--quiet", "-m", "start")
    return clone


def write_small_params(folder: Path, experts: Sequence[int], methods: bool = False) -> None:
    """One epoch a step, few repeats."""
    content = yaml.safe_load((ROOT / "params/digits.yaml").read_text())
    content |= {"experts": list(experts), "workers": 2}
    short = {"epochs": 1, "milestones": [], "warmup_epochs": 0}
    for stage in ("train_one", "train_experts", "train_binary"):
        content[stage] |= short
    for section in (content["hybrid"], content["ftbnn"]):
        section["seeds"] = [0] if methods else []
        for key in {"train", "train_real", "train_binary"} & section.keys():
            section[key] |= short
    content["hybrid"]["versions"] = ["wbin"]
    content["networks"] = ["hybrid_train-0", "ftbnn_binary-baseline-0"] if methods else []
    content["benchmark"] |= {"repeats": 3, "min_seconds": 0.0}
    content["report"] |= {"tsne_samples": 100}
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
