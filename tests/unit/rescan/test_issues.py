"""One issue per problem, kept up to date on a stand-in for GitHub's API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.core.errors import UsageError
from harness.github import GitHub, GitHubError
from harness.registry import Secret
from harness.rescan.issues import LABEL, mark, sync
from harness.rescan.problems import Problem

from .findings import finding, image, problem
from .stand_in_github import REPOSITORY, TOKEN, Fault, StandInGitHub, stand_in_github

REBUILD = "nox -s release -- v1.2.3 --revision 1"
TITLE = "CVE-1 (high) in haproxy"


@pytest.fixture
def github() -> Iterator[StandInGitHub]:
    """The stand-in, with pages of two issues."""
    with stand_in_github(page=2) as made:
        yield made


def client(github: StandInGitHub, token: str = TOKEN) -> GitHub:
    return GitHub(REPOSITORY, Secret(token), api=github.url, pause=0.001)


def run(github: StandInGitHub, *problems: Problem, complete: bool = True) -> list[str]:
    with client(github) as api:
        return [change.what for change in sync(api, problems, REBUILD, complete=complete)]


def test_new_finding_opens_one_issue(github: StandInGitHub) -> None:
    """The issue has title, label, remedy and mark; the next scan changes nothing."""
    assert run(github, problem()) == ["opened"]
    (issue,) = github.issues
    assert (issue["title"], issue["labels"]) == (TITLE, [{"name": LABEL}])
    assert REBUILD in issue["body"]
    assert issue["body"].endswith(f"{mark(problem())}\n")
    assert run(github, problem()) == ["unchanged"]
    assert github.changed() == [f"POST /repos/{REPOSITORY}/issues"]


def test_more_affected_images_update_the_issue(github: StandInGitHub) -> None:
    """The same problem in another image is the same issue with another table."""
    run(github, problem())
    assert run(github, problem(of=image("v1.2.4", "latest", digit="c"))) == ["updated"]
    (issue,) = github.issues
    assert "v1.2.4" in issue["body"]


def test_fixed_finding_closes_its_issue_with_a_comment(github: StandInGitHub) -> None:
    """Once the newest image no longer has it, the issue is closed as completed."""
    run(github, problem())
    assert run(github) == ["closed"]
    (issue,) = github.issues
    assert (issue["state"], issue["state_reason"]) == ("closed", "completed")
    assert len(github.comments[1]) == 1
    assert run(github) == []


def test_finding_of_an_older_image_only_closes_its_issue(github: StandInGitHub) -> None:
    """A revision that fixes it ends the issue, although the older image keeps it."""
    run(github, problem())
    assert run(github, problem(of=image("v1.2.3", newest=False))) == ["closed"]


def test_incomplete_scan_closes_nothing(github: StandInGitHub) -> None:
    """An image that was not scanned may still have the problem."""
    run(github, problem())
    assert run(github, complete=False) == []
    assert github.states() == {TITLE: "open"}


def test_finding_that_comes_back_reopens_its_issue(github: StandInGitHub) -> None:
    """There is one issue for it, whatever happened before."""
    run(github, problem())
    run(github)
    assert run(github, problem()) == ["reopened"]
    assert github.states() == {TITLE: "open"}
    assert len(github.issues) == 1


def test_accepted_finding_stays_closed(github: StandInGitHub) -> None:
    """Closed as "not planned" by a person, an issue is not opened again."""
    run(github, problem())
    github.issues[0].update(state="closed", state_reason="not_planned")
    assert run(github, problem()) == ["left closed: not planned"]
    assert github.states() == {TITLE: "closed"}


def test_title_and_label_of_a_person_stay(github: StandInGitHub) -> None:
    """The mark in the body decides, not the title."""
    run(github, problem())
    github.issues[0].update(title="haproxy again")
    assert run(github, problem()) == ["unchanged"]
    assert github.states() == {"haproxy again": "open"}


def test_other_issues_are_left_alone(github: StandInGitHub) -> None:
    """Without label or mark an issue is not the scan's, nor is a pull request."""
    github.add(title="a bug", body=mark(problem()))
    github.add(title="labelled", labels=[{"name": LABEL}])
    github.add(title="pull", labels=[{"name": LABEL}], body=mark(problem()), pull_request={})
    assert run(github) == []
    assert run(github, problem()) == ["opened"]
    assert set(github.states().values()) == {"open"}


def test_issues_on_later_pages_are_found(github: StandInGitHub) -> None:
    """With more issues than a page has, none is opened twice."""
    several = [problem(finding(f"CVE-{n}")) for n in range(5)]
    assert run(github, *several) == ["opened"] * 5
    assert run(github, *several) == ["unchanged"] * 5


def test_twin_of_an_issue_is_closed(github: StandInGitHub) -> None:
    """Two open issues for one finding become one again."""
    run(github, problem())
    github.add(**{**github.issues[0], "number": 2})
    run(github, problem())
    assert sorted(issue["state"] for issue in github.issues) == ["closed", "open"]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault("GET", 502, times=2), id="502"),
        pytest.param(Fault("GET", 429, {"Retry-After": "0"}), id="429"),
        pytest.param(Fault("POST", 403, {"Retry-After": "0"}), id="secondary-rate-limit"),
        pytest.param(Fault("POST", 403, {"X-RateLimit-Remaining": "0"}), id="rate-limit"),
        pytest.param(Fault("GET", 200, hang_up=True), id="connection-breaks"),
    ],
)
def test_passing_failure_is_retried(github: StandInGitHub, fault: Fault) -> None:
    """Whatever GitHub did not process is sent again."""
    github.faults = [fault]
    assert run(github, problem()) == ["opened"]
    assert len(github.issues) == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(Fault("GET", 404), "check GITHUB_TOKEN", id="no-repository"),
        pytest.param(Fault("POST", 403), "issues: write", id="no-permission"),
        pytest.param(Fault("POST", 502), "HTTP 502", id="creation-that-may-have-arrived"),
        pytest.param(Fault("POST", 200, hang_up=True), "Connection", id="creation-without-answer"),
        pytest.param(Fault("GET", 403, {"Retry-After": "900"}), "900 s", id="long-rate-limit"),
        pytest.param(Fault("GET", 200, body="<html>"), "response cannot be read", id="no-json"),
        pytest.param(Fault("GET", 200, body="[" * 9999), "cannot be read", id="deep-json"),
        pytest.param(Fault("GET", 200, body="{}"), "{} is not of type list", id="no-list"),
        pytest.param(Fault("GET", 200, body="[1]"), "1 is not of type dict", id="no-objects"),
        pytest.param(Fault("POST", 201, body="[]"), "not of type dict", id="no-object"),
        pytest.param(Fault("GET", 404, body='{"message": 5}'), "HTTP 404\n", id="no-message"),
        pytest.param(Fault("GET", 404, body="[]"), "HTTP 404\n", id="error-is-a-list"),
        pytest.param(Fault("GET", 301, {"Location": "/x"}), "HTTP 301", id="moved"),
    ],
)
def test_failure_is_an_error_without_the_token(
    github: StandInGitHub, fault: Fault, words: str
) -> None:
    """The error says what failed; nothing is created twice."""
    github.faults = [fault]
    with pytest.raises(GitHubError, match=words) as caught:
        run(github, problem())
    assert caught.value.exit_code == 10
    assert TOKEN not in str(caught.value)
    assert len([line for line in github.log if line.startswith("POST")]) <= 1


def test_next_page_on_another_host_is_refused(github: StandInGitHub) -> None:
    """The token is sent to the API only."""
    link = {"Link": '<https://evil.example/issues?page=2>; rel="next"'}
    github.faults = [Fault("GET", 200, link, body="[]")]
    with pytest.raises(GitHubError, match="another host"):
        run(github)


@pytest.mark.parametrize(
    ("repository", "api"),
    [("owner", "https://api.github.com"), ("a/b/../c", "https://api.github.com")],
)
def test_invalid_repository_is_refused(repository: str, api: str) -> None:
    """Only OWNER/NAME becomes part of an address."""
    with pytest.raises(UsageError, match="OWNER/NAME"):
        GitHub(repository, None, api=api)


def test_token_is_not_sent_without_tls() -> None:
    """HTTP is accepted on this machine only."""
    with pytest.raises(UsageError, match="without TLS"):
        GitHub(REPOSITORY, Secret(TOKEN), api="http://api.example.com")
