"""Errors that a user can mend."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_CODE = 2


class InputError(ValueError):
    """Bad input: names what is wrong, why, and what to do next, in one line.

    Args:
        subject: the file or parameter at fault.
        reason: what is wrong with it.
        remedy: what the user can do.
    """

    def __init__(self, subject: object, reason: str, remedy: str) -> None:
        self.subject, self.reason, self.remedy = str(subject), reason, remedy
        text = f"{self.subject}: {reason.rstrip('.')}. {remedy}"
        super().__init__(" ".join(text.split()))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        return InputError, (self.subject, self.reason, self.remedy)


@contextmanager
def exit_on_input_error() -> Iterator[None]:
    """Ends the process with one readable line instead of a traceback."""
    try:
        yield
    except InputError as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(EXIT_CODE)
