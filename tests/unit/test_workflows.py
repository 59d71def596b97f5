"""The workflows: their rules, and their steps executed with a fake `nox` that records calls."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.core.regions import REPOSITORY
from harness.core.stages import Architecture
from harness.scan.support import SUPPORTED
from tests.workflows.actions import _ACTIONS, ActionError
from tests.workflows.expressions import Expressions, UnsupportedError
from tests.workflows.runner import (
    FAILURE,
    IDENTITY,
    SKIPPED,
    SUCCESS,
    Event,
    Runner,
    WorkflowRun,
    load,
)

WORKFLOWS = REPOSITORY / ".github" / "workflows"
ALL = sorted(WORKFLOWS.glob("*.yml"))
PUBLISH, CI = WORKFLOWS / "docker-publish.yml", WORKFLOWS / "ci.yml"
NEWEST = WORKFLOWS / "newest-release.yml"
RESCAN = WORKFLOWS / "rescan.yml"
EACH = pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
TOKEN = "token-of-the-test"
PIN = re.compile(r"uses: (\S+)@(\S+)(?: # (v\d+\.\d+\.\d+))?$", re.MULTILINE)

FIND_NEWEST = """\
version=$(gh release view --repo rshade/finfocus-plugin-aws-public --json tagName --jq .tagName)
echo "VERSION=$version" >>"$GITHUB_ENV"
"""

WRITES = {
    "docker-publish": {
        ("build", "security-events"),
        ("publish", "attestations"),
        ("publish", "id-token"),
        ("publish", "packages"),
        ("notes", "contents"),
    },
    "rescan": {("rescan", "issues"), ("rescan", "security-events")},
    "scorecard": {("scorecard", "security-events"), ("scorecard", "id-token")},
}
INSTALL_WITHOUT_IDENTITY = (
    "env -u ACTIONS_ID_TOKEN_REQUEST_TOKEN -u ACTIONS_ID_TOKEN_REQUEST_URL"
    " python -m pip install --require-hashes --no-deps --only-binary :all:"
    " -r requirements/release.txt --no-index --find-links tools"
)
INSTALL_EMULATOR = "sudo apt-get update && sudo apt-get install --yes qemu-user-static"
REFUSE_BRANCH = """\
echo "::error::cannot release from this branch: run the workflow from the default branch or a tag"
exit 1
"""

# Records arguments and environment, and creates the files of the real sessions.
NOX = """\
#!{python}
import json, os, pathlib, sys
session = sys.argv[2]
arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
with open({log!r}, "a") as log:
    note = dict(argv=sys.argv[1:], environ=dict(os.environ), cwd=os.getcwd())
    note["sealed"] = sorted(str(p) for p in pathlib.Path("sealed").glob("*/seal.json"))
    print(json.dumps(note), file=log)
if session == "release" and "--export" in arguments:
    arch = arguments[arguments.index("--arch") + 1]
    scan = pathlib.Path("release-out") / arch / "scan"
    scan.mkdir(parents=True)
    (scan / "trivy.sarif").write_text('{{"runs": [{{}}]}}')
if session == "rescan":
    pathlib.Path("rescan-out").mkdir()
    pathlib.Path("rescan-out/rescan.sarif").write_text('{{"runs": [{{}}]}}')
with open(os.environ["GITHUB_STEP_SUMMARY"], "a") as summary:
    print("summary of", session, *arguments, file=summary)
words = {fails!r}
if words and all(word in sys.argv for word in words):
    sys.exit("this session fails")
if session == "release" and "--export" in arguments:
    sealed = pathlib.Path(arguments[arguments.index("--export") + 1])
    sealed.mkdir(parents=True)
    (sealed / "seal.json").write_text(arch)
    (sealed / "sbom.cdx.json").write_text("{{}}")
if session == "release" and "--from" in arguments:
    out = pathlib.Path("release-out")
    out.mkdir()
    (out / "published.json").write_text("{{}}")
    for name in ("subjects", "subjects-amd64", "subjects-arm64"):
        (out / (name + ".txt")).write_text("a" * 64 + "  ghcr.io/owner/image\\n")
"""

# pip needs an index; what it would install is not tested here.
PYTHON = """\
#!/bin/sh
set -eu
{{ echo "> $*"; env; }} >>{log}
case "$*" in
*"download "*"--dest tools") mkdir tools; echo wheel >tools/nox.whl ;;
*"--find-links tools") test -e tools/nox.whl ;;
esac
"""
LOCKED = "-m pip {} --require-hashes --no-deps --only-binary :all: -r requirements/release.txt"


class Machine:
    """A runner machine with a fake nox, and its records."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "nox.log"
        self.pip_log = root / "pip.log"
        self.newest = "v0.1.8"  # GitHub's newest release; empty if the request fails

    def run(self, path: Path, event: Event, *, fails: tuple[str, ...] = ()) -> WorkflowRun:
        tools = self.root / "tools"
        tools.mkdir(exist_ok=True)
        stub = NOX.format(python=sys.executable, log=str(self.log), fails=list(fails))
        python = PYTHON.format(log=self.pip_log)
        gh = f'#!/bin/sh\n[ "$GH_TOKEN" = {TOKEN} ] && echo {self.newest}\n'
        for name, text in (("nox", stub), ("python", python), ("gh", gh)):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        machine = {"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(self.root)}
        return Runner(path, event, self.root / "run", machine).run()

    def notes(self) -> list[dict[str, Any]]:
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def installations(self) -> list[tuple[str, list[str]]]:
        """Arguments of each call of pip, and the variables in its environment."""
        calls = self.pip_log.read_text().split("> ")[1:]
        return [(call.splitlines()[0], call.splitlines()[1:]) for call in calls]

    def commands(self) -> list[str]:
        return [" ".join(note["argv"]) for note in self.notes()]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def released(version: str = "v0.1.5") -> Event:
    return Event(name="release", payload={"release": {"tag_name": version}}, token=TOKEN)


def by_hand(*, ref: str = "refs/heads/main", **inputs: object) -> Event:
    given = {"version": "v0.1.5", "dry-run": False, "latest": "by version"} | inputs
    return Event(name="workflow_dispatch", inputs=given, token=TOKEN, ref=ref)


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = load(path)["jobs"]
    return found


def run_steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(path).values() for step in job["steps"] if "run" in step]


def test_fr_010_the_release_is_built_when_it_is_published_and_by_hand() -> None:
    """FR-010 (publish each release): both triggers, and the inputs of the manual one."""
    triggers = load(PUBLISH)["on"]
    assert triggers["release"] == {"types": ["published"]}
    assert set(triggers["workflow_dispatch"]["inputs"]) == {
        "version",
        "without",
        "revision",
        "dry-run",
        "latest",
    }


@EACH
def test_permissions_are_the_least(path: Path) -> None:
    """No permissions at the top; every job names its own, and each write is in one job."""
    assert load(path)["permissions"] == {}
    writes = {
        (job, scope)
        for job, described in jobs(path).items()
        for scope, right in described["permissions"].items()
        if right == "write"
    }
    assert writes == WRITES.get(path.stem, set())


@EACH
def test_actions_are_pinned_by_commit(path: Path) -> None:
    """Every action has a full commit and its version, the same in all workflows."""
    text = path.read_text(encoding="utf-8")
    pins = PIN.findall(text)
    assert len(pins) == text.count("uses:")
    assert all(re.fullmatch(r"[0-9a-f]{40}", commit) and version for _, commit, version in pins)
    everywhere = {pin for p in ALL for pin in PIN.findall(p.read_text(encoding="utf-8"))}
    assert len({name for name, _, _ in everywhere}) == len(everywhere)


@EACH
def test_no_expression_is_part_of_a_script(path: Path) -> None:
    """Untrusted input reaches a script only through its environment."""
    assert [step["name"] for step in run_steps(path) if "${{" in step["run"]] == []


@EACH
def test_ci_calls_nox_and_nothing_else(path: Path) -> None:
    """Scripts install nox or QEMU, call a session, look for a release, or compare results."""
    sessions = re.findall(
        r"^@nox\.session.*\ndef (\w+)\(", (REPOSITORY / "noxfile.py").read_text(), re.MULTILINE
    )
    for step in run_steps(path):
        called = re.match(r"nox -s (\w+)( |$)", step["run"])
        if called:
            assert called[1] in sessions
        else:
            assert step["run"] in {
                "python -m pip install nox",
                f"python {LOCKED.format('install')}",
                f"python {LOCKED.format('download')} --dest tools",
                INSTALL_WITHOUT_IDENTITY,
                REFUSE_BRANCH,
                'test "$RESULTS" = "success success success success success"',
                FIND_NEWEST,
                INSTALL_EMULATOR,
            }


def test_one_publication_of_a_version_at_a_time() -> None:
    """Releases are grouped by version, and a push is never cancelled."""
    concurrency = load(PUBLISH)["concurrency"]
    assert "inputs.version || github.event.release.tag_name" in concurrency["group"]
    assert concurrency["cancel-in-progress"] is False


def test_one_publication_of_any_version_moves_tags_at_a_time() -> None:
    """The publishing job has one group for all versions, and is never cut off."""
    concurrency = jobs(PUBLISH)["publish"]["concurrency"]
    assert "${{" not in concurrency["group"]
    assert concurrency["cancel-in-progress"] is False


@EACH
def test_every_job_has_an_end(path: Path) -> None:
    """Every job has a timeout below GitHub's six hours."""
    assert all(job["timeout-minutes"] <= 90 for job in jobs(path).values())


def test_fr_010_release_runs_its_steps_in_order(machine: Machine) -> None:
    """FR-010: wait, then one image per architecture on its own runner, then publish the seals."""
    run = machine.run(PUBLISH, released())
    assert set(run.results) == {"complete", "tools", "build", "publish", "notes"}
    assert set(run.results.values()) == {SUCCESS}, run.explain()
    assert machine.commands() == [
        "-s wait_release -- v0.1.5 --timeout 1800",
        "-s release -- v0.1.5 --arch amd64 --export sealed/amd64 --stand-ins never",
        "-s release -- v0.1.5 --arch arm64 --export sealed/arm64 --stand-ins never",
        "-s release --no-venv --no-install -- v0.1.5"
        " --from sealed/sealed-amd64 --from sealed/sealed-arm64"
        " --repository owner/finfocus-plugin-aws-public",
        "-s release_notes --no-venv --no-install -- release-out --github owner/project",
    ]
    assert run.runners["build (amd64)"] == "ubuntu-24.04"
    assert run.runners["build (arm64)"] == "ubuntu-24.04-arm"


def test_every_architecture_is_built_and_published() -> None:
    """FR-010: the matrix has exactly the architectures of the harness, and all are published."""
    entries = jobs(PUBLISH)["build"]["strategy"]["matrix"]["include"]
    assert {entry["arch"] for entry in entries} == set(Architecture)
    script = next(step["run"] for step in run_steps(PUBLISH) if "--from" in step["run"])
    assert re.findall(r"--from sealed/sealed-(\w+)", script) == list(Architecture)


def test_what_is_published_is_what_was_sealed(machine: Machine) -> None:
    """Each job has its own machine; only the sealed directories are passed on."""
    run = machine.run(PUBLISH, released())
    notes = machine.notes()
    assert len({note["cwd"] for note in notes}) == 5
    assert [note["sealed"] for note in notes] == [
        *([], [], []),
        ["sealed/sealed-amd64/seal.json", "sealed/sealed-arm64/seal.json"],
        [],
    ]
    for architecture in Architecture:
        seal = Path(notes[3]["cwd"]) / f"sealed/sealed-{architecture}/seal.json"
        assert seal.read_text() == architecture
        assert (run.artifacts / f"reports-{architecture}/scan/trivy.sarif").exists()
        assert (run.code_scanning / f"trivy-{architecture}.sarif").exists()


def test_cosign_is_installed_where_the_identity_is() -> None:
    """The job that may ask for an identity signs; it has cosign before it publishes."""
    for name, job in jobs(PUBLISH).items():
        uses = [step.get("uses", "").partition("@")[0] for step in job["steps"]]
        assert ("sigstore/cosign-installer" in uses) == ("id-token" in job["permissions"]), name
    names = [s.get("uses") or s["run"] for s in jobs(PUBLISH)["publish"]["steps"]]
    (cosign,) = [n for n, s in enumerate(names) if "cosign-installer" in s]
    (publication,) = [n for n, s in enumerate(names) if "--from" in s]
    assert cosign < publication


def test_provenance_and_sboms_are_attested_after_the_publication(machine: Machine) -> None:
    """At GitHub: index and manifests have provenance, and each architecture's SBOM its subjects."""
    run = machine.run(PUBLISH, released())
    assert run.results["publish"] == SUCCESS, run.explain()
    steps = jobs(PUBLISH)["publish"]["steps"]
    attests = [step for step in steps if "actions/attest@" in step.get("uses", "")]
    assert {step["if"] for step in attests} == {"${{ !inputs.dry-run }}"}
    attested = [step["with"] for step in attests]
    assert attested == [
        {"subject-checksums": "release-out/subjects.txt"},
        *(
            {
                "subject-checksums": f"release-out/subjects-{architecture}.txt",
                "sbom-path": f"sealed/sealed-{architecture}/sbom.cdx.json",
            }
            for architecture in Architecture
        ),
    ]
    assert run.explain().count("the subjects are") == 3


def test_owner_with_capitals_is_published_in_lower_case(machine: Machine) -> None:
    """A registry's repository is in lower case, whatever the owner's name is."""
    event = Event(
        name="release",
        payload={"release": {"tag_name": "v0.1.5"}},
        repository="OwnEr/project",
        token=TOKEN,
    )
    run = machine.run(PUBLISH, event)
    assert run.results["publish"] == SUCCESS, run.explain()
    assert machine.commands()[-2].endswith("--repository owner/finfocus-plugin-aws-public")


def test_code_scanning_that_is_not_permitted_does_not_stop_the_release(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate has decided by then; the findings are among the reports as well."""

    def refuse(*_: object) -> str:
        raise ActionError("Resource not accessible by integration")

    monkeypatch.setitem(_ACTIONS, "github/codeql-action/upload-sarif", refuse)
    run = machine.run(PUBLISH, released())
    assert run.results["publish"] == SUCCESS, run.explain()


def test_artifacts_of_a_rerun_replace_the_earlier_ones() -> None:
    """Names are the same in every attempt: each upload overwrites."""
    uploads = [
        step["with"]
        for job in jobs(PUBLISH).values()
        for step in job["steps"]
        if "upload-artifact" in step.get("uses", "")
    ]
    assert len(uploads) == 4
    assert all(options["overwrite"] is True for options in uploads)


def test_only_publication_and_notes_have_the_token(machine: Machine) -> None:
    """The token is in the environment of two steps, and in no argument or output."""
    run = machine.run(PUBLISH, released())
    holders = [n["argv"] for n in machine.notes() if TOKEN in n["environ"].values()]
    assert [argv[6:8] for argv in holders] == [
        ["--from", "sealed/sealed-amd64"],
        ["--github", "owner/project"],
    ]
    assert TOKEN not in " ".join(machine.commands())
    assert TOKEN not in run.explain() + run.summary


def test_tools_of_a_release_are_locked_and_installed_without_a_secret(machine: Machine) -> None:
    """Every package has a known digest; no installation can reach the token or the identity."""
    run = machine.run(PUBLISH, released())
    assert set(run.results.values()) == {SUCCESS}, run.explain()
    made = machine.installations()
    install, download = LOCKED.format("install"), f"{LOCKED.format('download')} --dest tools"
    assert [command for command, _ in made] == [
        *(install, download, install, install),
        *(f"{install} --no-index --find-links tools", install),
    ]
    for _, environ in made:
        text = "\n".join(environ)
        assert TOKEN not in text
        assert "ACTIONS_ID_TOKEN" not in text
    publication = machine.notes()[-2]["environ"]
    assert set(IDENTITY) <= set(publication)


def test_publication_can_require_an_approval() -> None:
    """The publishing job, and only that, is in the environment `release`."""
    found = {name: job.get("environment") for name, job in jobs(PUBLISH).items()}
    assert {name for name, environment in found.items() if environment} == {"publish"}
    assert found["publish"] == "release"


@pytest.mark.parametrize(
    ("ref", "result"),
    [
        pytest.param("refs/heads/main", SUCCESS, id="default-branch"),
        pytest.param("refs/tags/v1", SUCCESS, id="tag"),
        pytest.param("refs/heads/feature", FAILURE, id="other-branch"),
        pytest.param("refs/heads/v1", FAILURE, id="branch-named-like-a-tag"),
    ],
)
def test_manual_release_comes_from_the_default_branch_or_a_tag(
    machine: Machine, ref: str, result: str
) -> None:
    """The signature's identity names the ref; a branch that nobody reviewed releases nothing."""
    run = machine.run(PUBLISH, by_hand(ref=ref))
    assert run.results["complete"] == result, run.explain()
    if result == FAILURE:
        assert machine.notes() == []
        assert "run the workflow from the default branch or a tag" in run.explain()


def test_summary_has_what_every_session_says(machine: Machine) -> None:
    """The proofs and the release page are in the run's summary."""
    run = machine.run(PUBLISH, released())
    assert re.findall(r"summary of \w+ v0.1.5 --(\w+)", run.summary) == [
        *("timeout", "arch", "arch", "from")
    ]
    assert "summary of release_notes" in run.summary


@pytest.mark.parametrize(
    ("inputs", "options"),
    [
        pytest.param({}, [], id="defaults"),
        pytest.param({"dry-run": True}, ["--dry-run"], id="dry-run"),
        pytest.param({"latest": "always"}, ["--latest"], id="FR-011-latest-always"),
        pytest.param({"latest": "never"}, ["--no-latest"], id="FR-011-latest-never"),
        pytest.param({"latest": "never", "dry-run": True}, ["--no-latest", "--dry-run"], id="both"),
        pytest.param({"without": "us-gov-west-1"}, [], id="FR-018-without"),
        pytest.param({"revision": "2"}, ["--revision", "2"], id="FR-011-revision"),
    ],
)
def test_inputs_become_options(
    machine: Machine, inputs: dict[str, Any], options: list[str]
) -> None:
    """FR-010, FR-011 (tags): manual inputs, and nothing else, become publication options."""
    run = machine.run(PUBLISH, by_hand(**inputs))
    assert run.results["publish"] == SUCCESS, run.explain()
    publication = next(note for note in machine.notes() if "--from" in note["argv"])
    assert publication["argv"][12:] == options
    assert run.results["notes"] == (SKIPPED if inputs.get("dry-run") else SUCCESS)


@pytest.mark.parametrize(
    "version",
    [
        pytest.param('v1"; touch pwned; "', id="quotes"),
        pytest.param("$(touch pwned)", id="substitution"),
        pytest.param("v1 --registry evil", id="spaces"),
    ],
)
def test_version_is_one_argument_whatever_it_says(machine: Machine, version: str) -> None:
    """A tag that contains shell code executes nothing and stays one argument."""
    machine.run(PUBLISH, released(version))
    given = [note["argv"][note["argv"].index("--") + 1] for note in machine.notes()]
    assert given == [*([version] * 4), "release-out"]
    assert not list(machine.root.rglob("pwned"))


def test_incomplete_release_builds_nothing(machine: Machine) -> None:
    """If the assets do not appear, no image is built."""
    run = machine.run(PUBLISH, released(), fails=("wait_release",))
    assert run.results.pop("complete") == FAILURE
    assert set(run.results.values()) == {SKIPPED}
    assert len(machine.notes()) == 1


def test_nothing_is_published_without_all_architectures(machine: Machine) -> None:
    """A failing architecture keeps its reports and findings, and stops the publication."""
    run = machine.run(PUBLISH, released(), fails=("--arch", "arm64"))
    assert (run.results["build"], run.results["publish"]) == (FAILURE, SKIPPED)
    assert not any("--from" in command for command in machine.commands())
    kept = {path.name for path in run.artifacts.iterdir()}
    assert kept == {"tools", "sealed-amd64", "reports-amd64", "reports-arm64"}
    assert (run.code_scanning / "trivy-arm64.sarif").exists()


def test_changes_are_checked_by_these_sessions(machine: Machine) -> None:
    """Lint, unit, e2e on both architectures, the next base, kind; then the one required check."""
    run = machine.run(CI, Event(name="pull_request"))
    assert set(run.results.values()) == {SUCCESS}, run.explain()
    one = ["-s tests -- tests/e2e", "-s e2e"]
    newest = f"-s e2e -- --base alpine:{SUPPORTED['alpine']}"
    smoke = "-s smoke -- --cluster kind"
    assert machine.commands() == ["-s lint", "-s tests -- tests/unit", *one, *one, newest, smoke]


def test_fr_018_regions_are_left_out_of_a_release_by_hand_only(machine: Machine) -> None:
    """FR-018: manually named regions reach the wait and each build, as one argument."""
    machine.run(PUBLISH, by_hand(without="us-gov-west-1, us-gov-east-1"))
    waits, *builds, publication, _ = [note["argv"] for note in machine.notes()]
    for arguments in (waits, *builds):
        assert arguments[-2:] == ["--without", "us-gov-west-1, us-gov-east-1"]
    assert "--without" not in publication


def test_newest_release_is_proven_every_day(machine: Machine) -> None:
    """Each architecture proves the newest real release, without regions it does not have."""
    assert set(load(NEWEST)["on"]) == {"schedule", "workflow_dispatch"}
    run = machine.run(NEWEST, Event(name="schedule", token=TOKEN))
    assert set(run.results.values()) == {SUCCESS}, run.explain()
    assert machine.commands() == ["-s e2e -- v0.1.8 --without missing"] * 2
    assert not any(TOKEN in note["environ"].values() for note in machine.notes())


def test_published_images_are_scanned_again_every_day(machine: Machine) -> None:
    """One session scans and keeps the issues; its findings reach code scanning."""
    assert set(load(RESCAN)["on"]) == {"schedule", "workflow_dispatch"}
    run = machine.run(RESCAN, Event(name="schedule", token=TOKEN, repository="OwnEr/project"))
    assert set(run.results.values()) == {SUCCESS}, run.explain()
    (note,) = machine.notes()
    assert " ".join(note["argv"]) == (
        "-s rescan --no-venv --no-install -- --repository owner/finfocus-plugin-aws-public"
        " --issues OwnEr/project"
    )
    assert TOKEN in note["environ"].values()
    assert not any(TOKEN in "".join(environ) for _, environ in machine.installations())
    assert (run.code_scanning / "rescan.sarif").exists()


def test_rescan_that_failed_uploads_no_findings(machine: Machine) -> None:
    """Code scanning would close what an incomplete upload lacks; the reports are kept."""
    run = machine.run(RESCAN, Event(name="schedule", token=TOKEN), fails=("rescan",))
    assert set(run.results.values()) == {FAILURE}
    assert not run.code_scanning.exists()
    assert (run.artifacts / "rescan").exists()


def test_rescan_is_about_the_default_branch(machine: Machine) -> None:
    """A manual run from another branch does nothing."""
    event = Event(name="workflow_dispatch", ref="refs/heads/feature", token=TOKEN)
    assert machine.run(RESCAN, event).results == {"rescan": SKIPPED}
    assert machine.notes() == []


def test_newest_release_that_cannot_be_found_fails_the_run(machine: Machine) -> None:
    """If GitHub does not respond, nothing else is proven instead."""
    machine.newest = "; exit 1"
    run = machine.run(NEWEST, Event(name="schedule", token=TOKEN))
    assert set(run.results.values()) == {FAILURE}
    assert machine.notes() == []


@pytest.mark.parametrize("session", ["lint", "tests/unit", "tests/e2e", "--base", "smoke"])
def test_required_check_fails_with_any_other(machine: Machine, session: str) -> None:
    """The check that protects the branch fails if any session fails."""
    run = machine.run(CI, Event(name="pull_request"), fails=(session,))
    assert run.results["required-checks-pass"] == FAILURE


def test_required_check_needs_every_other_job() -> None:
    """A job added to ci.yml is also required."""
    described = jobs(CI)
    assert set(described["required-checks-pass"]["needs"]) == set(described) - {
        "required-checks-pass"
    }


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        pytest.param("inputs.version || github.event.tag", "v1", id="or"),
        pytest.param("inputs.none || github.event.tag", "v2", id="nothing-is-false"),
        pytest.param("inputs.dry && '--dry' || ''", "", id="and-or"),
        pytest.param("inputs.version == 'v1' && 'yes' || 'no'", "yes", id="equal"),
        pytest.param("!(inputs.dry) && inputs.version != 'v2'", True, id="not"),
        pytest.param("'it''s'", "it's", id="quote"),
        pytest.param("join(needs.*.result, ' ')", "success failure", id="filter"),
    ],
)
def test_expressions(expression: str, value: object) -> None:
    """The expressions in the workflows evaluate as on GitHub."""
    assert evaluator().value(expression) == value


@pytest.mark.parametrize(
    "expression",
    ["fromJSON(inputs.version)", "secrets.KEY", "inputs.version >= 'v1'", "'open", "inputs.a b"],
)
def test_other_expressions_are_refused(expression: str) -> None:
    """An expression unknown to this evaluator is an error, never empty."""
    with pytest.raises(UnsupportedError):
        evaluator().value(expression)


def evaluator() -> Expressions:
    contexts = {
        "inputs": {"version": "v1", "dry": False},
        "github": {"event": {"tag": "v2"}},
        "needs": {"a": {"result": "success"}, "b": {"result": "failure"}},
    }
    return Expressions(contexts, {"join": lambda items, glue: glue.join(items)})


def test_environment_written_by_a_step_reaches_the_next(tmp_path: Path) -> None:
    """Both forms of GITHUB_ENV work; this process's environment is not passed on."""
    workflow = tmp_path / "workflow.yml"
    workflow.write_text(
        "name: t\non: push\njobs:\n  a:\n    runs-on: x\n    steps:\n"
        '    - {name: write, run: "echo ONE=1 >>$GITHUB_ENV;'
        " printf 'TWO<<E\\\\n2\\\\n2\\\\nE\\\\n' >>$GITHUB_ENV\"}\n"
        '    - {name: read, run: "echo $ONE $TWO; env"}\n'
    )
    os.environ["LEAKED"] = "yes"
    try:
        run = Runner(
            workflow, Event(name="push"), tmp_path / "run", {"PATH": os.environ["PATH"]}
        ).run()
    finally:
        del os.environ["LEAKED"]
    assert run.steps[1].output.startswith("1 2 2\n"), run.explain()
    assert "LEAKED" not in run.steps[1].output
