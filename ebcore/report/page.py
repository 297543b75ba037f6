"""Templates -> HTML pages that load nothing; how they write numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from ebcore.report.papers import PAPERS

_DASH = "\N{EN DASH}"
_UNITS = {
    "B": ((1e6, "MB"), (1e3, "kB")),
    "": ((1e9, " G"), (1e6, " M"), (1e3, " k")),
}


def render_page(
    template: str, *, package: str = "ebcore.report", html: bool = True, **content: Any
) -> str:
    """A page's text; `template` is a file of `package`, "ebconv/page.html".

    It may extend and include this package's own. Without `html` nothing is escaped.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader("ebcore.report", ".")]),
        autoescape=html,  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        fixed=fixed,
        size=lambda value: scaled(value, "B"),
        scaled=lambda value: scaled(value, ""),
        spread=spread_text,
        between=between,
    )
    environment.globals["papers"] = PAPERS
    return environment.get_template(template).render(**content)


def fixed(value: float | None, digits: int = 1) -> str:
    """A number with fixed decimals and thousands; a dash for what was not measured."""
    return _DASH if value is None else f"{value:,.{digits}f}"


def scaled(value: float | None, unit: str) -> str:
    """12345 -> "12.3 kB" or "12.3 k"; a dash for what was not measured."""
    if value is None:
        return _DASH
    for factor, prefix in _UNITS[unit]:
        if value >= factor:
            return f"{value / factor:.3g} {prefix.strip()}"
    return f"{value:.0f} {unit}".strip()


def spread_text(found: Mapping[str, Any], digits: int = 2) -> str:
    """What `ebcore.report.spread.spread` returned: "97.50 ± 0.28"; the mean alone of one value."""
    mean = fixed(found["mean"], digits)
    std = found["std"]
    return mean if std is None else f"{mean} \N{PLUS-MINUS SIGN} {fixed(std, digits)}"


def between(values: Sequence[float], unit: str = "") -> str:
    """Numbers that may be equal: "1.92 M", or "1.92 M to 2.21 M"."""
    ends = dict.fromkeys(scaled(value, unit) for value in (min(values), max(values)))
    return " to ".join(ends)
