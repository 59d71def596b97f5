"""The harness's cache directory."""

import os
from pathlib import Path


def cache_directory() -> Path:
    """Directory for results that are slow to recreate; safe to delete at any time."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    directory = Path(base) / "finfocus-image-harness"
    directory.mkdir(parents=True, exist_ok=True)
    return directory
