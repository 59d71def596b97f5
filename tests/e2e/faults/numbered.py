"""Finds lost and doubled log lines: every region numbers its lines, each process from 0."""

from __future__ import annotations

from collections import Counter

from harness.engine.logs import LogLine

RATE = 40  # lines a second of each region
ENVIRON = {"STANDIN_LOG_FLOOD_LINES": "-1", "STANDIN_LOG_FLOOD_RATE": str(RATE)}
"""Makes the stand-in plugin write such lines without end."""


class NumberedLines:
    """Watches the numbers; a process that begins anew begins with 0."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self.seen: Counter[str] = Counter()
        self.lost = 0
        self.doubled = 0
        self.misnamed = 0  # lines that bear another region's name

    def take(self, line: LogLine) -> None:
        """Look at one line of the log."""
        number = (line.fields or {}).get("seq")
        if not isinstance(number, int):
            return
        self.misnamed += (line.fields or {}).get("aws_region") != line.region
        expected = self._last.get(line.region, -1) + 1
        self.seen[line.region] += 1
        self._last[line.region] = number
        if number > expected:
            self.lost += number - expected
        elif 0 < number < expected:
            self.doubled += 1
