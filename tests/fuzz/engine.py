"""Run one target under libFuzzer: `python -m tests.fuzz.engine TARGET [libFuzzer's arguments]`.

Atheris instruments the harness on import for coverage of Python. Coverage of Lua comes from Lua's
line hook, whose edges are passed to libFuzzer as extra counters.
"""

from __future__ import annotations

import shlex
import sys

import atheris

with atheris.instrument_imports(include=["harness"]):
    from tests.fuzz.lua import Edges, LuaProgram
    from tests.fuzz.mutate import mutated
    from tests.fuzz.targets import TARGETS

LUA_EDGES = 4096
# libFuzzer sorts counts into eight classes; this is the start of the last.
MOST = 128


class LuaCounters:
    """Assigns a libFuzzer counter to each edge between two Lua lines when it is first reached."""

    def __init__(self) -> None:
        self._free = [atheris._reserve_counter() for _ in range(LUA_EDGES)]
        self._of: dict[int, int] = {}

    def __call__(self, edges: Edges) -> None:
        for edge, count in sorted(edges):
            if edge not in self._of:
                self._of[edge] = self._free.pop()
            for _ in range(min(count, MOST)):
                atheris._trace_branch(self._of[edge])


def main() -> None:
    """Fuzz until libFuzzer exits."""
    name, *arguments = sys.argv[1:]
    target = TARGETS[name]
    if name in {"log_writer", "metrics"}:
        LuaProgram.observer = LuaCounters()

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        return mutated(data, longest, seed, atheris.Mutate)

    # To merge, libFuzzer starts itself again through a shell, using its first argument.
    itself = f"{shlex.quote(sys.executable)} -m tests.fuzz.engine {name}"
    atheris.Setup(
        [itself, f"-max_len={target.longest}", *arguments],
        target.run,
        custom_mutator=mutate if target.is_json else None,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
