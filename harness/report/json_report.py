"""Render the proof as JSON, with all data of the other reports."""

import json
from importlib.resources import files
from typing import Any

from harness.core.proof import Proof


def render_json(proof: Proof) -> str:
    """Render the proof as indented JSON; `proof.schema.json` describes the format."""
    # `ensure_ascii` keeps lone surrogates from undecodable log bytes writable as UTF-8.
    return json.dumps(proof.to_json_dict(), indent=2, allow_nan=False) + "\n"


def load_schema() -> dict[str, Any]:
    """Load the JSON schema of `render_json`'s output."""
    text = files("harness.report").joinpath("proof.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
