"""Runs Lua of a test's own in the supervisor, before the supervisor itself."""

from __future__ import annotations

# The entrypoint, sourced, with an `exec` that gives the interpreter the code as well.
_SCRIPT = """
source /opt/finfocus/entrypoint.sh
exec() { (($# == 0)) || builtin exec "$1" "$2" -e "$0" "${@:3}"; }
_main
"""


def entrypoint_with(code: str) -> list[str]:
    """An entrypoint whose supervisor runs `code` first; the files of the image stay as they are."""
    return ["bash", "-p", "-c", _SCRIPT, code]


def with_lua(code: str) -> dict[str, object]:
    """The same as docker-py's options of a container."""
    return {"entrypoint": entrypoint_with(code)}
