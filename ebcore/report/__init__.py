"""The report: a page per method and one that compares them; none needs a network."""

from ebcore.report.stage import report_stage

__all__ = ["report_stage"]
