"""The proof as JSON: everything the other reports are made of, for programs."""

import json
from importlib.resources import files
from typing import Any

from harness.core.proof import Proof


def render_json(proof: Proof) -> str:
    """The proof as an indented JSON document that `proof.schema.json` describes."""
    # `ensure_ascii` keeps lone surrogates from undecodable log bytes writable as UTF-8.
    return json.dumps(proof.to_json_dict(), indent=2, allow_nan=False) + "\n"


def load_schema() -> dict[str, Any]:
    """The JSON schema of `render_json`'s document."""
    text = files("harness.report").joinpath("proof.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
