"""A study's page: a template beside its code, in the report's looks."""

from __future__ import annotations

from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from ebcore.report.page import fixed, scaled


def study_page(package: str, template: str, **values: Any) -> str:
    """The HTML of a template in `package`; it may include the report's page.css."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader("ebcore.report", ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(fixed=fixed, scaled=lambda value: scaled(value, ""))
    return environment.get_template(template).render(**values)
