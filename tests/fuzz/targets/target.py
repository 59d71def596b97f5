"""What a fuzz target is: a function that takes any bytes and raises when a promise is broken."""

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
    words: tuple[bytes, ...] = ()  # what the fuzzer puts in, besides bytes
    is_json: bool = False  # whether mutations keep it JSON, mostly
    longest: int = 1024  # bytes of an input

    @property
    def corpus(self) -> Path:
        """Where its inputs are kept."""
        return CORPUS / self.name


def parts_of(data: bytes, count: int) -> list[bytes]:
    """Exactly `count` parts of `data`, which has a NUL between them."""
    parts = data.split(b"\0", count - 1)
    return parts + [b""] * (count - len(parts))
