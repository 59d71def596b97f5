"""HTML and SVG elements that are escaped by construction.

Log lines, error messages and labels come from the image under test and are untrusted. `tag`
escapes every child and attribute that is not an `Html`, and only this module creates an `Html`, so
text can never become markup by mistake.
"""

from collections.abc import Iterable
from html import escape

from harness.report.words import utf8

_VOID = frozenset({"input", "meta"})
_KEPT_CONTROLS = "\t\n"
_DELETE = 0x7F
# Control characters are shown as control pictures, such as U+241B for ESC.
_PICTURES = {n: 0x2400 + n for n in range(0x20) if chr(n) not in _KEPT_CONTROLS}
_PICTURES[_DELETE] = 0x2421


class Html(str):
    """Markup that is safe to put into a page."""

    __slots__ = ()


def text(value: str) -> Html:
    """Convert any text to markup that displays it."""
    return Html(escape(utf8(value).translate(_PICTURES)))


def tag(name: str, /, *children: str, **attributes: str | float | None) -> Html:
    """Create an element. The keyword `class_` gives class, `stroke_width` gives stroke-width.

    Attributes that are None are omitted.
    """
    given = (
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    opening = f"<{name}{''.join(given)}>"
    if name in _VOID:
        return Html(opening)
    return Html(f"{opening}{join(children)}</{name}>")


def join(children: Iterable[str]) -> Html:
    """Concatenate elements and texts; plain texts are escaped."""
    return Html("".join(c if isinstance(c, Html) else text(c) for c in children))


def _attribute(value: str | float) -> str:
    # Two decimals of a pixel are precise enough, and keep a page with many shapes small.
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else text(str(value))
