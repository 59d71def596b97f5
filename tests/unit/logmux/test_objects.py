"""JSON objects are spliced, not re-encoded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.logmux.reference import assert_lines, expected_line
from tests.unit.logmux.running import mux, needs_lua

pytestmark = needs_lua

OBJECTS = {
    "zerolog": (
        b'{"level":"warn","region":"unknown","time":"2026-11-24T02:29:30Z","message":"m"}',
        b'{"region":"us-east-1","timestamp":"2026-11-24T02:29:30Z","level":"warn",'
        b'"plugin_region":"unknown","time":"2026-11-24T02:29:30Z","message":"m"}',
    ),
    "no-region": (
        b'{"level":"warn","time":"T"}',
        b'{"region":"us-east-1","timestamp":"T","level":"warn","time":"T"}',
    ),
    "no-level": (
        b'{"time":"T","a":1}',
        b'{"region":"us-east-1","timestamp":"T","level":"info","time":"T","a":1}',
    ),
    "no-time": (
        b'{"level":"warn"}',
        b'{"region":"us-east-1","timestamp":@now@,"level":"warn"}',
    ),
    "timestamp-kept": (
        b'{"timestamp":"A","time":"B","level":"x"}',
        b'{"region":"us-east-1","timestamp":"A","time":"B","level":"x"}',
    ),
    "unix-time": (
        b'{"time":1764000000.250,"level":"x"}',
        b'{"region":"us-east-1","timestamp":1764000000.250,"time":1764000000.250,"level":"x"}',
    ),
    "time-is-object": (
        b'{"time":{"s": [1]} ,"level":"x"}',
        b'{"region":"us-east-1","timestamp":{"s": [1]},"time":{"s": [1]} ,"level":"x"}',
    ),
    "empty-object": (b"{}", b'{"region":"us-east-1","timestamp":@now@,"level":"info"}'),
    "blank-object": (b"{ }", b'{"region":"us-east-1","timestamp":@now@,"level":"info" }'),
    "space-outside": (
        b' \t{"time":1,"level":2} ',
        b' \t{"region":"us-east-1","timestamp":1,"time":1,"level":2} ',
    ),
    "space-inside": (
        b'{ "region" : "x" ,\t"time" : 1 , "level":2 }',
        b'{"region":"us-east-1","timestamp":1, "plugin_region" : "x" ,\t"time" : 1 , "level":2 }',
    ),
    "numbers-kept": (
        b'{"time":1,"level":2,"n":[1.0,1E5,-0,10000000000000000000001,1.10]}',
        b'{"region":"us-east-1","timestamp":1,"time":1,"level":2,'
        b'"n":[1.0,1E5,-0,10000000000000000000001,1.10]}',
    ),
    "escapes-kept": (
        b'{"time":"\\u0031\\/","level":2,"m":"\\ud800 \\"\\\\"}',
        b'{"region":"us-east-1","timestamp":"\\u0031\\/","time":"\\u0031\\/","level":2,'
        b'"m":"\\ud800 \\"\\\\"}',
    ),
    "name-taken": (
        b'{"region":1,"plugin_region":2,"time":3,"level":4}',
        b'{"region":"us-east-1","timestamp":3,"plugin_region_2":1,"plugin_region":2,'
        b'"time":3,"level":4}',
    ),
    "two-names-taken": (
        b'{"plugin_region":2,"plugin_\\u0072egion_2":3,"region":1,"time":3,"level":4}',
        b'{"region":"us-east-1","timestamp":3,"plugin_region":2,"plugin_\\u0072egion_2":3,'
        b'"plugin_region_3":1,"time":3,"level":4}',
    ),
    "two-regions": (
        b'{"region":1,"region":2,"time":3,"level":4}',
        b'{"region":"us-east-1","timestamp":3,"plugin_region":1,"plugin_region_2":2,'
        b'"time":3,"level":4}',
    ),
    "escaped-keys": (
        b'{"re\\u0067ion":1,"\\u0074ime":3,"\\u006Cevel":4}',
        b'{"region":"us-east-1","timestamp":3,"plugin_region":1,"\\u0074ime":3,"\\u006Cevel":4}',
    ),
    "escaped-backslash-in-key": (
        b'{"re\\\\u0067ion":1,"time":3,"level":4}',
        b'{"region":"us-east-1","timestamp":3,"re\\\\u0067ion":1,"time":3,"level":4}',
    ),
    "nested-keys-untouched": (
        b'{"a":{"region":1,"time":2,"level":3,"timestamp":4},"b":[{"region":1}]}',
        b'{"region":"us-east-1","timestamp":@now@,"level":"info",'
        b'"a":{"region":1,"time":2,"level":3,"timestamp":4},"b":[{"region":1}]}',
    ),
    "key-as-value": (
        b'{"a":"region","b":"\\"region\\":1","time":3,"level":4}',
        b'{"region":"us-east-1","timestamp":3,"a":"region","b":"\\"region\\":1",'
        b'"time":3,"level":4}',
    ),
    "many-numbers": (
        b'{"time":3,"level":4,"n":[' + b"-1.5," * 29 + b"-1.5]}",
        b'{"region":"us-east-1","timestamp":3,"time":3,"level":4,"n":[' + b"-1.5," * 29 + b"-1.5]}",
    ),
    "very-many-numbers": (
        b'{"time":3,"level":4,"n":[' + b"-1.5," * 99 + b"-1.5]}",
        b'{"region":"us-east-1","timestamp":3,"time":3,"level":4,"n":[' + b"-1.5," * 99 + b"-1.5]}",
    ),
    "utf8": (
        '{"time":3,"level":4,"ü":"€😀\x7f"}'.encode(),
        '{"region":"us-east-1","timestamp":3,"time":3,"level":4,"ü":"€😀\x7f"}'.encode(),
    ),
}


@pytest.mark.parametrize(("line", "want"), OBJECTS.values(), ids=OBJECTS.keys())
def test_fr_013_object_is_spliced(tmp_path: Path, line: bytes, want: bytes) -> None:
    """Missing fields are inserted after the opening brace; the rest of the object is unchanged."""
    assert_lines(mux(tmp_path, line + b"\n"), [want])
    assert expected_line(line) == want, "the reference differs"


@pytest.mark.parametrize(("line", "want"), OBJECTS.values(), ids=OBJECTS.keys())
def test_fr_013_repeated_object_is_spliced(tmp_path: Path, line: bytes, want: bytes) -> None:
    """A repeated line is treated like the first."""
    assert_lines(mux(tmp_path, (line + b"\n") * 5), [want] * 5)


OWN = {
    "complete": (b'{"region":"eu","timestamp":1,"level":2}',) * 2,
    "region-kept": (
        b'{"a":1,"region":"eu","time":3}',
        b'{"timestamp":3,"level":"info","a":1,"region":"eu","time":3}',
    ),
    "region-kept-level-given": (
        b'{"level":1,"region":"eu","time":3}',
        b'{"timestamp":3,"level":1,"region":"eu","time":3}',
    ),
    "region-added": (
        b'{"time":3,"level":1}',
        b'{"region":"-","timestamp":3,"time":3,"level":1}',
    ),
    "value": (b"1", b'{"region":"-","timestamp":@now@,"level":"info","message":1}'),
    "text": (
        b"bash: oops",
        b'{"region":"-","timestamp":@now@,"level":"warn","message":"bash: oops"}',
    ),
}


@pytest.mark.parametrize(("line", "want"), OWN.values(), ids=OWN.keys())
def test_fr_013_own_stream(tmp_path: Path, line: bytes, want: bytes) -> None:
    """An object from the container's own components keeps its region."""
    assert_lines(mux(tmp_path, (line + b"\n") * 3, own=True), [want] * 3)
    assert expected_line(line, "-", own=True) == want, "the reference differs"
