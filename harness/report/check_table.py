"""The table of checks in Markdown, for every report that has one."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Generic, TypeVar

from harness.core.proof import MARKS, Check

Row = TypeVar("Row")

_SPECIAL = re.compile(r"([\\`*_{}\[\]|~#@])")


@dataclass(frozen=True, kw_only=True)
class Column(Generic[Row]):
    """One column of a table of checks, or of what a report keeps beside a check."""

    head: str
    cell: Callable[[Row], str]  # Markdown: text of unknown origin goes through `inline`
    align: str = "---"


def render_table(columns: Sequence[Column[Row]], rows: Iterable[Row]) -> str:
    """A Markdown table with one line per row, without a newline at the end."""
    heads = "".join(f" {column.head} |" if column.head else " |" for column in columns)
    lines = (" | ".join(_one_line(column.cell(row)) for column in columns) for row in rows)
    return "\n".join(
        [
            f"|{heads}",
            f"|{'|'.join(column.align for column in columns)}|",
            *(f"| {line} |" for line in lines),
        ]
    )


def mark(check: Check) -> str:
    """The cell of the verdict."""
    return MARKS[check.status]


def inline(text: str) -> str:
    """Text on one line that is shown as it is: neither HTML, Markdown nor a table border."""
    return _SPECIAL.sub(r"\\\1", escape(" ".join(text.split()), quote=False))


def _one_line(cell: str) -> str:
    return cell.replace("\n", " ")
