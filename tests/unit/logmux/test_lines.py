"""Lines that are not JSON objects, and line endings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.logmux.reference import assert_lines, expected_line
from tests.unit.logmux.running import mux, needs_lua

pytestmark = needs_lua

VALUES = {
    "array": b'[1, {"region":2}]',
    "number": b"-1.5e+3",
    "string": b'"text \\u0041"',
    "true": b"true",
    "false": b"false",
    "null": b"null",
    "spaces": b" 42 ",
}


@pytest.mark.parametrize("line", VALUES.values(), ids=VALUES.keys())
def test_fr_013_other_json_is_wrapped(tmp_path: Path, line: bytes) -> None:
    """JSON that is not an object becomes the message of an object, unchanged."""
    want = b'{"region":"us-east-1","timestamp":@now@,"level":"info","message":' + line + b"}"
    assert_lines(mux(tmp_path, line + b"\n"), [want])


TEXTS = {
    "text": b"panic: runtime error",
    "empty": b"",
    "blank": b"   ",
    "trailing-junk": b'{"a":1} x',
    "two-objects": b'{"a":1}{"b":2}',
    "nul-behind": b'{"a":1}\0',
    "nul-inside": b'{"a":"\0"}',
    "nul-only": b"\0",
    "latin-1": b'{"a":"\xff"}',
    "cut-utf8": b'{"a":"\xe2\x82"}',
    "surrogate": b'{"a":"\xed\xa0\x80"}',
    "overlong": b'{"a":"\xc0\xaf"}',
    "overlong-3": b'{"a":"\xe0\x80\xaf"}',
    "beyond-unicode": b'{"a":"\xf4\x90\x80\x80"}',
    "latin-1-text": b"\xfcber",
    "bom": b'\xef\xbb\xbf{"a":1}',
    "tab-in-string": b'{"a":"\t"}',
    "control-in-string": b'{"a":"\x1f"}',
    "control-in-key": b'{"\x01":1}',
    "form-feed": b'\f{"a":1}',
    "nan": b'{"a":NaN}',
    "nan-alone": b"NaN",
    "infinity": b'{"a":-Infinity}',
    "inf": b'{"a":inf}',
    "hex": b'{"a":0x10}',
    "dot-last": b'{"a":1.}',
    "dot-first": b'{"a":.5}',
    "leading-zero": b'{"a":01}',
    "leading-zero-minus": b'{"a":-01}',
    "plus": b'{"a":+1}',
    "minus-alone": b'{"a":-}',
    "exponent-empty": b'{"a":1e}',
    "comma-last": b'{"a":1,}',
    "comma-first": b'{,"a":1}',
    "comma-last-array": b"[1,]",
    "no-comma": b'{"a":1 "b":2}',
    "no-colon": b'{"a" 1}',
    "no-value": b'{"a":}',
    "bare-key": b"{a:1}",
    "single-quotes": b"{'a':1}",
    "wrong-closer": b'{"a":[1}',
    "unclosed": b'{"a":1',
    "unclosed-string": b'{"a":"x',
    "closed-twice": b'{"a":1}}',
    "bad-escape": b'{"a":"\\x"}',
    "short-unicode-escape": b'{"a":"\\u12g4"}',
    "backslash-last": b'{"a":"\\',
    "upper-literal": b'{"a":True}',
    "long-literal": b'{"a":nulll}',
}


@pytest.mark.parametrize("line", TEXTS.values(), ids=TEXTS.keys())
def test_fr_013_anything_else_is_prefixed(tmp_path: Path, line: bytes) -> None:
    """A line that is not strict JSON is written once, unchanged, with its region as prefix."""
    assert mux(tmp_path, line + b"\n") == [b"[us-east-1] " + line]
    assert expected_line(line) == b"[us-east-1] " + line, "the reference differs"


CARRIAGE_RETURNS = {
    "text": (b"text\r\n", b"[us-east-1] text"),
    "one-of-two": (b"text\r\r\n", b"[us-east-1] text\r"),
    "inside": (b"a\rb\r\n", b"[us-east-1] a\rb"),
    "empty-line": (b"\r\n", b"[us-east-1] "),
    "object": (
        b'{"time":1,"level":2}\r\n',
        b'{"region":"us-east-1","timestamp":1,"time":1,"level":2}',
    ),
    "value": (
        b"[]\r\n",
        b'{"region":"us-east-1","timestamp":@now@,"level":"info","message":[]}',
    ),
    "no-newline": (b"text\r", b"[us-east-1] text"),
}


@pytest.mark.parametrize(("data", "want"), CARRIAGE_RETURNS.values(), ids=CARRIAGE_RETURNS.keys())
def test_fr_013_carriage_return_is_dropped(tmp_path: Path, data: bytes, want: bytes) -> None:
    """The CR of a CRLF is dropped; any other CR is kept."""
    assert_lines(mux(tmp_path, data), [want])


@pytest.mark.parametrize("last", [b"text", b'{"time":1,"level":2}'], ids=["text", "object"])
def test_fr_013_last_line_without_newline(tmp_path: Path, last: bytes) -> None:
    """The end of the stream ends its last line."""
    assert_lines(mux(tmp_path, b"a\n" + last), [b"[us-east-1] a", expected_line(last)])


def test_fr_013_no_input_gives_no_output(tmp_path: Path) -> None:
    """An empty stream produces no output."""
    assert mux(tmp_path, b"") == []


@pytest.mark.parametrize("depth", [1000, 30000], ids=["1000", "30000"])
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "unclosed"])
def test_fr_013_deep_nesting(tmp_path: Path, depth: int, closed: bool) -> None:
    """Nesting of any depth is judged like flat JSON."""
    line = b'{"time":1,"level":2,"a":' + b'[{"":' * depth + b"0" + b"}]" * depth
    line += b"}" if closed else b""
    want = b"[us-east-1] " + line
    if closed:
        want = b'{"region":"us-east-1","timestamp":1,' + line[1:]
    assert mux(tmp_path, line + b"\nnext\n") == [want, b"[us-east-1] next"]
