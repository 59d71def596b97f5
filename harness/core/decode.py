"""JSON to typed values and back: what is read has the type that the code expects."""

import reprlib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints


def encode(value: Any) -> Any:
    """`value` as JSON types: dataclasses become objects, tuples arrays, times text."""
    if is_dataclass(value):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, StrEnum) else value


def decode(kind: Any, data: Any, where: str) -> Any:
    """`data`, of JSON types, as the annotated type `kind`: what `encode` was given.

    Raises `ValueError` for anything else; `where` names the place in its message. Unknown members
    of an object are ignored.
    """
    if kind is Any:
        return data
    if isinstance(kind, UnionType):  # the only unions here are `X | None`
        return None if data is None else decode(get_args(kind)[0], data, where)
    if get_origin(kind) is tuple:
        items = _expect(list, data, where)
        return tuple(decode(get_args(kind)[0], x, f"{where}[{i}]") for i, x in enumerate(items))
    if get_origin(kind) is Mapping:
        pairs = _expect(dict, data, where).items()
        return {k: decode(get_args(kind)[1], v, f"{where}[{k!r}]") for k, v in pairs}
    if is_dataclass(kind):
        return _decode_dataclass(kind, _expect(dict, data, where), where)
    return _decode_scalar(kind, data, where)


def member(document: Any, kind: Any, *path: str) -> Any:
    """The member at `path` of a JSON document, as `decode` returns it.

    One that is missing, null, or inside of such a one is None if `kind` allows that. Raises
    `ValueError` for anything else than `kind`.
    """
    for depth, name in enumerate(path):
        if document is None:
            break
        document = _expect(dict, document, ".".join(path[:depth]) or "the document").get(name)
    return decode(kind, document, ".".join(path))


def objects(document: Any, *path: str) -> tuple[Mapping[str, Any], ...]:
    """The JSON objects in the list at `path` of a JSON document; none if it is missing or null.

    Raises `ValueError` for anything else.
    """
    where = ".".join(path)
    found = member(document, tuple[Any, ...] | None, *path) or ()
    return tuple(_expect(dict, item, f"{where}[{i}]") for i, item in enumerate(found))


def text(document: Any, *path: str) -> str:
    """The text at `path` of a JSON document; "" if it is missing or null.

    Raises `ValueError` for anything else.
    """
    return member(document, str | None, *path) or ""


def _decode_scalar(kind: Any, data: Any, where: str) -> Any:
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if kind is not datetime and not issubclass(kind, StrEnum):
        return _expect(kind, data, where)
    said = _expect(str, data, where)
    try:
        return datetime.fromisoformat(said) if kind is datetime else kind(said)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _decode_dataclass(kind: Any, data: Mapping[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    known = {}
    for f in fields(kind):
        if f.name in data:
            known[f.name] = decode(hints[f.name], data[f.name], f"{where}.{f.name}")
        elif f.default is MISSING and f.default_factory is MISSING:
            raise ValueError(f"{where}.{f.name} is missing")
    return kind(**known)


def _expect(kind: Any, data: Any, where: str) -> Any:
    # `bool` is a subclass of `int`, but `true` is not a count.
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise ValueError(f"{where}: {reprlib.repr(data)} is not of type {kind.__name__}")
    return data
