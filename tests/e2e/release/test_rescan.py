"""Published images scanned again by the real Trivy, with issues on a stand-in for GitHub."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from harness.stand_ins.database import KNOWN, Advisory, make_database
from tests.unit.rescan.stand_in_github import REPOSITORY as PROJECT
from tests.unit.rescan.stand_in_github import TOKEN, StandInGitHub, stand_in_github

from .conftest import REPOSITORY, Cli, Sealed

LATER = Advisory(
    id="CVE-2099-0020",
    package="google.golang.org/protobuf",
    vulnerable="< 99.0.0",
    fixed="99.0.0",
    title="found after the release",
)
TITLE = f"{LATER.id} (critical) in {LATER.package}"


def _rescan(
    cli: Cli, github: StandInGitHub, cache: Path, output: Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "harness", "rescan", "--repository", REPOSITORY),
            *("--registry", cli.registry.host, "--registry-ca", str(cli.registry.ca)),
            *("--issues", PROJECT, "--github-api", github.url, "--output", str(output)),
            *("--offline", "--stand-ins", "auto", "--cache-dir", str(cache)),
        ],
        env={**cli.environ, "GITHUB_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_vulnerability_found_after_the_release_is_one_issue_until_it_is_gone(
    few: Sealed, cli: Cli, tmp_path: Path
) -> None:
    """The database learns of it, and later takes it back: the issue is opened, then closed."""
    sources = [word for directory in few.directories for word in ("--from", directory)]
    done = cli.run(*sources)
    assert done.returncode == 0, done.stderr
    states = []
    with stand_in_github() as github:
        for day, advisories in enumerate([(KNOWN, LATER), (KNOWN,)]):
            cache = tmp_path / f"cache-{day}"
            make_database(cache / "db", advisories)
            done = _rescan(cli, github, cache, tmp_path / f"rescan-{day}")
            assert done.returncode == 0, done.stderr
            assert TOKEN not in done.stdout + done.stderr
            states.append(github.states())
    assert states == [{TITLE: "open"}, {TITLE: "closed"}]
    assert "Only a new release of the plugin fixes it" in github.issues[0]["body"]
    sarif = json.loads((tmp_path / "rescan-0" / "rescan.sarif").read_bytes())
    assert {result["ruleId"] for result in sarif["runs"][0]["results"]} == {LATER.id}
    summary = (tmp_path / "rescan-0" / "rescan.md").read_text(encoding="utf-8")
    assert "Stand-in vulnerability database" in summary
