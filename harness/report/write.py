"""Write the four reports to a directory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.files import write_whole
from harness.core.proof import Proof
from harness.report.html_report import render_html
from harness.report.json_report import render_json
from harness.report.junit_report import render_junit
from harness.report.markdown_report import render_markdown

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
"""Environment variable with the path of the GitHub Actions job summary."""


@dataclass(frozen=True, kw_only=True)
class ReportPaths:
    """The paths of one run's reports."""

    json: Path
    junit: Path
    markdown: Path
    html: Path


def write_reports(proof: Proof, directory: Path, *, environ: Mapping[str, str]) -> ReportPaths:
    """Write `proof` in all formats to `directory`, which is created if missing.

    All formats are rendered before the first is written, and each file is written atomically. The
    Markdown is also appended to the file named by `GITHUB_STEP_SUMMARY` in `environ`.
    """
    paths = ReportPaths(
        json=directory / "proof.json",
        junit=directory / "junit.xml",
        markdown=directory / "proof.md",
        html=directory / "proof.html",
    )
    writers: dict[Path, Callable[[Proof], str]] = {
        paths.json: render_json,
        paths.junit: render_junit,
        paths.markdown: render_markdown,
        paths.html: render_html,
    }
    texts = {path: render(proof) for path, render in writers.items()}
    directory.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        write_whole(path, text)
    append_summary(texts[paths.markdown], environ)
    return paths


def append_summary(text: str, environ: Mapping[str, str]) -> None:
    """Append Markdown to the summary of a GitHub Actions job, if `environ` names one."""
    if summary := environ.get(STEP_SUMMARY):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(text)
