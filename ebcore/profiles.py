"""Named parameter sets: params/NAME.yaml, and which of them params.yaml is."""

from __future__ import annotations

from pathlib import Path

from ebcore.errors import InputError
from ebcore.files import atomic_write
from ebcore.params import load_params

ACTIVE = Path("params.yaml")
FOLDER = Path("params")


def profile_names() -> list[str]:
    """The profiles of the checkout one is in, sorted.

    Raises:
        InputError: the current folder has no params/.
    """
    names = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    if not names:
        raise InputError(f"{FOLDER}/", "holds no profiles", "Run this in the project's checkout.")
    return names


def active_profile() -> str | None:
    """The profile that params.yaml equals byte for byte; None for an edited or missing one."""
    if not ACTIVE.is_file():
        return None
    content = ACTIVE.read_bytes()
    for name in profile_names():
        if _file(name).read_bytes() == content:
            return name
    return None


def use_profile(name: str, *, force: bool = False) -> None:
    """Makes a profile the active one: copies params/NAME.yaml to params.yaml.

    Raises:
        InputError: no such profile, an invalid one, or params.yaml holds edits that would be lost
            and `force` is not given.
    """
    source = profile_file(name)
    load_params(source)
    if ACTIVE.is_file() and active_profile() is None and not force:
        raise InputError(
            ACTIVE,
            "holds edits that no profile has",
            f"Keep them as a profile (cp {ACTIVE} {FOLDER}/NAME.yaml), or drop them by --force.",
        )
    with atomic_write(ACTIVE, "wb") as file:
        file.write(source.read_bytes())


def profile_file(name: str) -> Path:
    """The file of a profile.

    Raises:
        InputError: there is no profile of this name.
    """
    names = profile_names()
    if name not in names:
        raise InputError(f"profile {name!r}", "is unknown", f"Use one of {', '.join(names)}.")
    return _file(name)


def _file(name: str) -> Path:
    return FOLDER / f"{name}.yaml"
