"""The environment of every Jinja2 template that gives Markdown."""

from typing import TYPE_CHECKING

from harness.report.check_table import inline

if TYPE_CHECKING:
    from jinja2 import Environment


def markdown_environment(package: str) -> "Environment":
    """Return the environment for the templates of `package`, such as "harness.publish".

    Markdown is not HTML: text of unknown origin needs one of the filters `inline` and `code`.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 (slow)

    made = Environment(
        loader=PackageLoader(package),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"code": code, "inline": inline}
    return made


def code(text: object) -> str:
    """Text as a code span: neither Markdown, a mention, nor a table border."""
    clean = " ".join(str(text).split()).replace("`", "'").replace("|", "¦")
    return f"`{clean}`"
