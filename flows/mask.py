"""Credentials stay out of what is printed."""

from __future__ import annotations

import re

_USER = re.compile(r"(?<=://)[^\s/?#]+@")  # user:password@ of an address


def mask(text: object) -> str:
    """The text without the user and password of the addresses in it."""
    return _USER.sub("***@", str(text))
