"""Which releases of a base system get security fixes."""

SUPPORTED = {"alpine": "3.23"}
"""The newest supported release of each base system; ci.yml proves the image on it."""

SUPPORT_ENDED = {"alpine 3.19": "2025-11-01", "alpine 3.20": "2026-04-01"}
"""https://alpinelinux.org/releases/"""


def no_fixes(system: str) -> str:
    """Say since when `system`, which is past its end of support, has had no fixes."""
    release = ".".join(system.split(".")[:2])
    ended = SUPPORT_ENDED.get(release)
    since = f"has had no security fixes since {ended}" if ended else "gets no more security fixes"
    return f"{system or 'its system'} {since}"


def as_supported(system: str) -> str:
    """Return the newest supported release of `system`, such as "alpine 3.23"; "" if unknown."""
    family = system.partition(" ")[0]
    return f"{family} {SUPPORTED[family]}" if family in SUPPORTED else ""
