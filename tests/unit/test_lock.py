"""The lock file of the release: complete, allowed by pyproject.toml, with digests."""

from __future__ import annotations

import pytest

from tests.lock import LOCK, PROJECT, problems

LOCKED = LOCK.read_text(encoding="utf-8")


def _project(*dependencies: str) -> str:
    return f"[project]\ndependencies = {list(dependencies)}"


def _lock(text: str) -> str:
    digest = "a" * 64
    nox = f"nox==2026.1.1 \\\n    --hash=sha256:{digest}\n"
    return nox + text.replace("DIGEST", f"--hash=sha256:{digest}")


def test_lock_file_has_every_dependency() -> None:
    """The lock file in the repository matches pyproject.toml."""
    assert problems(PROJECT.read_text(encoding="utf-8"), LOCKED) == []


def test_lock_file_names_no_index() -> None:
    """The lock file works with every mirror: it has no URL."""
    assert "://" not in LOCKED


@pytest.mark.parametrize(
    ("dependency", "lock", "words"),
    [
        pytest.param("rich>=13", "", "rich is not in the lock file", id="missing"),
        pytest.param(
            "rich>=13", "rich==12.0 \\\n    DIGEST\n", "rich 12.0 is locked", id="too-old"
        ),
        pytest.param("rich>=13", "rich==13.0\n", "rich has no digest", id="no-digest"),
        pytest.param("rich>=13", "rich>=13.0 \\\n    DIGEST\n", "rich is not pinned", id="range"),
        pytest.param("rich>=13", "-e .\n", "an invalid line", id="no-requirement"),
        pytest.param(
            "rich>=13",
            "rich==13.0 \\\n    DIGEST\nx==1 ; sys_platform == 'win32'\n",
            "x has no digest",
            id="no-digest-of-a-dependency's-dependency",
        ),
    ],
)
def test_drift_is_found(dependency: str, lock: str, words: str) -> None:
    """Each way in which the lock file can differ is one sentence."""
    (found,) = problems(_project(dependency), _lock(lock))
    assert words in found


def test_names_are_compared_as_pip_does() -> None:
    """Extras, case, dashes and comments make no difference."""
    lock = _lock("# a comment\npy-jwt==2.9 \\\n    DIGEST\n    # via x\n")
    assert problems(_project("Py_JWT[crypto]>=2.8"), lock) == []
