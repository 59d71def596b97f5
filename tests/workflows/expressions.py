"""GitHub's expressions, only those that the workflows use; any other is refused.

https://docs.github.com/actions/reference/workflows-and-actions/expressions
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|&&|\|\||==|!=|!|[(),]|[A-Za-z_][\w.*-]*)")
_EMBEDDED = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
STATUS_FUNCTIONS = ("always(", "cancelled(", "failure(", "success(")


class UnsupportedError(Exception):
    """The workflow uses something that this runner does not know."""


class Expressions:
    """Evaluates expressions over `contexts` (github, inputs, …) with `functions`."""

    def __init__(
        self, contexts: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]
    ) -> None:
        self._contexts = contexts
        self._functions = functions
        self._tokens: list[str] = []

    def fill(self, text: object) -> str:
        """`text` with every `${{ … }}` replaced by its value."""
        return _EMBEDDED.sub(lambda match: as_text(self.value(match[1])), as_text(text))

    def value(self, expression: str) -> Any:
        """The value of an expression without its `${{ }}`."""
        self._tokens, position, text = [], 0, expression.strip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if not match:
                raise UnsupportedError(f"{expression!r} at {text[position:]!r}")
            self._tokens.append(match[1])
            position = match.end()
        result = self._or()
        if self._tokens:
            raise UnsupportedError(f"{expression!r}: {self._tokens[0]!r} is not expected")
        return result

    def _accept(self, token: str) -> bool:
        if self._tokens and self._tokens[0] == token:
            self._tokens.pop(0)
            return True
        return False

    def _or(self) -> Any:
        left = self._and()
        while self._accept("||"):
            right = self._and()
            left = left if truthy(left) else right
        return left

    def _and(self) -> Any:
        left = self._equality()
        while self._accept("&&"):
            right = self._equality()
            left = right if truthy(left) else left
        return left

    def _equality(self) -> Any:
        left = self._unary()
        for token, equal in (("==", True), ("!=", False)):
            if self._accept(token):
                return (as_text(left) == as_text(self._unary())) is equal
        return left

    def _unary(self) -> Any:
        if self._accept("!"):
            return not truthy(self._unary())
        if self._accept("("):
            inside = self._or()
            if not self._accept(")"):
                raise UnsupportedError("a parenthesis is not closed")
            return inside
        if not self._tokens:
            raise UnsupportedError("the expression ends too early")
        token = self._tokens.pop(0)
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        return self._call(token) if self._accept("(") else self._property(token)

    def _call(self, name: str) -> Any:
        if name not in self._functions:
            raise UnsupportedError(f"the function {name}()")
        arguments: list[Any] = []
        while not self._accept(")"):
            if arguments and not self._accept(","):
                raise UnsupportedError(f"the arguments of {name}()")
            arguments.append(self._or())
        return self._functions[name](*arguments)

    def _property(self, path: str) -> Any:
        name, *rest = path.split(".")
        if name not in self._contexts:
            raise UnsupportedError(f"the context {name!r}")
        return _follow(self._contexts[name], rest)


def _follow(value: Any, path: list[str]) -> Any:
    """What `path` leads to; "" where there is nothing, as GitHub has it."""
    for index, key in enumerate(path):
        if key == "*":
            return [_follow(item, path[index + 1 :]) for item in value.values()]
        if not isinstance(value, Mapping):
            return ""
        value = value.get(key, "")
    return value


def truthy(value: Any) -> bool:
    """GitHub's idea of true."""
    return value not in (False, 0, "", None)


def as_text(value: Any) -> str:
    """GitHub's text of a value."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
