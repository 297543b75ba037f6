"""The git commit that the sources in use come from."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git_commit() -> str:
    """The commit's 12 digits, with "+" for uncommitted changes to ebcore; "" outside git."""
    source = Path(__file__).parent
    try:
        commit = _git(source, "rev-parse", "--short=12", "HEAD")
        changed = _git(source, "status", "--porcelain", "--untracked-files=no", "--", ".")
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return ""
    return commit + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "--no-optional-locks", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return result.stdout.strip()
