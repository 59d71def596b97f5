"""The steps of the publishing workflow, executed against a local registry."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.regions import REPOSITORY as CHECKOUT
from harness.core.regions import load_regions
from harness.core.stages import Architecture, asset_name
from harness.stand_ins.release import serve_directory
from tests.workflows import local_nox
from tests.workflows.runner import SKIPPED, SUCCESS, Event, Runner, WorkflowRun

from ..conftest import VERSION
from .conftest import REPOSITORY, Cli, Sealed

PUBLISH = CHECKOUT / ".github" / "workflows" / "docker-publish.yml"
TOKEN = "token-of-the-test"


@pytest.fixture
def release_url(tmp_path: Path) -> Iterator[str]:
    """A server with everything that the wait checks, for both architectures."""
    directory = tmp_path / "assets" / VERSION
    directory.mkdir(parents=True)
    names = [asset_name(r, VERSION, a) for r in load_regions() for a in Architecture]
    for name in names:
        (directory / name).write_text("looked for, not downloaded", encoding="utf-8")
    lines = "".join(f"{'a' * 64}  {name}\n" for name in names)
    (directory / "checksums.txt").write_text(lines, encoding="utf-8")
    with serve_directory(directory.parent) as url:
        yield url


def execute(event: Event, sealed: Sealed, cli: Cli, release_url: str, root: Path) -> WorkflowRun:
    """Run the workflow with `local_nox` as nox."""
    tools = root / "tools"
    tools.mkdir()
    for name, text in (
        ("nox", f'#!/bin/sh\nexec {sys.executable} {local_nox.__file__} "$@"\n'),
        # The workflow uses python only to install nox, which is replaced here.
        ("python", '#!/bin/sh\n[ "$3" = install ] || { mkdir tools && touch tools/nox.whl; }\n'),
    ):
        (tools / name).write_text(text, encoding="utf-8")
        (tools / name).chmod(0o755)
    registry = ["--registry", cli.registry.host, "--registry-ca", str(cli.registry.ca)]
    waiting = ["--release-url", release_url, "--interval", "0.5"]
    settings = {
        "sealed": {image.architecture: str(image.directory) for image in sealed.images},
        "options": {"release": registry, "wait_release": waiting},
    }
    (root / "local-nox.json").write_text(json.dumps(settings), encoding="utf-8")
    kept = ("HOME", "DOCKER_HOST", "DOCKER_CONFIG", "XDG_CACHE_HOME")
    machine = {name: value for name, value in cli.environ.items() if name in kept}
    machine |= {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "LOCAL_NOX": str(root / "local-nox.json"),
    }
    return Runner(PUBLISH, event, root / "run", machine).run()


def test_fr_010_workflow_publishes_both_architectures(
    sealed: Sealed, cli: Cli, release_url: str, tmp_path: Path
) -> None:
    """FR-010, FR-011 (publish and tag): one tagged index with both images; its page is shown."""
    event = Event(name="release", payload={"release": {"tag_name": VERSION}}, token=TOKEN)
    run = execute(event, sealed, cli, release_url, tmp_path)
    assert set(run.results.values()) == {SUCCESS}, run.explain()
    assert cli.tags() == {VERSION, "latest"}
    published = json.loads((run.artifacts / "published" / "published.json").read_bytes())
    digest = published["index"]["digest"]
    cli.check_copy(published)
    name = f"docker://{cli.registry.host}/{REPOSITORY}:latest"
    seen = cli.skopeo("inspect", "--raw", name).stdout
    assert f"sha256:{hashlib.sha256(seen.encode()).hexdigest()}" == digest
    platforms = {m["platform"]["architecture"] for m in json.loads(seen)["manifests"]}
    assert platforms == set(Architecture)
    assert f"{REPOSITORY}@{digest}" in run.summary
    assert TOKEN not in run.explain() + run.summary


def test_fr_010_dry_run_by_hand_publishes_nothing(
    sealed: Sealed, cli: Cli, release_url: str, tmp_path: Path
) -> None:
    """FR-010: a manual dry run shows the plan, and the registry stays empty."""
    inputs = {"version": VERSION, "dry-run": True, "latest": "never"}
    event = Event(name="workflow_dispatch", inputs=inputs, token=TOKEN)
    run = execute(event, sealed, cli, release_url, tmp_path)
    assert run.results.pop("notes") == SKIPPED, "nothing was published"
    assert set(run.results.values()) == {SUCCESS}, run.explain()
    plan = next(s.output for s in run.steps if s.name == "Publish the sealed images")
    assert VERSION in plan
    assert cli.tags() == set()
