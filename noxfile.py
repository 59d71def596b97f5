"""Development sessions; `nox -l` lists them."""

import os
import shutil
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.error_on_external_run = True

# After Ctrl+C nox kills a program within half a second, too soon for it to remove its containers.
PATIENCE = 60.0

# Only files with these digests, and only wheels, so that an installation runs no code.
LOCKED = [
    "--require-hashes",
    "--no-deps",
    "--only-binary",
    ":all:",
    "-r",
    "requirements/release.txt",
]

SCHEMAS = {
    "dependabot": [".github/dependabot.yml"],
    "github-workflows": sorted(str(path) for path in Path(".github/workflows").glob("*.yml")),
    "github-issue-config": [".github/ISSUE_TEMPLATE/config.yml"],
    "github-issue-forms": [".github/ISSUE_TEMPLATE/bug.yml", ".github/ISSUE_TEMPLATE/proposal.yml"],
}

SHELL_PROGRAMS = [
    "image/entrypoint.sh",
    "image/prepare.sh",
    "image/healthcheck.sh",
    "image/build/download.sh",
    "deploy/chart/files/check.sh",
    "harness/stand_ins/apk.sh",
]
SHELL_PARTS = sorted(str(path) for path in Path("image/lib").glob("*.sh"))


@nox.session
def e2e(session: nox.Session) -> None:
    """Build and prove the image with stand-in plugins; `-- v0.1.6` uses that real release."""
    session.install("-e", ".")
    session.run("harness", "prove", *session.posargs, interrupt_timeout=PATIENCE)


@nox.session
def release(session: nox.Session) -> None:
    """Release a version: `-- v0.1.6`; `-- v0.0.0-local --registry localhost` is a rehearsal."""
    session.install(*LOCKED)
    _harness(session, "release")


@nox.session
def wait_release(session: nox.Session) -> None:
    """Wait for a release's assets to finish uploading; `-- v0.1.6 --timeout 600`."""
    session.install(*LOCKED)
    _harness(session, "wait-release")


@nox.session
def rescan(session: nox.Session) -> None:
    """Scan every supported published image again; `-- --issues OWNER/NAME` keeps issues."""
    session.install(*LOCKED)
    _harness(session, "rescan")


@nox.session
def release_notes(session: nox.Session) -> None:
    """Put a release into the notes of its GitHub release: `-- release-out --github OWNER/NAME`."""
    session.install(*LOCKED)
    _harness(session, "release-notes")


def _harness(session: nox.Session, command: str) -> None:
    """Run a command of the harness from the checkout, without installing it."""
    session.run("python", "-m", "harness", command, *session.posargs, interrupt_timeout=PATIENCE)


@nox.session
def smoke(session: nox.Session) -> None:
    """Deploy on Kubernetes and verify; `-- --context NAME IMAGE` uses an existing cluster."""
    session.install("-e", ".[smoke]")
    session.run("harness", "smoke", *session.posargs, interrupt_timeout=PATIENCE)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the unit, fuzz and e2e tests; `-- tests/unit` runs only those."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "harness.core.process")
    parts = session.posargs or ["tests/e2e", "tests/unit", "tests/fuzz"]
    # One more than there are processors: most end-to-end tests wait for a container.
    workers = ["--numprocesses", str((os.cpu_count() or 1) + 1), "--no-loadscope-reorder"]
    session.run(
        *("pytest", *workers, "--durations", "20", *parts),
        # The tests start the harness hundreds of times, and compiling it takes half a second.
        env={"PYTHONDONTWRITEBYTECODE": None},
        interrupt_timeout=PATIENCE,
    )


@nox.session
def bench(session: nox.Session) -> None:
    """Benchmark the image against its alternatives; results in bench-out/."""
    session.install("-e", ".[bench]")
    session.run("python", "-m", "tests.bench", *session.posargs, interrupt_timeout=PATIENCE)


@nox.session
def faults(session: nox.Session) -> None:
    """Run the fault table and report; `-- WORD` runs the rows whose names contain WORD."""
    session.install("-e", ".[test,bench]")
    if any(word.startswith("-") for word in session.posargs):
        session.run(
            "python", "-m", "tests.e2e.faults", *session.posargs, interrupt_timeout=PATIENCE
        )
        return
    parts = ["tests/e2e/faults"]
    if session.posargs:
        parts = ["tests/e2e/faults/test_faults.py", "-k", " or ".join(session.posargs)]
    report = "--fault-report=faults-out"
    session.run("pytest", "-m", "faults", *parts, report, interrupt_timeout=PATIENCE)


@nox.session
def registries(session: nox.Session) -> None:
    """Publish to real registries, signed with cosign 2 and 3; kill it at every request."""
    session.install("-e", ".[test]")
    run = ["pytest", "-m", "registries", "--durations", "10"]
    if session.posargs:
        session.run(*run, *session.posargs, interrupt_timeout=PATIENCE)
        return
    workers = ["--numprocesses", str(os.cpu_count() or 1), "--dist", "worksteal"]
    session.run(*run, *workers, "tests/unit/release", interrupt_timeout=PATIENCE)
    session.run(*run, "tests/e2e/release", interrupt_timeout=PATIENCE)


@nox.session
def emulated(session: nox.Session) -> None:
    """Build and prove the whole image of the other architecture under emulation."""
    session.install("-e", ".[test]")
    parts = ["-m", "emulated", "tests/e2e/test_arm64.py"]
    session.run("pytest", *parts, *session.posargs, interrupt_timeout=PATIENCE)


@nox.session
def stress(session: nox.Session) -> None:
    """Stop and restart 10,000 child processes on busy cores; `-- --lives 60` is shorter."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "tests.e2e.faults.stress", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz every parser, each for `-- --seconds 60`; `-- WORD` picks targets by name."""
    session.install("-e", ".[test,fuzz]")
    session.run("python", "-m", "tests.fuzz", *session.posargs)
    if not session.posargs:
        session.run("python", "-m", "harness.core.process")
        session.run("pytest", "tests/fuzz", env={"FUZZ_PROFILE": "long"})


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types, imports, shell, Dockerfile, workflows and generated files."""
    session.install("-e", ".[test,lint]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("lint-imports")
    session.run("python", "-m", "harness.generate", "--check")
    session.run("python", "-m", "tests.lock")
    # -x follows sourced files, so each is checked with the variables it shares.
    session.run("shellcheck", "-x", "--source-path=SCRIPTDIR", *SHELL_PROGRAMS)
    session.run("shfmt", "-i", "2", "-ci", "-d", *SHELL_PROGRAMS, *SHELL_PARTS)
    session.run("hadolint", "image/Dockerfile")
    # actionlint is a Go program; Go is needed for the stand-in plugin anyway.
    actionlint = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
    session.run("go", "run", actionlint, env={"CGO_ENABLED": "0"}, external=True)
    session.run("zizmor", "--offline", "--quiet", "--pedantic", ".github")
    for schema, paths in SCHEMAS.items():
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *paths)


@nox.session
def lock(session: nox.Session) -> None:
    """Renew requirements/release.txt; `-- --upgrade` takes the newest versions."""
    session.install("uv>=0.13")
    options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-build"]
    with session.chdir("requirements"):
        files = ["--output-file", "release.txt", "release.in"]
        session.run("uv", "pip", "compile", "--quiet", *options, *files, *session.posargs)


@nox.session(python=False)
def clean(session: nox.Session) -> None:
    """Remove reports, caches and build output from the checkout."""
    for name in (
        "proof",
        "build-out",
        "scan-out",
        "bench-out",
        "faults-out",
        "fuzz-out",
        "release-out",
        "rescan-out",
        ".nox",
        ".pytest_cache",
        ".mypy_cache",
    ):
        shutil.rmtree(name, ignore_errors=True)
    session.log("kept: %s", os.environ.get("XDG_CACHE_HOME", "the cache directory"))
