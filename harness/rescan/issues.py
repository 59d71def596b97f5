"""Keep one issue on GitHub per problem: open it, update it, close it when it is fixed.

https://docs.github.com/rest/issues/issues. An issue is recognized by a mark in its body, so that a
person may change its title and labels.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.github import GitHub
from harness.rescan.problems import Problem
from harness.rescan.render import render_issue

LABEL = "image-scan"
FIXED = "The newest image no longer has it."
_MARK = re.compile(r"<!-- image-scan:([0-9a-f]{32}) -->")
_LONGEST_TITLE = 200


@dataclass(frozen=True, kw_only=True)
class Change:
    """One issue, and what happened to it."""

    title: str
    what: str  # "opened", "updated", "reopened", "closed", "unchanged", …
    number: int = 0


def mark(problem: Problem) -> str:
    """The mark of the problem's issue: the same in every scan, whatever the images are."""
    key = f"{problem.id}\0{problem.package}".encode()
    return f"<!-- image-scan:{hashlib.sha256(key).hexdigest()[:32]} -->"


def title(problem: Problem) -> str:
    """The title of the problem's issue."""
    where = f" in {problem.package}" if problem.package else ""
    text = f"{problem.id} ({problem.severity.value.lower()}){where}"
    return text[:_LONGEST_TITLE]


def sync(
    github: GitHub, problems: Sequence[Problem], rebuild: str, *, complete: bool
) -> list[Change]:
    """Make the issues say what `problems` say; return what was done.

    Unless the scan was `complete`, no issue is closed: what was not scanned may still have it.
    """
    issues = _issues(github)
    wanted = {mark(problem): problem for problem in problems if problem.open}
    changes = [
        _shown(github, issues.get(key, []), problem, f"{render_issue(problem, rebuild)}\n{key}\n")
        for key, problem in wanted.items()
    ]
    gone = [issue for key, found in issues.items() if key not in wanted for issue in found]
    if complete:
        changes += [_closed(github, issue) for issue in gone if issue["state"] == "open"]
    return changes


def _issues(github: GitHub) -> dict[str, list[dict[str, Any]]]:
    """The scan's issues by mark, open ones first, then the newest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for issue in github.everything("issues", state="all", labels=LABEL):
        match = _MARK.search(str(issue.get("body") or ""))
        if match and "pull_request" not in issue:
            found.setdefault(match[0], []).append(issue)
    for same in found.values():
        same.sort(key=lambda issue: (issue["state"] != "open", -int(issue["number"])))
    return found


def _shown(github: GitHub, found: Sequence[dict[str, Any]], problem: Problem, body: str) -> Change:
    """Open, reopen or update the issue of `problem`."""
    if not found:
        made = github.create("issues", title=title(problem), body=body, labels=[LABEL])
        return Change(title=title(problem), what="opened", number=int(made["number"]))
    issue = found[0]
    name, number = str(issue["title"]), int(issue["number"])
    if issue["state"] == "closed":
        if issue.get("state_reason") == "not_planned":
            return Change(title=name, what="left closed: not planned", number=number)
        github.change(f"issues/{number}", state="open", body=body)
        return Change(title=name, what="reopened", number=number)
    for twin in found[1:]:  # an earlier run may have opened it a second time
        if twin["state"] == "open":
            github.change(f"issues/{twin['number']}", state="closed", state_reason="not_planned")
    if str(issue.get("body") or "").split() == body.split():
        return Change(title=name, what="unchanged", number=number)
    github.change(f"issues/{number}", body=body)
    return Change(title=name, what="updated", number=number)


def _closed(github: GitHub, issue: dict[str, Any]) -> Change:
    number = int(issue["number"])
    github.create(f"issues/{number}/comments", body=FIXED)
    github.change(f"issues/{number}", state="closed", state_reason="completed")
    return Change(title=str(issue["title"]), what="closed", number=number)
