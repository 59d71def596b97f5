"""Draw a measured number against its limits."""

from markupsafe import Markup

from harness.core.proof import Check, Status
from harness.report.markup import tag

_WIDTH = 160
_HEIGHT = 16
_HEADROOM = 1.15  # the scale ends a little after the largest number
_MIN_BAR = 2.0


def draw_bullet(check: Check) -> Markup:
    """Draw the value as a bar, the allowed range as a band behind it, the limits as ticks.

    Empty if the check has no value or no limit.
    """
    limits = [limit for limit in (check.floor, check.bound) if limit is not None]
    if check.value is None or not limits:
        return Markup("")
    top = max(check.value, *limits) * _HEADROOM
    if top <= 0:  # such as 0 findings with a limit of 0
        top = 1.0
    scale = _WIDTH / top
    left = max(0.0, check.floor or 0.0) * scale
    right = _WIDTH if check.bound is None else max(0.0, check.bound) * scale
    bar = max(_MIN_BAR, check.value * scale)
    ticks = [
        tag("rect", x=max(0.0, limit * scale - 1), y=1, width=2, height=14, class_="bound")
        for limit in limits
    ]
    return tag(
        "svg",
        tag("title", f"measured {check.measured}, limit {check.limit}: {check.status}"),
        tag("rect", x=0, y=3, width=_WIDTH, height=10, class_="track"),
        tag("rect", x=left, y=3, width=max(0.0, right - left), height=10, class_="allowed"),
        tag("rect", x=0, y=6, width=bar, height=4, class_=_bar_class(check)),
        *ticks,
        class_="bullet",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
    )


def _bar_class(check: Check) -> str:
    return "value failed" if check.status is Status.FAILED else "value"
