"""Configure how long the fuzzers run, and where their findings are kept."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
from hypothesis.database import DirectoryBasedExampleDatabase

SEEDS = Path(__file__).parent / "seeds"
"""Inputs that once failed; they are committed and tried first in every run."""

for name, examples in (("quick", 60), ("long", 3000)):
    hypothesis.settings.register_profile(
        name,
        max_examples=examples,
        deadline=None,
        database=DirectoryBasedExampleDatabase(SEEDS),
        suppress_health_check=list(hypothesis.HealthCheck),
        print_blob=True,
    )
hypothesis.settings.load_profile(os.environ.get("FUZZ_PROFILE", "quick"))
