"""Generated sections of files: the lines between `generated: NAME` and `end of generated`."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path


def render(text: str, sections: Mapping[str, str]) -> str:
    """Replace the generated sections of `text` with the content of `sections`, by name."""
    for name, content in sections.items():
        head = rf"(?P<head>^[^\n]*generated: {re.escape(name)}[^\n]*\n)"
        pattern = head + r".*?(?P<end>^[^\n]*end of generated)"
        text = re.sub(
            pattern,
            # `re.sub` would interpret backslashes in a replacement string.
            partial(_replace, content),
            text,
            flags=re.MULTILINE | re.DOTALL,
        )
    return text


def _replace(content: str, match: re.Match[str]) -> str:
    return f"{match['head']}{content}\n{match['end']}"


def outdated(paths: Sequence[Path], sections: Mapping[str, str], *, write: bool) -> list[Path]:
    """Those of `paths` whose sections differ from `sections`; `write` updates them."""
    different = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        expected = render(text, sections)
        if text != expected:
            different.append(path)
            if write:
                path.write_text(expected, encoding="utf-8")
    return different
