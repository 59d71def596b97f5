"""The reports of a verification run: JSON, JUnit XML, Markdown and one HTML page."""

from harness.report.write import ReportPaths, write_reports

__all__ = ["ReportPaths", "write_reports"]
