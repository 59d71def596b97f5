"""image/logmux.lua against a strict JSON parser."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.logmux.reference import REGION, assert_lines, expected_line
from tests.unit.logmux.running import mux, needs_lua

pytestmark = needs_lua

KEYS = st.sampled_from(["region", "level", "time", "timestamp", "message", "plugin_region", ""])
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS | st.text(max_size=8), VALUES, max_size=6)
SPACES = st.sampled_from(["", " ", "\t", " \r "])


@st.composite
def json_lines(draw: st.DrawFn) -> bytes:
    """One line of JSON in one of the ways to write it."""
    text = json.dumps(draw(OBJECTS | VALUES), ensure_ascii=draw(st.booleans()))
    return (draw(SPACES) + text + draw(SPACES)).encode("utf-8", "surrogatepass")


@st.composite
def damaged_lines(draw: st.DrawFn) -> bytes:
    """Such a line with bytes put in, taken out or doubled."""
    line = draw(json_lines())
    at = draw(st.integers(0, len(line)))
    to = draw(st.integers(at, min(len(line), at + 8)))
    middle = draw(st.binary(max_size=4) | st.just(line[at:to] * 2))
    return (line[:at] + middle + line[to:]).replace(b"\n", b"")


ANY = json_lines() | damaged_lines() | st.binary(max_size=40).map(lambda b: b.replace(b"\n", b""))


@pytest.mark.parametrize("own", [False, True], ids=["plugin", "own"])
@given(lines=st.lists(ANY, min_size=1, max_size=60))
@example(
    lines=[b'{"region":"a","region":"b","time":{},"level":1e5}', b"{}", b"\r", b"\xed\xa0\x80"]
)
@example(lines=[b'{"\\u0072egion":"x"}', b'{"time":"t","time":1}', b"-0", b"1e", b'"\\ud800"'])
def test_fr_013_every_line_becomes_what_the_reference_says(lines: list[bytes], own: bool) -> None:
    """FR-013: valid in, valid out with the same value; all else comes out behind its prefix."""
    with tempfile.TemporaryDirectory() as directory:
        got = mux(Path(directory), b"\n".join(lines) + b"\n", own)
    # The mark is the one line that is no line; it cannot be drawn by chance.
    assert_lines(got, [expected_line(line, "-" if own else REGION, own) for line in lines])
    for line, output in zip(lines, got, strict=True):
        if output.startswith(b"["):
            assert output.endswith(line.removesuffix(b"\r"))
        else:
            json.loads(output.decode())
