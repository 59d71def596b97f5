"""The whole rescan with a fake registry, a stand-in for GitHub, and fabricated scans."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.core.errors import ScanImpossibleError, UsageError
from harness.rescan import job
from harness.rescan.sarif import merged
from harness.scan import LayerClass
from harness.scan.model import Finding
from tests.unit.release.fake_registry import PASSWORD, USER, FakeRegistry, fake_registry
from tests.unit.release.made import VERSION, both, publish_to

from .findings import finding, report
from .stand_in_github import REPOSITORY, TOKEN, StandInGitHub, stand_in_github


class Scanner:
    """Stands in for Trivy: `found` is what every image has."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.fails = ""  # part of the name of an image that cannot be scanned
        self.names: list[str] = []

    def scan(self, _: object, reference: str, *_more: object, name: str) -> Any:
        self.names.append(name)
        if self.fails and self.fails in reference:
            raise ScanImpossibleError("no Trivy")
        directory = Path(str(_more[1]))
        directory.mkdir(parents=True)
        sarif = directory / "trivy.sarif"
        sarif.write_text(json.dumps(sarif_of(*(f.id for f in self.found))), encoding="utf-8")
        return replace(report(*self.found), sarif=sarif)


def sarif_of(*rules: str) -> dict[str, Any]:
    return {
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "Trivy", "rules": [{"id": rule} for rule in rules]}},
                "results": [
                    {"ruleId": rule, "ruleIndex": index, "message": {"text": rule}}
                    for index, rule in enumerate(rules)
                ],
            }
        ],
    }


@pytest.fixture
def scanner(monkeypatch: pytest.MonkeyPatch) -> Scanner:
    """The fake scanner, and an engine that can pull everything."""
    made = Scanner()

    @contextmanager
    def engine() -> Iterator[Any]:
        yield SimpleNamespace(client=None)

    @contextmanager
    def pulled(_: object, image: Any, __: object) -> Iterator[str]:
        yield image.name

    monkeypatch.setattr(job, "container_engine", engine)
    monkeypatch.setattr(job, "pulled", pulled)
    monkeypatch.setattr(job, "scan_image", made.scan)
    return made


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[FakeRegistry]:
    """A registry with one release."""
    with fake_registry() as made:
        publish_to(made, both(tmp_path / "made"), tmp_path / "published")
        yield made


@pytest.fixture
def github() -> Iterator[StandInGitHub]:
    with stand_in_github() as made:
        yield made


def config(registry: FakeRegistry, github: StandInGitHub, output: Path) -> job.RescanConfig:
    return job.RescanConfig(
        registry=registry.url,
        repository="owner/image",
        issues=REPOSITORY,
        api=github.url,
        output=output,
    )


def run(
    registry: FakeRegistry, github: StandInGitHub, root: Path, monkeypatch: pytest.MonkeyPatch
) -> job.Rescan:
    """One day's rescan, with a summary in `root`."""
    root.mkdir()
    login = root / "docker"
    login.mkdir()
    pair = {"auths": {registry.host: {"username": USER, "password": PASSWORD}}}
    (login / "config.json").write_text(json.dumps(pair), encoding="utf-8")
    environ = {
        "GITHUB_TOKEN": TOKEN,
        "DOCKER_CONFIG": str(login),
        "GITHUB_STEP_SUMMARY": str(root / "summary.md"),
    }
    return job.rescan(config(registry, github, root / "out"), environ)


def test_daily_scans_open_update_and_close_an_issue(
    scanner: Scanner,
    registry: FakeRegistry,
    github: StandInGitHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Clean, then a finding, then the same, then fixed: one issue, closed at the end."""
    states = []
    for day, found in enumerate([[], [finding()], [finding()], []]):
        scanner.found = found
        run(registry, github, tmp_path / str(day), monkeypatch)
        states.append(github.states())
    open_, closed = {"CVE-1 (high) in haproxy": "open"}, {"CVE-1 (high) in haproxy": "closed"}
    assert states == [{}, open_, open_, closed]
    assert f"nox -s release -- {VERSION} --revision 1" in github.issues[0]["body"]
    assert len(github.issues[0]["body"].split("linux/")) == 3, "both platforms"


def test_reports_and_summary_of_the_job(
    scanner: Scanner,
    registry: FakeRegistry,
    github: StandInGitHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SARIF, JSON and Markdown are written; the summary has the remedy and no token."""
    scanner.found = [finding(), finding("CVE-2", "stdlib", layer=LayerClass.PLUGIN)]
    run(registry, github, tmp_path / "day", monkeypatch)
    out = tmp_path / "day" / "out"
    summary = (out / "rescan.md").read_text(encoding="utf-8")
    assert (tmp_path / "day" / "summary.md").read_text(encoding="utf-8") == summary
    assert "### Rescan: 2 open, 2 images" in summary
    assert "| `CVE-2` | high | `stdlib` | only a new release of the plugin fixes it |" in summary
    assert "| opened |" in summary
    record = json.loads((out / "rescan.json").read_bytes())
    assert [problem["remedy"] for problem in record["problems"]] == [
        "a rebuild fixes it",
        "only a new release of the plugin fixes it",
    ]
    (found,) = json.loads((out / "rescan.sarif").read_bytes())["runs"]
    assert [result["ruleId"] for result in found["results"]] == ["CVE-1", "CVE-2"]
    assert not any(TOKEN in path.read_text("utf-8") for path in out.rglob("*") if path.is_file())


def test_image_that_cannot_be_scanned_fails_the_run_and_closes_nothing(
    scanner: Scanner,
    registry: FakeRegistry,
    github: StandInGitHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other image is still scanned and reported; exit code 7."""
    scanner.found = [finding()]
    run(registry, github, tmp_path / "1", monkeypatch)
    scanner.found, scanner.fails = [], scanner.names[0].rpartition(":")[2]
    with pytest.raises(ScanImpossibleError, match=r"v1\.2\.3 linux/amd64: no Trivy"):
        run(registry, github, tmp_path / "2", monkeypatch)
    assert set(github.states().values()) == {"open"}
    text = (tmp_path / "2" / "out" / "rescan.md").read_text(encoding="utf-8")
    assert "**Not scanned:** v1.2.3 linux/amd64" in text


def test_issues_need_a_token(tmp_path: Path) -> None:
    """Said before anything is pulled."""
    wanted = job.RescanConfig(registry="ghcr.io", repository="owner/image", issues=REPOSITORY)
    with pytest.raises(UsageError, match="GITHUB_TOKEN"):
        job.rescan(wanted, {"DOCKER_CONFIG": str(tmp_path)})


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", '{"runs": {}}', '{"runs": [1]}', '{"runs": [{"tool": []}]}'),
        '{"runs": [{"tool": {"driver": {"rules": [{}]}}}]}',
        '{"runs": [{"results": [{"ruleId": "CVE-1"}]}]}',
        '{"runs": [{"results": [{}]}]}',
    ],
)
def test_sarif_in_another_form_is_an_impossible_scan(text: str, tmp_path: Path) -> None:
    """The error says which Trivy to install."""
    path = tmp_path / "trivy.sarif"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScanImpossibleError, match=r"Trivy's SARIF cannot be read.*install Trivy"):
        merged([path])


def test_sarif_of_several_images_keeps_each_result_once(tmp_path: Path) -> None:
    """Rules are numbered anew, and equal results of two images are one."""
    paths = []
    for name, rules in (("a", ("CVE-1", "CVE-2")), ("b", ("CVE-3", "CVE-2"))):
        path = tmp_path / f"{name}.sarif"
        path.write_text(json.dumps(sarif_of(*rules)), encoding="utf-8")
        paths.append(path)
    (whole,) = merged(paths)["runs"]
    names = [rule["id"] for rule in whole["tool"]["driver"]["rules"]]
    assert names == ["CVE-1", "CVE-2", "CVE-3"]
    assert [(r["ruleId"], names[r["ruleIndex"]]) for r in whole["results"]] == [
        (name, name) for name in names
    ]
    assert merged([])["runs"] == []
