"""Compare random lines, many of them damaged, with Python's JSON parser."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.unit.logmux.reference import REGION, assert_lines, expected_line, members
from tests.unit.logmux.running import REGIONS, mux, needs_lua

pytestmark = needs_lua

NAMES = ["region", "time", "timestamp", "level", "plugin_region", "plugin_region_2", "a", "ü"]
SCALARS = ["0", "-0", "7", "-12", "0.5", "1.25", "-3.0", "1e5", "2E-3", "true", "false", "null"]
JUNK = [*b'{}[]:,"\\u0123eE+-. \t\r\x00\x1e\x1f\x7f\xc3\xa4\xed\xa0\x80\xff', ord("N")]


def _random_string(rng: random.Random) -> str:
    pieces = ["a", "word", " ", "ü", "€", "😀", "\\n", "\\u0041", "\\ud83d", "\\\\", '\\"', "\x7f"]
    return '"' + "".join(rng.choices(pieces, k=rng.randrange(4))) + '"'


def _random_key(rng: random.Random) -> str:
    name = rng.choice(NAMES)
    if rng.random() < 0.1:
        pos = rng.randrange(len(name))
        name = f"{name[:pos]}\\u{ord(name[pos]):04x}{name[pos + 1 :]}"
    return f'"{name}"'


def _random_value(rng: random.Random, depth: int) -> str:
    kind = rng.randrange(8 if depth < 4 else 6)
    space = rng.choice(["", "", "", " ", "\t "])
    if kind < 3:
        return _random_string(rng)
    if kind < 6:
        return rng.choice(SCALARS)
    values = [_random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        return f"[{space}{f'{space},'.join(values)}]"
    members = [f"{_random_key(rng)}{space}:{space}{value}" for value in values]
    return f"{{{space}{','.join(members)}{space}}}"


def _random_object(rng: random.Random) -> str:
    members = [f"{_random_key(rng)}:{_random_value(rng, 1)}" for _ in range(rng.randrange(7))]
    return "{" + ",".join(members) + "}"


def _typical_line(rng: random.Random) -> str:
    """Return a line of one of a few kinds, as a plugin writes them."""
    members = [f'"level":"{rng.choice(["info", "warn"])}"', '"plugin":"aws-public"']
    optional = [
        '"region":"unknown"',
        f'"region":"{rng.choice(REGIONS)}"',
        f'"cost":{rng.choice(SCALARS)}',
        f'"tags":{{"region":{rng.choice(SCALARS)},"n":[{rng.randrange(9)}]}}',
    ]
    members += optional[: rng.randrange(2)] or rng.sample(optional, k=1)
    members.append(f'"time":"2026-11-24T02:{rng.randrange(10, 60)}:30Z"')
    members.append(f'"message":"pricing field {rng.randrange(100)} not found"')
    if rng.random() < 0.2:
        rng.shuffle(members)
    return "{" + ",".join(members) + "}"


def _mutated(rng: random.Random, line: bytes) -> bytes:
    data = bytearray(line)
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        pos = rng.randrange(len(data) + 1)
        action = rng.randrange(4)
        if action == 0:
            data[pos:pos] = bytes([rng.choice(JUNK)])
        elif action == 1:
            data[pos : pos + 1] = bytes([rng.choice(JUNK)])
        elif action == 2:
            del data[pos : pos + rng.randrange(1, 4)]
        else:
            data[pos:] = data[: rng.randrange(3)] + data[pos:]
    return bytes(data)


def _fuzz_line(rng: random.Random) -> bytes:
    kind = rng.randrange(10)
    if kind < 5:
        return _mutated(rng, _typical_line(rng).encode())
    if kind < 8:
        return _mutated(rng, _random_object(rng).encode())
    return _mutated(rng, _random_value(rng, 0).encode())


@pytest.mark.parametrize("own", [False, True], ids=["plugin", "own"])
@pytest.mark.parametrize("seed", range(4), ids=lambda seed: f"seed-{seed}")
def test_fr_013_fuzz_against_reference(tmp_path: Path, seed: int, own: bool) -> None:
    """For thousands of lines, many damaged, the output matches the reference."""
    rng = random.Random(seed)
    lines = [_fuzz_line(rng) for _ in range(3000)]
    want = [expected_line(line, "-" if own else REGION, own) for line in lines]
    assert any(line.startswith(b"{") for line in want)
    assert any(line.startswith(b"[") for line in want) is not own
    assert_lines(mux(tmp_path, b"\n".join(lines) + b"\n", own), want)


def test_fr_013_fuzzed_objects_have_no_key_twice(tmp_path: Path) -> None:
    """Added or renamed fields never duplicate a key of the object."""
    rng = random.Random(99)
    lines = [_random_object(rng).encode() for _ in range(2000)]
    for line, output in zip(lines, mux(tmp_path, b"\n".join(lines) + b"\n"), strict=True):
        before = [name for name, *_ in members(line.decode(), 1)]
        after = [name for name, *_ in members(output.decode(), 1)]
        assert {"region", "timestamp", "level"} <= set(after)
        doubled = [name for name in set(after) if after.count(name) > before.count(name) > 0]
        assert doubled == [], output
        assert after.count("region") == 1 and after[0] == "region"
