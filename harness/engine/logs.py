"""Read container logs: split lines, validate each, and keep the last ones per region."""

import json
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import requests
import urllib3
from docker.errors import DockerException
from docker.models.containers import Container

BROKEN = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError)
"""Exceptions that reading from an engine may raise."""
NO_REGION = "-"
KEPT_LINES = 50
KEPT_PROBLEMS = 20
KEPT_CHARACTERS = 4096  # of one line, and of one of its fields
LONGEST_LINE = 8 * 1024 * 1024  # the log writer splits lines at 4 MiB and adds a prefix
_LONG_NUMBER = 4300  # digits: sys.int_info.default_max_str_digits
_PREFIXED = re.compile(rb"\[([^\]\s]+)\] ")


class _DuplicateKeyError(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise _DuplicateKeyError
    return dict(pairs)


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One line and its validation result."""

    text: str
    region: str  # NO_REGION for the container's own lines, "" if it has none
    fields: dict[str, Any] | None  # of a JSON object, None for any other line
    problem: str  # why the line is invalid, "" if it is valid
    at: float  # when it was read, time.monotonic()


def judge(raw: bytes, at: float, regions: frozenset[str]) -> LogLine:
    """Parse and validate one line, given without its newline."""
    text = raw.decode("utf-8", errors="replace")
    if raw.lstrip().startswith(b"{"):
        return _judge_object(raw, text, at, regions)
    match = _PREFIXED.match(raw)
    region = match[1].decode(errors="replace") if match else ""
    if region in regions or region == NO_REGION:
        return LogLine(text=text, region=region, fields=None, problem="", at=at)
    return LogLine(text=text, region="", fields=None, problem="no region prefix", at=at)


def _no_json(constant: str) -> NoReturn:
    """NaN and Infinity are not in RFC 8259."""
    raise ValueError(constant)


def _whole_number(digits: str) -> int | str:
    """RFC 8259 allows numbers of any length; int() rejects long ones, which stay text."""
    return int(digits) if len(digits) <= _LONG_NUMBER else digits


def _judge_object(raw: bytes, text: str, at: float, regions: frozenset[str]) -> LogLine:
    try:
        fields = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_json,
            parse_int=_whole_number,
        )
    except _DuplicateKeyError:
        return LogLine(text=text, region="", fields=None, problem="a key appears twice", at=at)
    except (ValueError, RecursionError):
        return LogLine(text=text, region="", fields=None, problem="not valid JSON", at=at)
    region = fields.get("region")
    known = isinstance(region, str) and (region in regions or region == NO_REGION)
    missing = [key for key in ("region", "timestamp", "level") if key not in fields]
    problem = f"missing {', '.join(missing)}" if missing else ""
    if not problem and not known:
        problem = f"region is {region!r}"
    return LogLine(text=text, region=region if known else "", fields=fields, problem=problem, at=at)


def shortened(line: LogLine) -> LogLine:
    """`line` as kept in memory: long text is truncated, and long fields are dropped."""
    if len(line.text) <= KEPT_CHARACTERS:
        return line
    fields = line.fields and {
        key: value
        for key, value in line.fields.items()
        if len(key) <= KEPT_CHARACTERS and len(str(value)) <= KEPT_CHARACTERS
    }
    text = f"{line.text[:KEPT_CHARACTERS]}… ({len(line.text)} characters)"
    return replace(line, text=text, fields=fields)


class LogStream:
    """Follows a container's log in a thread, from its first line to its last.

    Memory is bounded: only counts, the last lines per region and the first problems are kept. Long
    lines are truncated, and endless ones are split.
    """

    def __init__(self, container: Container, regions: Sequence[str]) -> None:
        self._container = container
        self._regions = frozenset(regions)
        self._changed = threading.Condition()
        self._tails: dict[str, deque[LogLine]] = {}
        self._listeners: list[Callable[[LogLine], None]] = []
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self.last: LogLine | None = None
        self.json_lines: Counter[str] = Counter()
        self.text_lines: Counter[str] = Counter()
        self.problems: list[LogLine] = []
        self.problem_count = 0
        self.first_at: dict[str, float] = {}
        self.last_at: dict[str, float] = {}

    def start(self) -> None:
        """Start following."""
        self._thread.start()

    def listen(self, listener: Callable[[LogLine], None]) -> None:
        """Call `listener`, in the reading thread, with every line from now on."""
        self._listeners.append(listener)

    def finish(self, timeout: float = 10) -> None:
        """Return when the last line of an exited container is read.

        After `timeout` seconds the rest is dropped and recorded as a problem.
        """
        if self._thread.ident is None:
            return
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._given_up.set()
            self._thread.join(1)

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Whether `condition` holds within `timeout` seconds; it is evaluated at every line."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    @property
    def lines(self) -> int:
        """Number of lines so far."""
        return self.json_lines.total() + self.text_lines.total()

    def tail(self, count: int) -> dict[str, tuple[str, ...]]:
        """The last lines of each region; lines without a region are under "-"."""
        with self._changed:
            return {
                region: tuple(line.text for line in list(lines)[-count:])
                for region, lines in sorted(self._tails.items())
            }

    def kept(self) -> dict[str, tuple[LogLine, ...]]:
        """The lines still in memory, by region."""
        with self._changed:
            return {region: tuple(lines) for region, lines in self._tails.items()}

    def _follow(self) -> None:
        rest = bytearray()
        with suppress(*BROKEN):
            for chunk in self._container.logs(stream=True, follow=True):
                rest += chunk
                if b"\n" in chunk:
                    *complete, rest = rest.split(b"\n")
                    for line in complete:
                        self._take(bytes(line))
                if len(rest) > LONGEST_LINE:
                    self._take(bytes(rest), problem=f"longer than {LONGEST_LINE} bytes")
                    rest.clear()
                if self._given_up.is_set():
                    self._take(bytes(rest), problem="the log continues after the container's exit")
                    return
        if rest:
            self._take(bytes(rest))

    def _take(self, raw: bytes, problem: str = "") -> None:
        whole = judge(raw.removesuffix(b"\r"), time.monotonic(), self._regions)
        line = shortened(replace(whole, problem=problem) if problem else whole)
        with self._changed:
            key = line.region or NO_REGION
            self._tails.setdefault(key, deque(maxlen=KEPT_LINES)).append(line)
            (self.text_lines if line.fields is None else self.json_lines)[key] += 1
            if line.problem:
                self.problem_count += 1
                self.problems = [*self.problems, line][:KEPT_PROBLEMS]
            self.first_at.setdefault(key, line.at)
            self.last_at[key] = line.at
            self.last = line
            self._changed.notify_all()
        for listener in self._listeners:
            listener(whole)
