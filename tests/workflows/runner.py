"""Runs the jobs of a workflow in order, each step as GitHub's runner would, read from the YAML."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .actions import ActionError, Place, perform
from .expressions import STATUS_FUNCTIONS, Expressions, UnsupportedError, as_text, truthy

SUCCESS, FAILURE, SKIPPED = "success", "failure", "skipped"
STEP_SECONDS = 3600
IDENTITY = {
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request-token-of-the-job",
    "ACTIONS_ID_TOKEN_REQUEST_URL": "https://example.invalid/identity",
}
"""In the environment of every step of a job with `id-token: write`, as on GitHub."""
_KEYS = {
    "workflow": {"name", "on", "permissions", "concurrency", "defaults", "env", "jobs"},
    "job": {
        *(
            "name",
            "needs",
            "if",
            "strategy",
            "runs-on",
            "timeout-minutes",
            "permissions",
            "concurrency",
            "environment",
        ),
        *("env", "steps"),
    },
    "step": {"name", "uses", "with", "run", "env", "if", "continue-on-error"},
}
_MULTILINE = re.compile(r"^(\w+)<<(\S+)\n(.*?)\n\2$", re.MULTILINE | re.DOTALL)
_SINGLE = re.compile(r"^(\w+)=(.*)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Event:
    """What starts a workflow."""

    name: str  # "release", "workflow_dispatch", "pull_request"
    payload: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    ref: str = "refs/heads/main"
    repository: str = "owner/project"
    token: str = "token-of-the-job"

    @property
    def ref_name(self) -> str:
        """The branch or tag without the prefix."""
        return self.ref.split("/", 2)[2]


@dataclass(kw_only=True)
class StepRun:
    """How one step went."""

    job: str  # with its matrix: "build (amd64)"
    name: str
    status: str
    script: str = ""  # of a run step
    environ: Mapping[str, str] = field(default_factory=dict)
    output: str = ""


@dataclass(kw_only=True)
class WorkflowRun:
    """How a workflow went."""

    steps: list[StepRun] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)  # of each job
    runners: dict[str, str] = field(default_factory=dict)  # job with its matrix: runs-on
    summary: str = ""
    artifacts: Path = field(default_factory=Path)
    code_scanning: Path = field(default_factory=Path)

    def explain(self) -> str:
        """Every step with its outcome and what it printed."""
        return "\n".join(f"{s.job}: {s.name}: {s.status}\n{s.output}" for s in self.steps)


class Runner:
    """Runs one workflow file.

    `machine` is the environment that a step finds (PATH, HOME, …), as GitHub's image would set it;
    nothing of this process's own environment gets through. `root` is an empty directory.
    """

    def __init__(self, path: Path, event: Event, root: Path, machine: Mapping[str, str]) -> None:
        self._workflow = load(path)
        self._event = event
        self._root = root
        self._machine = dict(machine)
        self.run_so_far = WorkflowRun(
            artifacts=root / "artifacts", code_scanning=root / "code-scanning"
        )

    def run(self) -> WorkflowRun:
        """Run every job after those that it needs."""
        jobs = self._workflow["jobs"]
        results = self.run_so_far.results
        while waiting := [name for name in jobs if name not in results]:
            ready = [n for n in waiting if set(_needs(jobs[n])) <= set(results)]
            if not ready:
                raise UnsupportedError(f"{waiting} need each other")
            results[ready[0]] = self._job(ready[0], jobs[ready[0]])
        return self.run_so_far

    def _job(self, name: str, job: Mapping[str, Any]) -> str:
        _only(job, "job")
        needed = {n: {"result": self.run_so_far.results[n]} for n in _needs(job)}
        good = all(need["result"] == SUCCESS for need in needed.values())
        expressions = self._expressions(needs=needed)
        if not _wanted(job.get("if", ""), expressions, good=good):
            return SKIPPED
        outcomes = []
        for entry in _matrix(job):
            title = f"{name} ({entry['arch']})" if entry else name
            filled = self._expressions(needs=needed, matrix=entry)
            self.run_so_far.runners[title] = filled.fill(job["runs-on"])
            outcomes.append(self._steps(title, job, needed, entry))
        return FAILURE if FAILURE in outcomes else SUCCESS

    def _steps(
        self,
        title: str,
        job: Mapping[str, Any],
        needs: Mapping[str, Any],
        matrix: Mapping[str, str],
    ) -> str:
        home = self._root / re.sub(r"\W+", "-", title)
        workspace, files = home / "workspace", home / "files"
        for directory in (workspace, files, home / "temp", self.run_so_far.artifacts):
            directory.mkdir(parents=True, exist_ok=True)
        expressions = self._expressions(needs=needs, matrix=matrix, workspace=workspace)
        level = [self._workflow.get("env", {}), job.get("env", {})]
        environ = {k: expressions.fill(v) for part in level for k, v in part.items()}
        if job.get("permissions", {}).get("id-token") == "write":
            environ |= IDENTITY
        status = SUCCESS
        for number, step in enumerate(job["steps"]):
            _only(step, "step")
            if not _wanted(step.get("if", ""), expressions, good=status == SUCCESS):
                self.run_so_far.steps.append(StepRun(job=title, name=_title(step), status=SKIPPED))
                continue
            given = environ | {k: expressions.fill(v) for k, v in step.get("env", {}).items()}
            made = self._step(step, expressions, given, workspace, files / str(number))
            made.job = title
            self.run_so_far.steps.append(made)
            environ |= _written(files / str(number) / "GITHUB_ENV")
            summary = files / str(number) / "GITHUB_STEP_SUMMARY"
            self.run_so_far.summary += summary.read_text(encoding="utf-8")
            if made.status == FAILURE and not step.get("continue-on-error", False):
                status = FAILURE
        return status

    def _step(
        self,
        step: Mapping[str, Any],
        expressions: Expressions,
        environ: Mapping[str, str],
        workspace: Path,
        files: Path,
    ) -> StepRun:
        files.mkdir()
        names = ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY")
        for name in names:
            (files / name).touch()
        if "uses" in step:
            return self._action(step, expressions, workspace)
        script = expressions.fill(step["run"])
        (files / "step.sh").write_text(script, encoding="utf-8")
        given = {
            **self._machine,
            **self._provided(workspace),
            **{name: str(files / name) for name in names},
            **environ,
        }
        # https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idstepsshell
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(files / "step.sh")],
            cwd=workspace,
            env=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=STEP_SECONDS,
            check=False,
        )
        return StepRun(
            job="",
            name=_title(step),
            status=FAILURE if done.returncode else SUCCESS,
            script=script,
            environ=given,
            output=done.stdout,
        )

    def _action(
        self, step: Mapping[str, Any], expressions: Expressions, workspace: Path
    ) -> StepRun:
        place = Place(
            workspace=workspace,
            artifacts=self.run_so_far.artifacts,
            code_scanning=self.run_so_far.code_scanning,
        )
        options = {key: expressions.fill(value) for key, value in step.get("with", {}).items()}
        try:
            words, status = perform(step["uses"], options, place), SUCCESS
        except ActionError as error:
            words, status = str(error), FAILURE
        return StepRun(job="", name=_title(step), status=status, output=f"local: {words}\n")

    def _provided(self, workspace: Path) -> dict[str, str]:
        """What the runner sets by itself; the token is not among it."""
        return {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": self._event.repository.partition("/")[0],
            "GITHUB_EVENT_NAME": self._event.name,
            "GITHUB_REPOSITORY": self._event.repository,
            "GITHUB_WORKSPACE": str(workspace),
            "RUNNER_OS": "Linux",
            "RUNNER_TEMP": str(workspace.parent / "temp"),
        }

    def _expressions(
        self,
        *,
        needs: Mapping[str, Any],
        matrix: Mapping[str, str] | None = None,
        workspace: Path = Path("/nonexistent"),
    ) -> Expressions:
        event = self._event
        github = {
            "event": {"repository": {"default_branch": "main"}, **event.payload},
            "event_name": event.name,
            "ref": event.ref,
            "ref_name": event.ref_name,
            "ref_type": "tag" if event.ref.startswith("refs/tags/") else "branch",
            "repository": event.repository,
            "repository_owner": event.repository.partition("/")[0],
            "token": event.token,
        }
        contexts = {
            "github": github,
            "inputs": event.inputs,
            "needs": needs,
            "matrix": matrix or {},
        }
        functions: dict[str, Callable[..., Any]] = {
            "always": lambda: True,
            "cancelled": lambda: False,
            "join": lambda items, glue: glue.join(as_text(item) for item in items),
            "hashFiles": lambda pattern: "some" if any(workspace.glob(pattern)) else "",
        }
        return Expressions(contexts, functions)


def load(path: Path) -> dict[str, Any]:
    """The workflow in `path`; YAML 1.1 reads the key `on` as true."""
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    workflow = {"on" if key is True else key: value for key, value in raw.items()}
    _only(workflow, "workflow")
    if workflow.get("defaults", {"run": {"shell": "bash"}}) != {"run": {"shell": "bash"}}:
        raise UnsupportedError("defaults other than bash")
    return workflow


def _only(part: Mapping[str, Any], kind: str) -> None:
    if unknown := set(part) - _KEYS[kind]:
        raise UnsupportedError(f"{', '.join(sorted(unknown))} in a {kind}")


def _needs(job: Mapping[str, Any]) -> list[str]:
    needs = job.get("needs", [])
    return [needs] if isinstance(needs, str) else list(needs)


def _matrix(job: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    strategy = job.get("strategy", {})
    matrix = strategy.get("matrix", {"include": [{}]})
    if set(matrix) != {"include"}:
        raise UnsupportedError("a matrix with more than include")
    yield from itertools.chain(matrix["include"])


def _wanted(condition: object, expressions: Expressions, *, good: bool) -> bool:
    """Whether a job or step runs: without a word on the status, only after success."""
    text = as_text(condition).strip().removeprefix("${{").removesuffix("}}").strip()
    if not text:
        return good
    wanted = truthy(expressions.value(text))
    return wanted and (good or any(name in text for name in STATUS_FUNCTIONS))


def _title(step: Mapping[str, Any]) -> str:
    return str(step.get("name") or step["uses"].partition("@")[0])


def _written(path: Path) -> dict[str, str]:
    """The variables in a file such as GITHUB_ENV."""
    text = path.read_text(encoding="utf-8")
    several = {match[1]: match[3] for match in _MULTILINE.finditer(text)}
    single = {m[1]: m[2] for m in _SINGLE.finditer(_MULTILINE.sub("", text))}
    return several | single
