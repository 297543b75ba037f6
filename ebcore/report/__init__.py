"""The report: every result of a run on one page that needs no network."""

from ebcore.report.stage import report_stage

__all__ = ["report_stage"]
