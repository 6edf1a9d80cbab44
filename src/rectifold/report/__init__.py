"""The HTML report of a fit, and the words it shares with the command."""

from rectifold.report.figures import ReportFigure
from rectifold.report.render import render_report, write_report
from rectifold.report.summary import FitSummary, ModelRow, PathRow

__all__ = ["FitSummary", "ModelRow", "PathRow", "ReportFigure", "render_report", "write_report"]
