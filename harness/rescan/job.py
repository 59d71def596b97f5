"""The rescan, in order: find the images, scan each, keep the issues, write the reports."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.core.console import say, warn
from harness.core.errors import HarnessError, ScanImpossibleError, UsageError
from harness.core.files import write_whole
from harness.core.omit import Omit
from harness.engine.provision import Engine, container_engine
from harness.github import API, GitHub
from harness.registry import (
    Credentials,
    RegistryClient,
    Repository,
    Secret,
    Transport,
    find_credentials,
)
from harness.registry.credentials import GITHUB
from harness.release import REPOSITORY, RegistryCa, RepositoryName
from harness.report.write import append_summary
from harness.rescan.images import PublishedImage, published, pulled
from harness.rescan.issues import Change, sync
from harness.rescan.problems import Problem, problems_in, rebuild_command
from harness.rescan.render import render_summary
from harness.rescan.sarif import merged
from harness.scan import ScanOptions, ScanReport, scan_image

SARIF = "rescan.sarif"
SUMMARY = "rescan.md"
RECORD = "rescan.json"
GitHubApi = Annotated[
    str, typer.Option("--github-api", help="URL of GitHub's REST API.", envvar="GITHUB_API_URL")
]


@dataclass(frozen=True, kw_only=True)
class RescanConfig:
    """What to scan, and where to keep the issues."""

    registry: Annotated[str, typer.Option(help="Registry host.")] = GITHUB
    repository: RepositoryName = REPOSITORY
    ca: RegistryCa = None
    issues: Annotated[
        str,
        typer.Option(help="Keep one issue per finding in this GitHub repository: OWNER/NAME."),
    ] = ""
    api: GitHubApi = API
    scan: Annotated[ScanOptions, Omit("end_of_life")] = field(default_factory=ScanOptions)
    output: Annotated[Path, typer.Option(help="Directory for the reports.")] = Path("rescan-out")


@dataclass(frozen=True, kw_only=True)
class Rescan:
    """What a rescan found and did."""

    images: tuple[PublishedImage, ...]
    scans: tuple[tuple[PublishedImage, ScanReport], ...]
    failures: tuple[str, ...]  # images that could not be scanned, and why
    problems: tuple[Problem, ...]
    changes: tuple[Change, ...] = ()

    @property
    def open(self) -> tuple[Problem, ...]:
        """The problems of the newest image."""
        return tuple(problem for problem in self.problems if problem.open)

    def to_json_dict(self) -> dict[str, Any]:
        """Return what was found and done, as JSON types."""
        return {
            "schema_version": 1,
            "images": [
                {"name": i.name, "platform": i.platform, "tags": list(i.tags)} for i in self.images
            ],
            "scans": {image.name: report.verdict for image, report in self.scans},
            "failures": list(self.failures),
            "problems": [
                {
                    "id": p.id,
                    "package": p.package,
                    "severity": p.severity.value,
                    "open": p.open,
                    "remedy": p.remedy.value,
                    "fixed": p.fixed,
                    "images": [a.image.name for a in p.affected],
                }
                for p in self.problems
            ],
            "issues": [vars(change) for change in self.changes],
        }


def rescan(config: RescanConfig, environ: Mapping[str, str] = os.environ) -> Rescan:
    """Scan every supported image of the registry and keep one issue per problem.

    Writes one directory per image, rescan.sarif, rescan.json and rescan.md, which is also appended
    to the summary of a GitHub Actions job. Raises `UsageError` if `config.issues` is set without a
    token, `RegistryError` and `GitHubError`, and, after everything was written,
    `ScanImpossibleError` if an image could not be scanned.
    """
    repository = Repository.from_names(config.registry, config.repository)
    credentials = find_credentials(repository.host, environ)
    token = environ.get("GITHUB_TOKEN", "")
    if config.issues and not token:
        raise UsageError("--issues needs GITHUB_TOKEN with the permission issues: write")
    with (
        container_engine() as engine,
        RegistryClient(Transport(repository, credentials, ca=config.ca)) as client,
    ):
        found = _scanned(engine, published(client), credentials, config)
    rebuild = rebuild_command(found.images)
    if config.issues:
        with GitHub(config.issues, Secret(token), api=config.api) as github:
            changes = sync(github, found.problems, rebuild, complete=not found.failures)
        found = replace(found, changes=tuple(changes))
    _write(found, rebuild, config.output, environ)
    if found.failures:
        raise ScanImpossibleError("\n  ".join(["not every image was scanned:", *found.failures]))
    return found


def _scanned(
    engine: Engine,
    images: list[PublishedImage],
    credentials: Credentials | None,
    config: RescanConfig,
) -> Rescan:
    """Scan each image; one that cannot be scanned does not stop the others."""
    scans, failures = [], []
    for image in images:
        directory = config.output / image.title.replace(" ", "-").replace("/", "-")
        try:
            with pulled(engine.client, image, credentials) as name:
                report = scan_image(engine, name, config.scan, directory, name=image.name)
        except UsageError:
            raise
        except HarnessError as error:
            warn(f"{image.title}: {error}")
            failures.append(f"{image.title}: {error}")
        else:
            scans.append((image, report))
    return Rescan(
        images=tuple(images),
        scans=tuple(scans),
        failures=tuple(failures),
        problems=tuple(problems_in(scans)),
    )


def _write(found: Rescan, rebuild: str, output: Path, environ: Mapping[str, str]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    text = render_summary(
        open=found.open,
        images=found.images,
        scans=found.scans,
        failures=found.failures,
        changes=found.changes,
        rebuild=rebuild,
        unsupported=list(dict.fromkeys(r.unsupported for _, r in found.scans if r.unsupported)),
        stand_ins=list({s.kind: s for _, r in found.scans for s in r.stand_ins}.values()),
    )
    write_whole(output / SUMMARY, text)
    sarif = merged(report.sarif for _, report in found.scans)
    write_whole(output / SARIF, json.dumps(sarif, indent=2) + "\n")
    write_whole(output / RECORD, json.dumps(found.to_json_dict(), indent=2) + "\n")
    append_summary(text, environ)
    say(f"{len(found.images)} images, {len(found.open)} open problems; report: {output / SUMMARY}")
