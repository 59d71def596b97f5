"""The directory of what the harness keeps between runs."""

import os
from pathlib import Path


def cache_directory() -> Path:
    """Where the harness keeps what is slow to make again; safe to delete at any time."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    directory = Path(base) / "finfocus-image-harness"
    directory.mkdir(parents=True, exist_ok=True)
    return directory
