"""A stand-in for GitHub's REST API: issues and releases of one repository, with faults to order.

It is no GitHub: only what the harness asks for, by the documentation of the REST API.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.local_server import LocalServer, QuietHandler

REPOSITORY = "owner/project"
TOKEN = "token-of-the-test"


@dataclass
class Fault:
    """An answer to the next requests whose "METHOD path" matches."""

    match: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1
    body: str = '{"message": "a fault"}'
    hang_up: bool = False  # after the request was processed


class StandInGitHub:
    """The state of the repository, and what was asked."""

    def __init__(self, *, page: int = 100) -> None:
        self.issues: list[dict[str, Any]] = []
        self.comments: dict[int, list[str]] = {}
        self.releases: dict[str, dict[str, Any]] = {}
        self.assets: dict[str, bytes] = {}  # of all releases
        self.upload_url = ""  # as the API names it, if it is another one
        self.faults: list[Fault] = []
        self.log: list[str] = []
        self.page = page
        self._server = LocalServer(_handler(self))
        self.url = self._server.url

    def close(self) -> None:
        self._server.close()

    def add(self, **fields: Any) -> dict[str, Any]:
        """Put an issue there, as a person or an earlier scan would."""
        issue = {
            "number": len(self.issues) + 1,
            "state": "open",
            "state_reason": None,
            "title": "",
            "body": "",
            "labels": [],
            **fields,
        }
        self.issues.append(issue)
        return issue

    def release(self, tag: str, body: str | None = None) -> dict[str, Any]:
        """Create a release, as a maintainer would."""
        number = len(self.releases) + 1
        upload = self.upload_url or f"{self.url}/uploads/{number}/assets"
        made = {
            "id": number,
            "body": body,
            "html_url": f"https://github.com/{REPOSITORY}/releases/tag/{tag}",
            "upload_url": f"{upload}{{?name,label}}",
        }
        self.releases[tag] = made
        return made

    def listed(self) -> list[dict[str, Any]]:
        """The assets, as the API lists them."""
        return [
            {
                "id": name,
                "name": name,
                "state": "uploaded",
                "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
            }
            for name, data in self.assets.items()
        ]

    def states(self) -> dict[str, str]:
        return {str(issue["title"]): str(issue["state"]) for issue in self.issues}

    def changed(self) -> list[str]:
        """The requests that change something."""
        return [line for line in self.log if not line.startswith("GET")]

    def fault_for(self, line: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.match, line):
                fault.times -= 1
                return fault
        return None


@contextmanager
def stand_in_github(**options: Any) -> Iterator[StandInGitHub]:
    """A running stand-in."""
    github = StandInGitHub(**options)
    try:
        yield github
    finally:
        github.close()


def _handler(github: StandInGitHub) -> type[QuietHandler]:
    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802
            self._answer("GET")

        def do_POST(self) -> None:  # noqa: N802
            self._answer("POST")

        def do_DELETE(self) -> None:  # noqa: N802
            self._answer("DELETE")

        def do_PATCH(self) -> None:  # noqa: N802
            self._answer("PATCH")

        def _answer(self, method: str) -> None:
            given = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            address = urlsplit(self.path)
            line = f"{method} {address.path}"
            github.log.append(line)
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._send(401, {"message": "Bad credentials"})
                return
            fault = github.fault_for(line)
            if fault and not fault.hang_up:
                self._send(fault.status, fault.body, fault.headers)
                return
            query = {key: values[-1] for key, values in parse_qs(address.query).items()}
            status, answer, headers = self._perform(method, address.path, query, given)
            if fault:
                self.close_connection = True
                self.connection.close()
                return
            self._send(status, answer, headers)

        def _perform(  # noqa: PLR0911
            self, method: str, path: str, query: Mapping[str, str], given: bytes
        ) -> tuple[int, Any, dict[str, str]]:
            if method == "POST" and path.startswith("/uploads/"):
                if query["name"] in github.assets:
                    return 422, {"message": "already_exists"}, {}
                github.assets[query["name"]] = given
                return 201, {"state": "uploaded"}, {}
            body = json.loads(given) if given else {}
            if found := re.fullmatch(rf"/repos/{REPOSITORY}/releases/(.+)", path):
                return self._release(method, found[1], body)
            match = re.fullmatch(rf"/repos/{REPOSITORY}/issues(?:/(\d+)(/comments)?)?", path)
            if match is None:
                return 404, {"message": "Not Found"}, {}
            number, comments = match[1], match[2]
            if method == "GET":
                return self._listed(query)
            if method == "POST" and comments:
                github.comments.setdefault(int(number), []).append(body["body"])
                return 201, {"id": 1}, {}
            if method == "POST":
                labels = [{"name": name} for name in body.pop("labels", [])]
                return 201, github.add(**body, labels=labels), {}
            issue = github.issues[int(number) - 1]
            issue.update(body)
            return 200, issue, {}

        def _release(
            self, method: str, path: str, body: dict[str, Any]
        ) -> tuple[int, Any, dict[str, str]]:
            kind, _, rest = path.partition("/")
            if method == "DELETE" and kind == "assets":
                github.assets.pop(rest)
                return 204, "", {}
            if kind == "tags":
                found = github.releases.get(rest)
                return (200, found, {}) if found else (404, {"message": "Not Found"}, {})
            if rest == "assets":
                return 200, github.listed(), {}
            release = next(r for r in github.releases.values() if str(r["id"]) == kind)
            release.update(body)
            return 200, release, {}

        def _listed(self, query: Mapping[str, str]) -> tuple[int, Any, dict[str, str]]:
            found = [
                issue
                for issue in reversed(github.issues)
                if query.get("state") == "all" or issue["state"] == "open"
                if query["labels"] in {label["name"] for label in issue["labels"]}
            ]
            page, size = int(query.get("page", "1")), github.page
            rest = {**query, "page": str(page + 1)}
            more = "&".join(f"{key}={value}" for key, value in rest.items())
            link = f'<{github.url}/repos/{REPOSITORY}/issues?{more}>; rel="next"'
            headers = {"Link": link} if len(found) > page * size else {}
            return 200, found[(page - 1) * size : page * size], headers

        def _send(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler
