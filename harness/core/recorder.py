"""Turn the result of a check, or its failure to run, into one entry of the proof."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import NoReturn, Protocol

from harness.core.console import say, warn
from harness.core.errors import HarnessError
from harness.core.proof import MARKS, Check, Status
from harness.core.text import quantity

SHOWN = 12
MEASURED_CHARACTERS, PROBLEM_CHARACTERS = 500, 20_000


class _SkippedError(Exception):
    pass


class Mortal(Protocol):
    """A container under test, which may exit early."""

    @property
    def dead(self) -> Event:
        """Set when it has exited."""

    def obituary(self) -> str:
        """How it exited, for people."""


@dataclass(kw_only=True)
class Limits:
    """Limits of a measured number; see `harness.core.proof.Check`."""

    unit: str = ""
    bound: float | None = None
    floor: float | None = None
    note: str = ""  # qualifies the limit for readers: "emulated"
    name: str = ""  # of the number, for a check that compares several: "gone after"

    @property
    def text(self) -> str:
        """For people: "≤ 10 s"."""
        return f"{self._numbers} ({self.note})" if self.note else self._numbers

    def problem(self, value: float) -> str:
        """Why `value` is outside the limits; "" if it is within."""
        if self.bound is not None and value > self.bound:
            said = "exceeds the limit"
        elif self.floor is not None and value < self.floor:
            said = "is below the limit"
        else:
            return ""
        problem = f"{quantity(value, self.unit)} {said}: {self.text}"
        return f"{self.name}: {problem}" if self.name else problem

    @property
    def _numbers(self) -> str:
        floor, bound = self.floor, self.bound
        if floor is not None and floor == bound:
            return quantity(floor, self.unit)
        if floor is not None and bound is not None:
            return f"{quantity(floor, self.unit)} to {quantity(bound, self.unit)}"
        if bound is not None:
            return f"≤ {quantity(bound, self.unit)}"
        return f"≥ {quantity(floor, self.unit)}" if floor is not None else ""


@dataclass(kw_only=True)
class Observation:
    """What a check has found so far."""

    measured: str = ""
    value: float | None = None
    problems: list[str] = field(default_factory=list)
    note: str = ""

    def fail(self, problem: str) -> None:
        """Record a problem."""
        self.problems.append(problem)

    def expect(self, condition: object, problem: str) -> None:
        """Record `problem` unless `condition` holds."""
        if not condition:
            self.fail(problem)

    def compare(self, value: float, limits: Limits) -> None:
        """Record a problem if `value` is outside `limits`."""
        if problem := limits.problem(value):
            self.fail(problem)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Record an exception of the block as a problem and go on after the block."""
        try:
            yield
        except _SkippedError:
            raise
        except HarnessError as error:
            if str(error) not in self.problems:
                self.fail(str(error))
        except Exception as error:
            self.fail(f"{type(error).__name__}: {error}")

    def skip(self, reason: str) -> NoReturn:
        """Skip the rest of the check, for `reason`."""
        raise _SkippedError(reason)


class Recorder:
    """Collects the checks of one run, and prints each unless it is `quiet`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.checks: list[Check] = []
        self._quiet = quiet

    @contextmanager
    def check(
        self,
        requirement: str,
        title: str,
        *,
        limits: Limits | None = None,
        limit: str = "",
        scenario: str = "",
        container: Mortal | None = None,
        headline: bool = False,
    ) -> Iterator[Observation]:
        """Run one check: it passes if the block records no problem and the value is in limits.

        Any exception in the block fails the check: an image can be broken in any way.
        """
        finding, limits, began = Observation(), limits or Limits(), time.monotonic()
        skipped = ""
        try:
            with finding.attempt():
                if container is not None and container.dead.is_set():
                    finding.fail(container.obituary())
                yield finding
                self._compare(finding, limits)
        except _SkippedError as reason:
            skipped = str(reason)
        measured = finding.measured
        if not measured and finding.value is not None:
            measured = quantity(finding.value, limits.unit)
        measured = _brief(measured, MEASURED_CHARACTERS)
        status = Status.FAILED if finding.problems else Status.PASSED
        check = Check(
            requirement=requirement,
            title=title,
            status=Status.SKIPPED if skipped else status,
            measured=measured,
            limit=limit or limits.text,
            value=finding.value,
            bound=limits.bound,
            floor=limits.floor,
            unit=limits.unit,
            detail=skipped or "\n".join([*_shortened(finding.problems), *_note(finding)]),
            seconds=time.monotonic() - began,
            scenario=scenario,
            headline=headline,
        )
        self.checks.append(check)
        if not self._quiet:
            _tell(check)

    @staticmethod
    def _compare(finding: Observation, limits: Limits) -> None:
        if limits.bound is None and limits.floor is None:
            return
        if finding.value is not None:
            finding.compare(finding.value, limits)
        elif not finding.problems:
            finding.fail("nothing was measured")


def _shortened(problems: list[str]) -> list[str]:
    shown = [_brief(problem, PROBLEM_CHARACTERS) for problem in problems[:SHOWN]]
    return shown if len(problems) <= SHOWN else [*shown, f"and {len(problems) - SHOWN} more"]


def _note(finding: Observation) -> list[str]:
    return [_brief(finding.note, PROBLEM_CHARACTERS)] if finding.note else []


def _brief(text: str, limit: int) -> str:
    """Truncate text: an image can print more than fits a report."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def _tell(check: Check) -> None:
    limit = f" (limit {check.limit})" if check.limit else ""
    said = not check.scenario or check.scenario in check.title  # "SIGTERM while idle", of "idle"
    where = "" if said else f" ({check.scenario})"
    claim = f"{MARKS[check.status]} {check.requirement} {check.title}{where}"
    text = f"  {claim}: {check.measured}{limit}".rstrip(": ")
    if check.status is Status.PASSED:
        say(text)
    else:
        warn("\n      ".join([text, *check.detail.splitlines()]))
