"""The papers that the report has a page for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """A method's name and its paper."""

    name: str
    title: str


PAPERS = {
    "ebconv": Paper("EBConv", "High-Capacity Expert Binary Networks (ICLR 2021)"),
    "hybrid": Paper("Hybrid Binary Networks", "Hybrid Binary Networks (WACV 2018)"),
    "ftbnn": Paper(
        "FTBNN", "Rethinking Non-linearity for 1-bit CNNs and Going Beyond (arXiv 2020)"
    ),
}
