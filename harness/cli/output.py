"""Results as JSON: one document on stdout, described by result.schema.json."""

import json
from importlib.resources import files
from typing import Any

from harness.core.leave import json_wanted

_state = {"printed": False}


def reset() -> None:
    """Start a new command: nothing is printed yet."""
    _state["printed"] = False


def print_json(document: object) -> None:
    """Print the result of a command; the document of a later error is dropped then."""
    # ASCII: lone surrogates from undecodable bytes of an image remain printable.
    text = json.dumps(document, allow_nan=False)
    _state["printed"] = True
    print(text, flush=True)


def print_error(exit_code: int, message: str) -> None:
    """Print an error as JSON if `--json` is given and no result is printed."""
    if error_wanted():
        print_json({"error": {"exit_code": exit_code, "message": message}})


def error_wanted() -> bool:
    """Whether an error is to be printed as JSON."""
    return json_wanted() and not _state["printed"]


def load_schema() -> dict[str, Any]:
    """The JSON schema of every command's document."""
    text = files("harness.cli").joinpath("result.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
