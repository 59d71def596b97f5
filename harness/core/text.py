"""Numbers formatted for people."""

_TWO_DIGITS_FROM = 10
_MINUTE = 60
_GIGA = 1e9
_THREE_DIGITS_FROM = 100


def human_size(size: float) -> str:
    """A size in decimal units, as registries and `docker images` show it: "1.98 GB"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} B"


def human_seconds(seconds: float) -> str:
    """A duration with the precision a reader can use: "0.42 s", "12.3 s", "4 min 10 s"."""
    if seconds < _MINUTE:
        return f"{seconds:.{2 if seconds < _TWO_DIGITS_FROM else 1}f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    return f"{minutes} min {rest} s"


def number(value: float) -> str:
    """Three figures, more before the decimal point if it has them: "0.0253", "17,979"."""
    return f"{value:,.0f}" if abs(value) >= _THREE_DIGITS_FROM else f"{value:.3g}"


def quantity(value: float, unit: str) -> str:
    """Format a measured number with its unit; "B" becomes MB or GB."""
    if unit == "B":
        return f"{value / _GIGA:.2f} GB" if value >= _GIGA else f"{value / 1e6:.1f} MB"
    return f"{number(value)} {unit}".strip()
