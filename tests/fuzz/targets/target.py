"""A fuzz target: a function that takes any bytes and raises if a promise is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
"""A directory for each target: inputs that reach something new, and every one that broke it."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One function under test."""

    name: str
    run: Callable[[bytes], None]
    words: tuple[bytes, ...] = ()  # the fuzzer's inputs, apart from bytes
    is_json: bool = False  # mutations mostly keep it JSON
    longest: int = 1024  # maximum bytes of an input

    @property
    def corpus(self) -> Path:
        """The directory of its corpus."""
        return CORPUS / self.name


def parts_of(data: bytes, count: int) -> list[bytes]:
    """Split `data` at NUL bytes into exactly `count` parts."""
    parts = data.split(b"\0", count - 1)
    return parts + [b""] * (count - len(parts))
