"""Untrusted text made visible, and SVG elements that are escaped by construction.

The templates escape what they print. The drawings are code: `tag` escapes every child and
attribute that is not a `Markup`, so text can never become markup by mistake.
"""

from collections.abc import Iterable

from markupsafe import Markup, escape

from harness.report.words import utf8

_KEPT_CONTROLS = "\t\n"
_DELETE = 0x7F
# Control characters are shown as control pictures, such as U+241B for ESC.
_PICTURES = {n: 0x2400 + n for n in range(0x20) if chr(n) not in _KEPT_CONTROLS}
_PICTURES[_DELETE] = 0x2421


def visible(value: object) -> object:
    """Show the control characters of a text as pictures; return any other value unchanged."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return utf8(value).translate(_PICTURES)
    return value


def tag(name: str, /, *children: str, **attributes: str | float) -> Markup:
    """Create an element. The keyword `class_` gives class, `stroke_width` gives stroke-width."""
    given = (
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{''.join(given)}>{join(children)}</{name}>")


def join(children: Iterable[str]) -> Markup:
    """Concatenate elements and texts; plain texts are escaped."""
    return Markup("").join(escape(visible(child)) for child in children)


def _attribute(value: str | float) -> str:
    # Two decimals of a pixel are precise enough, and keep a page with many shapes small.
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return escape(visible(str(value)))
