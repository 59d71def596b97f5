"""Run the image's Lua programs unmodified in this process and record the lines they execute.

Each program has a small file next to this one that simulates its environment. Edges between lines
of the program and its modules come from Lua's line hook (`debug.sethook`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lupa import lua53

HERE = Path(__file__).parent
IMAGE = HERE.parents[2] / "image"
# Program and modules are concatenated so that each line has its own number; the simulated
# environment comes below this line, to tell its lines apart.
_OFFSET = 4096
_EDGE = struct.Struct("<II")

Edges = Iterable[tuple[int, int]]
"""Numbers of the edges that a run took, each with how often."""

_COVERAGE = b"""
local OFFSET = ...
local hits, before, on = {}, 0, false
local function hook(_, line)
  if line < OFFSET then
    local edge = before * OFFSET + line
    hits[edge] = (hits[edge] or 0) + 1
    before = line
  end
end
local function cover(life)
  if on then
    before = 0
    debug.sethook(life, hook, "l")
  end
end
local function start() on, hits = true, {} end
local function take()
  local parts, pack = {}, string.pack
  for edge, count in pairs(hits) do
    parts[#parts + 1] = pack("<I4I4", edge, count)
  end
  hits = {}
  return table.concat(parts)
end
return cover, start, take
"""


class LuaProgram:
    """One of the image's programs with its simulated environment."""

    observer: Callable[[Edges], None] | None = None
    """Is told the edges of each run; nothing is counted without one."""

    def __init__(self, name: str, surroundings: str) -> None:
        lua: Any = lua53.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        cover, self._start, self._take = lua.execute(_COVERAGE, _OFFSET)
        text = (IMAGE / name).read_bytes()
        program = lua.compile(text)
        preload, lines = lua.globals().package.preload, text.count(b"\n")
        for path in sorted((IMAGE / name).with_suffix("").glob("*.lua")):
            text = path.read_bytes()
            preload[f"{path.parent.name}.{path.stem}".encode()] = lua.compile(b"\n" * lines + text)
            lines += text.count(b"\n")
        assert lines < _OFFSET, f"{name} and its modules have {lines} lines"
        around = b"\n" * _OFFSET + (HERE / surroundings).read_bytes()
        self._run = lua.execute(around, program, cover)

    def run(self, *arguments: Any) -> Any:
        """Run it with these arguments; return the environment's results, with text as bytes."""
        observer = LuaProgram.observer
        if observer is None:
            return self._run(*arguments)
        self._start()
        try:
            return self._run(*arguments)
        finally:
            observer(_EDGE.iter_unpack(self._take()))
