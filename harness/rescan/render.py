"""Render the issues and the summary of a rescan from Jinja2 templates."""

from harness.report.markdown_templates import markdown_environment
from harness.rescan.problems import Problem


def render_issue(problem: Problem, rebuild: str) -> str:
    """Render the body of the issue for `problem`; `rebuild` is the command."""
    template = markdown_environment("harness.rescan").get_template("issue.md")
    return template.render(problem=problem, rebuild=rebuild).strip() + "\n"


def render_summary(**values: object) -> str:
    """Render the summary of a rescan."""
    template = markdown_environment("harness.rescan").get_template("rescan.md")
    return template.render(**values).strip() + "\n"
