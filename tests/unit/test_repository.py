"""The repository's own settings: updates, owners, security policy, templates."""

from __future__ import annotations

from typing import Any

import yaml

from harness.core.regions import REPOSITORY

GITHUB = REPOSITORY / ".github"
UPDATED = {
    "github-actions": (".github/workflows/docker-publish.yml", "/"),
    "pip": ("pyproject.toml", "/"),
    "uv": ("requirements/release.in", "/requirements"),
    "docker": ("image/Dockerfile", "/image"),
}


def dependabot() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((GITHUB / "dependabot.yml").read_text("utf-8"))
    return found


def test_everything_that_is_pinned_is_renewed() -> None:
    """Dependabot looks at the actions, the Python packages, the lock file and the base image."""
    updates = {u["package-ecosystem"]: u for u in dependabot()["updates"]}
    assert set(updates) == set(UPDATED)
    for ecosystem, (path, directory) in UPDATED.items():
        assert (REPOSITORY / path).is_file()
        assert updates[ecosystem]["directory"] == directory


def test_fr_001_no_bot_proposes_another_base() -> None:
    """FR-001 (the base is alpine:3.19): only an owner changes the minor version."""
    (docker,) = (u for u in dependabot()["updates"] if u["package-ecosystem"] == "docker")
    (rule,) = docker["ignore"]
    assert rule["dependency-name"] == "alpine"
    assert {kind.rpartition("-")[2] for kind in rule["update-types"]} == {"major", "minor"}


def test_every_file_has_an_owner() -> None:
    """CODEOWNERS has one rule for everything."""
    lines = (GITHUB / "CODEOWNERS").read_text("utf-8").splitlines()
    rules = [line.split() for line in lines if line and not line.startswith("#")]
    assert rules[0][0] == "*"
    assert all(owner.startswith("@") for rule in rules for owner in rule[1:])


def test_policy_names_the_workflow_that_signs() -> None:
    """SECURITY.md says how to report, what is supported, and verifies an anchored identity."""
    text = (REPOSITORY / "SECURITY.md").read_text("utf-8")
    for heading in ("Report a vulnerability", "Supported versions", "Verify what you run"):
        assert f"## {heading}" in text
    assert "/.github/workflows/docker-publish.yml@refs/tags/" in text
    assert (GITHUB / "workflows" / "docker-publish.yml").is_file()
    assert "identity-regexp" not in text
