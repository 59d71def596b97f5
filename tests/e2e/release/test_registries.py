"""Releases to the registries that people use, signed and attested with both majors of cosign."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.publish.cosign import NO_ROOTS, PINNED, tool
from harness.stand_ins.registry import Profile

from ..conftest import VERSION
from .conftest import REPOSITORY, Cli, Sealed
from .test_release import sources

pytestmark = pytest.mark.registries
MAJORS = ("2.6.5", PINNED)
ONLY_OLD = ("--new-bundle-format", "--trusted-root", NO_ROOTS)
"""Options that cosign 2 needs to verify the same without the internet."""
PASSWORD = "throw-away"


@dataclass(frozen=True)
class Cosign:
    """A real cosign with a key pair."""

    path: Path
    directory: Path

    def environ(self) -> dict[str, str]:
        """Return what a release job sets: cosign on PATH, and the key."""
        key = (self.directory / "cosign.key").read_text(encoding="utf-8")
        path = f"{self.path.parent}:{os.environ['PATH']}"
        return {"PATH": path, "COSIGN_PRIVATE_KEY": key, "COSIGN_PASSWORD": PASSWORD}

    def run(
        self, *words: str, environ: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run cosign, without the harness."""
        return subprocess.run(
            [str(self.path), *words],
            cwd=cwd or self.directory,
            env={**os.environ, "COSIGN_PASSWORD": PASSWORD, **(environ or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(params=MAJORS)
def cosign(request: pytest.FixtureRequest, tmp_path: Path) -> Cosign:
    """Each major version of cosign, as compiled from its Go module."""
    made = tool(request.param)
    directory = tmp_path / "key"
    directory.mkdir()
    found = Cosign(made.provide(), directory)
    done = found.run("generate-key-pair")
    assert done.returncode == 0, done.stderr
    return found


@pytest.fixture
def profile(request: pytest.FixtureRequest) -> Profile:
    """The registry of a test."""
    return getattr(request, "param", Profile.DOCKER)


@pytest.mark.parametrize("profile", list(Profile), indirect=True)
def test_release_is_signed_and_attested_in_a_form_that_cosign_verifies(
    sealed: Sealed, cli: Cli, cosign: Cosign, profile: Profile
) -> None:
    """Index and manifests have signature, provenance, SBOM and proof; another key is refused."""
    done = cli.run(*sources(sealed), environ=cosign.environ())
    assert done.returncode == 0, done.stderr
    page = (cli.output / "release.md").read_text(encoding="utf-8")
    published = json.loads((cli.output / "published.json").read_bytes())
    key = cosign.environ()["COSIGN_PRIVATE_KEY"]
    assert not any(secret in done.stderr + page for secret in (PASSWORD, key))
    log = cli.registry.log.read_text(errors="replace")
    first = f'"PUT /v2/{REPOSITORY}/manifests/{VERSION} '
    assert log.count(first) == 1
    assert log.index("manifests/sha256-") < log.index(first), "attested before it is tagged"
    commands = published["verification"]
    index = published["index"]["digest"]
    for command in commands:
        assert f"$ {shlex.join(command)}" in page
        for digest in (index, *(image["manifest"] for image in published["images"])):
            if command[1] == "verify" and digest != index:
                continue
            words = [word.replace(index, digest) for word in command[1:]]
            seen = cosign.run(*words, environ=cli.environ, cwd=cli.output / "attestations")
            assert seen.returncode == 0, seen.stderr
            statements = 2 if digest == index else 1
            assert command[1] == "verify" or len(seen.stdout.splitlines()) == statements
    other = cosign.directory / "other"
    other.mkdir()
    cosign.run("generate-key-pair", cwd=other)
    shutil.copy(cli.output / "attestations" / NO_ROOTS, other)
    for command in commands:
        seen = cosign.run(*command[1:], environ=cli.environ, cwd=other)
        assert seen.returncode != 0, f"another key is accepted by {command}"


def test_release_of_one_major_is_verified_by_the_other(
    sealed: Sealed, cli: Cli, cosign: Cosign
) -> None:
    """Users have either version: what one signs the other verifies."""
    done = cli.run(*sources(sealed), environ=cosign.environ())
    assert done.returncode == 0, done.stderr
    version = next(version for version in MAJORS if tool(version).path != cosign.path)
    other = Cosign(tool(version).provide(), cosign.directory)
    for command in json.loads((cli.output / "published.json").read_bytes())["verification"]:
        words = [word for word in command[1:] if word not in ONLY_OLD]
        words += ONLY_OLD if version.startswith("2") else []
        seen = other.run(*words, environ=cli.environ, cwd=cli.output / "attestations")
        assert seen.returncode == 0, seen.stderr


@pytest.mark.parametrize("profile", list(Profile), indirect=True)
def test_rehearsal_signs_as_a_release_does(
    sealed: Sealed, profile: Profile, tmp_path: Path
) -> None:
    """--registry localhost makes a key for the run, signs, attests and verifies with it."""
    command = [
        *(sys.executable, "-m", "harness", "release", VERSION, "--registry", "localhost"),
        *("--registry-profile", profile, "--output", str(tmp_path / "out"), *sources(sealed)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{profile}, requested by --registry localhost" in done.stderr
    page = (tmp_path / "out" / "release.md").read_text(encoding="utf-8")
    assert "cosign verify-attestation --type slsaprovenance1 --key cosign.pub" in page
    assert (tmp_path / "out" / "attestations" / "cosign.pub").exists()
    assert not list((tmp_path / "out").rglob("*.key")), "the private half ends with the run"
