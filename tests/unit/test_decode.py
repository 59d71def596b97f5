"""JSON documents as typed values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from harness.core.decode import member

DOCUMENT: Any = {"a": {"n": 1, "t": ["x", "y"], "null": None, "yes": True, "m": {"k": "v"}}}


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        pytest.param(int, ("a", "n"), 1, id="number"),
        pytest.param(bool, ("a", "yes"), True, id="flag"),
        pytest.param(tuple[str, ...], ("a", "t"), ("x", "y"), id="list"),
        pytest.param(Mapping[str, str], ("a", "m"), {"k": "v"}, id="object"),
        pytest.param(str | None, ("a", "null"), None, id="null"),
        pytest.param(str | None, ("a", "none"), None, id="missing"),
        pytest.param(str | None, ("a", "null", "deeper"), None, id="inside-null"),
        pytest.param(Any, ("a", "n"), 1, id="anything"),
    ],
)
def test_member_has_the_type_that_was_asked_for(
    kind: Any, path: tuple[str, ...], value: object
) -> None:
    """A member of the right type is returned; one that may be missing is None then."""
    assert member(DOCUMENT, kind, *path) == value


@pytest.mark.parametrize(
    ("document", "kind", "path", "words"),
    [
        pytest.param(DOCUMENT, str, ("a", "n"), "a.n: 1 is not of type str", id="number"),
        pytest.param(DOCUMENT, int, ("a", "yes"), "a.yes", id="flag-as-number"),
        pytest.param(DOCUMENT, str, ("a", "none"), "a.none: None", id="missing"),
        pytest.param(DOCUMENT, str, ("a", "null", "x"), "a.null.x: None", id="inside-null"),
        pytest.param(DOCUMENT, str, ("a", "n", "x"), "a.n: 1 is not of type dict", id="too-deep"),
        pytest.param(DOCUMENT, tuple[int, ...], ("a", "t"), r"a.t\[0\]", id="element"),
        pytest.param([], str, ("a",), "the document: .* type dict", id="no-object"),
    ],
)
def test_anything_else_is_refused_with_its_place(
    document: Any, kind: Any, path: tuple[str, ...], words: str
) -> None:
    """A document of another shape is a `ValueError` that names the place."""
    with pytest.raises(ValueError, match=words):
        member(document, kind, *path)
