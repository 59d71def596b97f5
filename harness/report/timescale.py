"""A time axis that shortens long quiet stretches."""

import math
from dataclasses import dataclass

_LONG = 1 / 4  # a quiet gap longer than this fraction of the busy time is shortened …
_SHORT = 1 / 8  # … to this fraction of it
_STEPS = (1, 2, 5, 10)


@dataclass(frozen=True, kw_only=True)
class TimeScale:
    """Maps seconds to a position on the axis, from 0 at the left end to 1 at the right end."""

    end: float  # seconds at the right end
    cuts: tuple[tuple[float, float], ...]  # the gaps that are shortened
    drawn_cut: float  # length of each cut, in seconds of axis

    def at(self, seconds: float) -> float:
        """Return the position of a moment; it never decreases with time."""
        return min(1.0, self._drawn(seconds) / (self._drawn(self.end) or 1))

    def ticks(self, count: int) -> tuple[float, ...]:
        """Return about `count` round moments outside the cuts."""
        step = _round_up((self._drawn(self.end) or 1) / count)
        moments = (n * step for n in range(math.floor(self.end / step) + 1))
        return tuple(t for t in moments if not any(a < t < b for a, b in self.cuts))

    def _drawn(self, seconds: float) -> float:
        drawn = seconds
        for start, stop in self.cuts:
            if seconds > start:
                part = min(1.0, (seconds - start) / (stop - start))
                drawn -= part * (stop - start - self.drawn_cut)
        return drawn


def time_scale(end: float, quiet: tuple[tuple[float, float], ...]) -> TimeScale:
    """Return the scale for `end` seconds, of which the stretches `quiet` have no events."""
    busy = end - sum(stop - start for start, stop in quiet)
    if busy <= 0:
        return TimeScale(end=end, cuts=(), drawn_cut=0)
    cuts = tuple((start, stop) for start, stop in quiet if stop - start > busy * _LONG)
    return TimeScale(end=end, cuts=cuts, drawn_cut=busy * _SHORT)


def _round_up(step: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in _STEPS if power * factor >= step * 0.999)
