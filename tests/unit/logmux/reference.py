"""A reference for image/logmux.lua, based on Python's JSON parser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json import JSONDecoder
from typing import Any, NoReturn

REGION = "us-east-1"
NOW = "@now@"
LEVELS = {b"EMERG": "error", b"ALERT": "error", b"WARNING": "warn", b"NOTICE": "info"}
LEVELS |= {b"0": "error", b"1": "error", b"2": "error", b"3": "error", b"4": "warn"}
LEVELS |= {b"5": "info", b"6": "info"}
NOW_PATTERN = rb'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"'


def _reject(constant: str) -> NoReturn:
    raise ValueError(constant)


def _load(line: bytes) -> tuple[str, Any] | None:
    """Return the text and the value of strict JSON, or None."""
    try:
        text = line.decode()
        return text, json.loads(text, parse_constant=_reject, parse_int=str, parse_float=str)
    except ValueError:
        return None


def _skip_space(text: str, pos: int) -> int:
    while text[pos] in " \t\r\n":
        pos += 1
    return pos


def members(text: str, pos: int) -> Iterator[tuple[str, int, int, str]]:
    """Yield name, key start and end, and the value's text for each member."""
    decoder = JSONDecoder()
    pos = _skip_space(text, pos)
    while text[pos] != "}":
        name, key_end = decoder.raw_decode(text, pos)
        value_at = _skip_space(text, _skip_space(text, key_end) + 1)
        value_end = decoder.raw_decode(text, value_at)[1]
        yield name, pos, key_end, text[value_at:value_end]
        pos = _skip_space(text, value_end)
        if text[pos] == ",":
            pos = _skip_space(text, pos + 1)


def _splice(text: str, name: str, own: bool, now: str) -> str:
    opening = text.index("{") + 1
    found = list(members(text, opening))
    taken = {member[0] for member in found}
    times = [value for key, _, _, value in found if key == "time"]
    keeps_region = own and "region" in taken
    added = [] if keeps_region else [f'"region":"{name}"']
    if "timestamp" not in taken:
        added.append(f'"timestamp":{times[-1] if times else now}')
    if "level" not in taken:
        added.append('"level":"info"')
    names = ["plugin_region", *(f"plugin_region_{n}" for n in range(2, 99))]
    free = iter([candidate for candidate in names if candidate not in taken])
    body, pos = "", opening
    for key, key_at, key_end, _ in found:
        if key == "region" and not keeps_region:
            body += f'{text[pos:key_at]}"{next(free)}"'
            pos = key_end
    comma = "," if found and added else ""
    return text[:opening] + ",".join(added) + comma + body + text[pos:]


def expected_line(line: bytes, name: str = REGION, own: bool = False, now: str = NOW) -> bytes:
    """Return logmux's expected output for a line, with `now` as the time."""
    if line.endswith(b"\r"):
        line = line[:-1]
    loaded = _load(line)
    if loaded is None and own:
        word = re.match(rb"\[([A-Z]+)\]|<([0-6])>", line)
        level = LEVELS.get(word[1] or word[2] if word else b"", "warn")
        line = line[word.end() :] if word and word[2] else line
        head = f'{{"region":"{name}","timestamp":{now},"level":"{level}","message":'
        return head.encode() + _quoted(line) + b"}"
    if loaded is None:
        return f"[{name}] ".encode() + line
    text, value = loaded
    if isinstance(value, dict):
        return _splice(text, name, own, now).encode()
    head = f'{{"region":"{name}","timestamp":{now},"level":"info","message":'
    return f"{head}{text}}}".encode()


def _quoted(line: bytes) -> bytes:
    """Return the line as a JSON string; invalid UTF-8 becomes question marks."""
    try:
        line.decode()
    except UnicodeDecodeError:
        line = re.sub(rb"[\x80-\xff]", b"?", line)
    line = re.sub(rb'(["\\])', rb"\\\1", line)
    return b'"' + re.sub(rb"[\x00-\x1f\x7f]", lambda m: b"\\u%04x" % m[0][0], line) + b'"'


def matches(actual: bytes, expected: bytes) -> bool:
    """Return whether a line is the expected one, with any time in place of NOW."""
    parts = [re.escape(part) for part in expected.split(NOW.encode())]
    return re.fullmatch(NOW_PATTERN.join(parts), actual, re.DOTALL) is not None


def assert_lines(actual: list[bytes], expected: list[bytes]) -> None:
    """Fail at the first line that differs."""
    for got, want in zip(actual, expected, strict=False):
        assert matches(got, want), f"{got[:500]!r} is not {want[:500]!r}"
    assert len(actual) == len(expected)
