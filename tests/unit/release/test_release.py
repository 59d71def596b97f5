"""The whole release with failing stages: no manifest reaches the registry."""

from __future__ import annotations

import contextlib
import json
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import harness.release as job
from harness import pipeline
from harness.build.image import revision
from harness.core.errors import (
    BuildError,
    EnvironmentMissingError,
    HarnessError,
    NotProvenError,
    ReleaseError,
    UsageError,
)
from harness.core.process import run
from harness.core.stages import Architecture
from harness.pipeline import BuildConfig
from harness.publish.seal import PROVENANCE, SealedImage, seal, unseal
from harness.registry import Credentials, Secret

from .fake_registry import PASSWORD, USER, FakeRegistry, Fault, fake_registry
from .made import VERSION, proven, refuted, scanned, sealed


class Stages:
    """Stand-ins for the stages before the seal; `broken` names the one that raises."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.calls: list[str] = []
        self.broken: dict[str, Exception] = {}
        self.refuted = False
        self.revision = "0" * 40  # of the checkout
        self._docker: Any = None
        monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        monkeypatch.setattr(job, "container_engine", self.engine)
        monkeypatch.setattr(job, "sweep", lambda _: None)
        monkeypatch.setattr(job, "revision", lambda: self.revision)
        monkeypatch.setattr(job, "build", self.build)
        monkeypatch.setattr(job, "verified", self.verified)
        monkeypatch.setattr(job, "scan", self.scan)
        monkeypatch.setattr(job, "verified_region", self.verified_region)
        monkeypatch.setattr(job, "pull_and_run", lambda *_: "not run: a test")
        held = Credentials(username=USER, secret=Secret(PASSWORD), source="test")
        monkeypatch.setattr(job, "find_credentials", lambda *_: held)

    @contextlib.contextmanager
    def engine(self) -> Iterator[Any]:
        yield SimpleNamespace(client=self._client(), architecture="amd64")

    def _client(self) -> Any:
        outer = self

        class Client:
            def __getattr__(self, name: str) -> Any:
                return getattr(outer._docker, name)

        return Client()

    def _stage(self, name: str, architecture: str) -> None:
        self.calls.append(f"{name} {architecture}")
        if error := self.broken.get(f"{name} {architecture}"):
            raise error

    def build(self, _engine: Any, config: BuildConfig) -> Any:
        assert config.architecture
        self._stage("build", config.architecture)
        self._docker, made = scanned(self.root / config.architecture, config.architecture)
        self.made = refuted(made) if self.refuted else made
        return self.made.verified.built

    def verified(self, _engine: Any, built: Any, _config: Any, _reports: Path) -> Any:
        self._stage("verify", built.architecture)
        return self.made.verified

    def verified_region(self, *given: Any, full_size: bool) -> Any:
        *_, image, region = given
        if error := self.broken.get(region.name):
            raise error
        return proven(image, region)

    def scan(self, _engine: Any, verified: Any, _options: Any, _output: Path) -> Any:
        self._stage("scan", verified.built.architecture)
        return self.made


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stages:
    """Working stages, to be broken by tests."""
    return Stages(tmp_path, monkeypatch)


def config_for(registry: FakeRegistry, output: Path, **options: Any) -> job.ReleaseConfig:
    return job.ReleaseConfig(
        build=BuildConfig(version=VERSION),
        registry=registry.url,
        repository="owner/image",
        output=output,
        **options,
    )


def test_proof_is_once_in_the_job_summary(
    stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sealed proof, which has the regions, once; a proof that fails is there at once."""
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setattr(job, "verified", pipeline.verified)
    monkeypatch.setattr(pipeline, "examine", lambda *_: stages.made.verified.proof)
    with fake_registry() as registry:
        job.release(config_for(registry, tmp_path / "out"))
        told = summary.read_text(encoding="utf-8")
        proofs = [
            (tmp_path / "out" / architecture / "proof" / "proof.md").read_text(encoding="utf-8")
            for architecture in Architecture
        ]
        assert "US-2" in proofs[0]
        assert [told.count(proof) for proof in proofs] == [1, 1]
        assert told.count("## ✓ test: proven") == len(proofs)
        stages.refuted = True
        with pytest.raises(NotProvenError):
            job.release(config_for(registry, tmp_path / "refuted"))
    assert "not proven" in summary.read_text(encoding="utf-8").removeprefix(told).lower()


def test_stages_run_in_order_for_each_architecture(stages: Stages, tmp_path: Path) -> None:
    """Build, verify and scan of both complete before the first write to the registry."""
    with fake_registry(auth="bearer") as registry:
        published = job.release(config_for(registry, tmp_path / "out"))
        assert published
        assert stages.calls == [
            f"{stage} {architecture}"
            for architecture in ("amd64", "arm64")
            for stage in ("build", "verify", "scan")
        ]
        assert published.tags == (VERSION, "latest")
        assert (tmp_path / "out" / "release.md").exists()


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
@pytest.mark.parametrize(
    ("stage", "error"),
    [
        pytest.param("build", ReleaseError("2 of 12 regions are missing"), id="FR-018-assets"),
        pytest.param("build", BuildError("the engine stopped"), id="build"),
        pytest.param("verify", NotProvenError("not proven: 1 failed"), id="proof"),
        pytest.param("scan", HarnessError("1 critical"), id="SC-004-scan"),
    ],
)
def test_broken_stage_publishes_nothing(
    stage: str, error: HarnessError, architecture: str, stages: Stages, tmp_path: Path
) -> None:
    """If any stage of any architecture fails, its error is raised and nothing is published."""
    with fake_registry() as registry:
        stages.broken = {f"{stage} {architecture}": error}
        with pytest.raises(type(error), match=str(error)):
            job.release(config_for(registry, tmp_path / "out"))
        assert registry.asked("POST|PUT|PATCH") == 0
        assert registry.manifests == {}


def test_proof_that_does_not_hold_is_not_sealed_either(stages: Stages, tmp_path: Path) -> None:
    """If a stage fails to raise, the seal still rejects its image."""
    with fake_registry() as registry:
        stages.refuted = True
        with pytest.raises(NotProvenError, match="not proven"):
            job.release(config_for(registry, tmp_path / "out"))
        assert registry.asked("POST|PUT|PATCH") == 0


def test_resumed_release_builds_only_what_is_missing(stages: Stages, tmp_path: Path) -> None:
    """After a failure on arm64, --resume verifies the sealed amd64 image and builds arm64."""
    with fake_registry() as registry:
        stages.broken = {"scan arm64": HarnessError("no database")}
        with pytest.raises(HarnessError, match="no database"):
            job.release(config_for(registry, tmp_path / "out"))
        stages.broken, stages.calls = {}, []
        assert job.release(config_for(registry, tmp_path / "out", resume=True))
        assert stages.calls == ["build arm64", "verify arm64", "scan arm64"]


def test_resumed_release_makes_a_damaged_seal_again(stages: Stages, tmp_path: Path) -> None:
    """A damaged seal is recreated, not published."""
    with fake_registry() as registry:
        stages.broken = {"scan arm64": HarnessError("no database")}
        with pytest.raises(HarnessError):
            job.release(config_for(registry, tmp_path / "out"))
        (tmp_path / "out" / "sealed-amd64" / "proof.json").write_text("{}", encoding="utf-8")
        stages.broken, stages.calls = {}, []
        assert job.release(config_for(registry, tmp_path / "out", resume=True))
        assert len(stages.calls) == 6


def test_export_on_two_machines_then_published(stages: Stages, tmp_path: Path) -> None:
    """Each architecture is exported separately; a third job publishes both and builds nothing."""
    with fake_registry() as registry:
        directories = []
        for architecture in Architecture:
            directories.append(tmp_path / f"artifact-{architecture}")
            export = config_for(
                registry,
                tmp_path / architecture,
                architectures=(architecture,),
                export=directories[-1],
            )
            sealed = job.export(export)
            assert unseal(directories[-1]) == sealed
        assert registry.log == [], "an export asks no registry"
        stages.calls = []
        published = job.release(config_for(registry, tmp_path / "out", sources=tuple(directories)))
        assert published
        assert stages.calls == []
        assert set(registry.tags) >= {VERSION, "latest"}


def test_export_into_foreign_files_is_refused_before_the_build(
    stages: Stages, tmp_path: Path
) -> None:
    """`--export .` in a checkout costs neither the checkout nor an hour of building."""
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "README.md").touch()
    with fake_registry() as registry:
        export = config_for(
            registry,
            tmp_path / "out",
            architectures=(Architecture.AMD64,),
            export=tmp_path / "checkout",
        )
        with pytest.raises(UsageError, match="nothing was removed"):
            job.export(export)
    assert stages.calls == []
    assert (tmp_path / "checkout" / "README.md").exists()


@pytest.mark.parametrize("way", ["release", "export"])
def test_changed_checkout_is_not_released(way: str, stages: Stages, tmp_path: Path) -> None:
    """A label with HEAD's commit would be wrong: refused before the build; a rehearsal is not."""
    stages.revision += "-dirty"
    options: dict[str, Any] = {}
    if way == "export":
        options = {"architectures": (Architecture.AMD64,), "export": tmp_path / "sealed"}
    with fake_registry() as registry:
        config = config_for(registry, tmp_path / "out", **options)
        config = replace(config, registry="registry.invalid")
        with pytest.raises(UsageError, match="uncommitted changes"):
            getattr(job, way)(config)
        assert stages.calls == []
        if way == "release":
            rehearsal = replace(config, registry=registry.url)
        else:
            rehearsal = replace(config, build=replace(config.build, version="v0.0.0-local"))
        getattr(job, way)(rehearsal)
        assert stages.calls[0] == "build amd64"


@pytest.mark.parametrize(
    ("change", "dirty"),
    [
        pytest.param("", False, id="clean"),
        pytest.param("README.md", True, id="changed"),
        pytest.param("image/new", True, id="new-in-the-build-context"),
        pytest.param("out-amd64", False, id="new-elsewhere"),
    ],
)
def test_revision_says_whether_the_checkout_was_changed(
    change: str, dirty: bool, tmp_path: Path
) -> None:
    """`-dirty` follows the commit when what is built differs from it, or may."""

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.invalid"]
        return run(["git", "-C", str(tmp_path), *identity, *arguments]).strip()

    git("init", "--quiet")
    for name in ("README.md", "image/Dockerfile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    if change:
        (tmp_path / change).write_text("changed", encoding="utf-8")
    assert revision(tmp_path) == git("rev-parse", "HEAD") + ("-dirty" if dirty else "")


def test_provenance_of_a_rehearsal_names_the_commit_without_the_suffix(tmp_path: Path) -> None:
    """`gitCommit` stays a commit; the changes are an annotation."""
    made = sealed(tmp_path, revision="abc-dirty")
    content = json.loads(made.file(PROVENANCE).read_bytes())
    sources = content["predicate"]["buildDefinition"]["resolvedDependencies"][0]
    assert sources["digest"] == {"gitCommit": "abc"}
    assert sources["annotations"] == {"uncommittedChanges": True}


def test_dry_run_prints_the_plan_and_changes_nothing(
    stages: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan with tags, platforms and digests is printed; nothing is pushed or recorded."""
    with fake_registry() as registry:
        assert job.release(config_for(registry, tmp_path / "out", dry_run=True)) is None
        printed = capsys.readouterr().out
        assert registry.asked("POST|PUT|PATCH") == 0
        assert not (tmp_path / "out" / "release.json").exists()
        for word in ("linux/amd64", "linux/arm64", f"tag {VERSION}: new", "tag latest: new"):
            assert word in printed
        published = job.release(config_for(registry, tmp_path / "out"))
        assert published
        assert published.plan.index.digest in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architectures": (Architecture.AMD64,)}, "every architecture"),
        ({"export": Path("x")}, "one architecture"),
        ({"export": Path("x"), "dry_run": True}, "only builds and seals"),
    ],
)
def test_options_that_do_not_go_together(
    options: dict[str, Any], message: str, stages: Stages, tmp_path: Path
) -> None:
    """Incompatible options are rejected before anything is done."""
    with fake_registry() as registry:
        with pytest.raises(UsageError, match=message):
            job.release(config_for(registry, tmp_path / "out", **options))
        assert stages.calls == []


def test_interrupted_release_says_how_to_go_on(
    stages: Stages, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """After a registry error the command to resume is printed."""
    with fake_registry() as registry:
        registry.faults = [Fault("PATCH", 403, times=99)]
        with pytest.raises(HarnessError, match="HTTP 403"):
            job.release(config_for(registry, tmp_path / "out"))
    assert (
        f"harness release {VERSION} --resume --output {tmp_path / 'out'}" in capfd.readouterr().err
    )


def test_full_disk_leaves_no_seal(tmp_path: Path) -> None:
    """A full disk gives an error with path and size, and no directory is left."""
    client, made = scanned(tmp_path / "scan")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, hard))
    try:
        with pytest.raises(EnvironmentMissingError, match=r"cannot write .*File too large"):
            seal(client, made, tmp_path / "sealed", proven)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "sealed").exists()
    assert isinstance(seal(client, made, tmp_path / "sealed", proven), SealedImage)


@pytest.mark.parametrize(
    ("without", "options", "words"),
    [
        pytest.param("missing", {}, "does not accept --without missing", id="missing"),
        pytest.param("us-gov-west-1", {"sources": (Path("a"),)}, "Drop --without", id="sealed"),
    ],
)
def test_fr_018_release_names_what_it_leaves_out(
    without: str, options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """FR-018: a release omits only the named regions, and none from a sealed image."""
    with fake_registry() as registry:
        config = config_for(registry, tmp_path / "out", **options)
        config = replace(config, build=replace(config.build, without=(without,)))
        with pytest.raises(UsageError, match=words):
            job.release(config)
