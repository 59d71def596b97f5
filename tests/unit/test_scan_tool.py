"""Trivy: which one is used, what is rejected, and which environment it gets."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from harness.core.errors import ScanImpossibleError
from harness.machine.doctor import examine
from harness.scan import tool


def program(directory: Path, name: str, script: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def trivy_of(directory: Path, version: str) -> Path:
    return program(directory, "trivy", f"echo 'Version: {version}'")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH without tools, and an empty cache."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return directory


@pytest.mark.parametrize(
    ("version", "accepted"),
    [
        ("0.70.0", True),
        (tool.PINNED, True),
        ("0.112.3", True),
        ("0.69.9", False),
        ("0.9.1", False),
        ("1.0.0", False),
    ],
)
def test_version_is_accepted_or_not(version: str, *, accepted: bool) -> None:
    """Versions are compared as numbers, and another major version is rejected."""
    assert tool.accepted(version) is accepted


def test_trivy_on_path_is_used(path: Path) -> None:
    """A supported version on PATH is used."""
    there = trivy_of(path, "0.75.1")
    found = tool.find_trivy()
    assert (found.path, found.version, found.provisioned) == (there, "0.75.1", False)


def test_refused_version_is_named_and_the_pinned_one_used(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unsupported version is rejected with a message; the compiled one is used instead."""
    trivy_of(path, "0.50.0")
    compiled = trivy_of(tool.compiled().parent, tool.PINNED)
    assert tool.find_trivy().path == compiled
    words = " ".join(capsys.readouterr().err.split())
    assert "Trivy 0.50.0; only 0.x from 0.70 on is supported" in words


def test_trivy_is_compiled_once_from_the_pinned_module(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Trivy, `go install` builds the pinned version for this machine, once."""
    monkeypatch.setenv("PATH", f"{path}:/bin:/usr/bin")
    monkeypatch.setenv("GOARCH", "arm64")
    told = path / "told"
    program(
        path,
        "go",
        f'echo "$@ $CGO_ENABLED $GOEXPERIMENT [$GOARCH]" >>{told}\n'
        f"""printf '#!/bin/sh\\necho "Version: {tool.PINNED}"\\n' >"$GOBIN/trivy"
        chmod 755 "$GOBIN/trivy" """,
    )
    if shutil.which("trivy"):
        pytest.skip("this machine has a Trivy in /usr/bin")
    for _ in range(2):
        found = tool.find_trivy()
        assert (found.version, found.provisioned) == (tool.PINNED, True)
    (line,) = told.read_text(encoding="utf-8").splitlines()
    assert line.startswith("install -trimpath")
    assert line.endswith(f"github.com/aquasecurity/trivy/cmd/trivy@v{tool.PINNED} 0 jsonv2 []")
    assert [p.name for p in tool.compiled().parent.iterdir() if p.is_dir()] == []


def test_no_trivy_and_no_go_is_an_impossible_scan(path: Path) -> None:
    """The message says what to install."""
    with pytest.raises(ScanImpossibleError, match="Trivy is not installed, nor is Go"):
        tool.find_trivy()


def test_failed_compile_is_an_impossible_scan_and_leaves_nothing(path: Path) -> None:
    """The message contains Go's error, and the next run tries again."""
    program(path, "go", "echo 'no such module' >&2; exit 1")
    with pytest.raises(ScanImpossibleError, match=r"(?s)cannot compile Trivy.*no such module"):
        tool.find_trivy()
    assert not tool.compiled().exists()


@pytest.mark.parametrize("script", ["exit 3", "echo 'Version: dev'", "echo hello"])
def test_trivy_that_does_not_work_is_an_impossible_scan(path: Path, script: str) -> None:
    """A broken or unreleased Trivy on PATH is reported, not skipped."""
    program(path, "trivy", script)
    with pytest.raises(ScanImpossibleError, match=str(path / "trivy")):
        tool.find_trivy()


def test_settings_in_the_environment_and_files_do_not_reach_trivy(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings that would weaken the gate are unset; registry credentials are kept."""
    monkeypatch.setenv("TRIVY_SEVERITY", "LOW")
    monkeypatch.setenv("TRIVY_PASSWORD", "secret")
    script = 'case $1 in --version) echo "Version: 0.74.0" ;; *) echo "$@" "$TMPDIR" "$PWD"'
    program(path, "trivy", f'{script} "[$TRIVY_SEVERITY][$TRIVY_PASSWORD]" ;; esac')
    work = tmp_path / "work"
    work.mkdir()
    said = tool.find_trivy().run(["image"], cache=tmp_path / "db", directory=work)
    assert said.startswith(f"--cache-dir {tmp_path / 'db'} ")
    assert said.split()[-3:] == [str(work / "tmp"), str(work), "[][secret]"]
    assert (work / "tmp").is_dir()


@pytest.mark.parametrize(
    ("make", "ok", "words"),
    [
        pytest.param(lambda p: trivy_of(p, "0.75.1"), True, "0.75.1", id="on-path"),
        pytest.param(lambda p: program(p, "go", "true"), True, "compiled when needed", id="go"),
        pytest.param(lambda p: None, False, "none", id="neither"),
        pytest.param(lambda p: trivy_of(p, "0.20.0"), False, "0.20.0; only", id="too-old"),
    ],
)
def test_doctor_tells_which_trivy(
    path: Path, monkeypatch: pytest.MonkeyPatch, make: object, words: str, *, ok: bool
) -> None:
    """The doctor reports the Trivy that a scan would use, and compiles nothing."""
    monkeypatch.setattr("harness.machine.doctor.connect", lambda: None)
    monkeypatch.setattr("harness.machine.doctor.RELEASES", "http://127.0.0.1:1")
    assert callable(make)
    make(path)
    (finding,) = [found for found in examine() if found.name.startswith("Trivy")]
    assert (finding.ok, finding.optional) == (ok, True)
    assert words in finding.found
    assert not os.path.lexists(tool.compiled())
