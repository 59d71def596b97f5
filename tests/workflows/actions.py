"""Local equivalents of the actions that the workflows use; each says what it does instead."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.regions import REPOSITORY

from .expressions import UnsupportedError


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an action works: its job's directory, and what outlives the job."""

    workspace: Path
    artifacts: Path
    code_scanning: Path


def perform(uses: str, options: Mapping[str, str], place: Place) -> str:
    """Do what `uses` would do, as far as that goes here; returns what was done instead.

    Raises `ActionError` where the action would fail and `UnsupportedError` for an unknown one.
    """
    name = uses.partition("@")[0]
    if name not in _ACTIONS:
        raise UnsupportedError(f"the action {name}")
    return _ACTIONS[name](options, place)


class ActionError(Exception):
    """The action would fail."""


def _checkout(options: Mapping[str, str], place: Place) -> str:
    listed = subprocess.run(
        ["git", "-C", str(REPOSITORY), "ls-files", "-z"], check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, target = REPOSITORY / name, place.workspace / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return "copied the files of this checkout"


def _setup_python(options: Mapping[str, str], place: Place) -> str:
    return "the Python of this machine stands in"


def _upload(options: Mapping[str, str], place: Place) -> str:
    source, target = place.workspace / options["path"], place.artifacts / options["name"]
    if not source.exists() or not any(source.rglob("*")):
        if options.get("if-no-files-found") == "error":
            raise ActionError(f"no files at {options['path']}")
        return f"nothing at {options['path']} to keep"
    if target.exists() and options.get("overwrite") == "true":
        shutil.rmtree(target)
    if target.exists():
        raise ActionError(f"an artifact {options['name']} is there already")
    shutil.copytree(source, target)
    return f"copied {options['path']} to the directory of artifacts"


def _download(options: Mapping[str, str], place: Place) -> str:
    wanted = options.get("name") or options["pattern"]
    found = sorted(place.artifacts.glob(wanted))
    for artifact in found:
        # Several artifacts get a directory each.
        target = place.workspace / options["path"] / ("" if "name" in options else artifact.name)
        shutil.copytree(artifact, target)
    if not found:
        raise ActionError(f"no artifact is called {wanted}")
    return f"copied {', '.join(artifact.name for artifact in found)} from the directory"


def _upload_sarif(options: Mapping[str, str], place: Place) -> str:
    path = place.workspace / options["sarif_file"]
    try:
        findings = json.loads(path.read_text(encoding="utf-8"))
        runs = len(findings["runs"])
    except (OSError, ValueError, KeyError) as error:
        raise ActionError(f"{options['sarif_file']} is no SARIF: {error}") from error
    place.code_scanning.mkdir(exist_ok=True)
    shutil.copy2(path, place.code_scanning / f"{options['category']}.sarif")
    return f"read {runs} runs of findings"


def _install_cosign(options: Mapping[str, str], place: Place) -> str:
    return "nothing is signed here"


def _attest(options: Mapping[str, str], place: Place) -> str:
    """Check what the action would check: https://github.com/actions/attest#usage."""
    try:
        text = (place.workspace / options["subject-checksums"]).read_text(encoding="utf-8")
        if "sbom-path" in options:
            json.loads((place.workspace / options["sbom-path"]).read_bytes())
    except (OSError, ValueError) as error:
        raise ActionError(f"nothing to attest: {error}") from error
    subjects = text.splitlines()
    if not subjects or not all(re.fullmatch(r"[0-9a-f]{64}  \S+", line) for line in subjects):
        raise ActionError(f"{options['subject-checksums']} has other lines than sha256sum's")
    return f"nothing is signed here; the subjects are {', '.join(subjects)}"


_ACTIONS: dict[str, Callable[[Mapping[str, str], Place], str]] = {
    "actions/checkout": _checkout,
    "actions/setup-python": _setup_python,
    "actions/upload-artifact": _upload,
    "actions/download-artifact": _download,
    "actions/attest": _attest,
    "sigstore/cosign-installer": _install_cosign,
    "github/codeql-action/upload-sarif": _upload_sarif,
}
