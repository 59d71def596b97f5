"""Mutate JSON structurally, so that a fuzzer gets past the parser."""

from __future__ import annotations

import json
import random
from typing import Any

STRANGE: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 1e400, 10**400, "", "x", [], {}, [None], {"": None}, "\ud800", "é\n"),
)
KEPT_AS_BYTES = 0.4
"""Share of the mutations that libFuzzer does itself, on the bytes."""


def mutated(data: bytes, longest: int, seed: int, otherwise: Any) -> bytes:
    """Return `data` with one or a few changes; `otherwise(data, longest)` mutates bytes."""
    draw = random.Random(seed)
    if draw.random() < KEPT_AS_BYTES:
        return bytes(otherwise(data, longest))
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return bytes(otherwise(data, longest))
    for _ in range(draw.randint(1, 3)):
        value = _changed(value, value, draw)
    made = json.dumps(value, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")
    return made if len(made) <= longest else bytes(otherwise(data, longest))


def _changed(value: Any, whole: Any, draw: random.Random) -> Any:
    """Return a copy of `value` with one change somewhere inside."""
    deeper = isinstance(value, dict | list) and value and draw.random() < 0.8
    if not deeper:
        return _replaced(value, whole, draw)
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    at = draw.randrange(len(items))
    key, inner = items[at]
    match draw.randrange(5):
        case 0:
            del items[at]
        case 1 if len(items) < 8:
            # An existing key is replaced; a list grows.
            items.append((draw.choice(items)[0], _somewhere(whole, draw)))
        case _:
            items[at] = (key, _changed(inner, whole, draw))
    return dict(items) if isinstance(value, dict) else [inner for _, inner in items]


def _replaced(value: Any, whole: Any, draw: random.Random) -> Any:
    if isinstance(value, str) and draw.random() < 0.3:
        return value + draw.choice(["", "x", "\0", "é", value])
    return draw.choice([draw.choice(STRANGE), _somewhere(whole, draw)])


def _somewhere(value: Any, draw: random.Random) -> Any:
    """Return a random part of `value`."""
    while isinstance(value, dict | list) and value and draw.random() < 0.7:
        value = draw.choice(list(value.values()) if isinstance(value, dict) else value)
    return value
