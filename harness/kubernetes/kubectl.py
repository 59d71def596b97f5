"""Run kubectl against one namespace of a cluster."""

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.process import run
from harness.core.wait import wait_until

FORWARD_SECONDS = 15
_FORWARDED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)")


@dataclass(frozen=True, kw_only=True)
class Kubectl:
    """How to reach one namespace of one cluster."""

    program: str
    options: tuple[str, ...]  # of every call, such as --context
    namespace: str = "default"

    def within(self, namespace: str) -> "Kubectl":
        """Return the same cluster with another namespace."""
        return replace(self, namespace=namespace)

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a call."""
        return [self.program, *self.options, f"--namespace={self.namespace}", *arguments]

    def run(self, *arguments: str, timeout: float = 120, stdin: str | None = None) -> str:
        """Return the output of a call; raise `CommandError` if it fails."""
        return run(self.command(*arguments), timeout=timeout, stdin=stdin)

    def apply(self, manifest: Path, *arguments: str) -> str:
        """Apply a file."""
        return self.run("apply", f"--filename={manifest}", *arguments)

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return an object or a list from the API server."""
        found: dict[str, Any] = json.loads(self.run("get", *arguments, "--output=json"))
        return found

    def items(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """Return the objects of a kind."""
        found: list[dict[str, Any]] = self.get(kind, f"--selector={selector}")["items"]
        return found

    def execute(self, pod: str, script: str, *arguments: str) -> str:
        """Run a bash script in a pod; return its output."""
        return self.run("exec", pod, "--", "bash", "-c", script, "bash", *arguments)

    def trouble(self) -> str:
        """Return diagnostics: pods, events, and the last log lines of every pod."""
        parts = []
        for arguments in (
            ("get", "pods", "--output=wide"),
            ("get", "events", "--sort-by=.lastTimestamp"),
        ):
            with suppress(HarnessError):
                parts.append("\n".join(self.run(*arguments).splitlines()[-25:]))
        with suppress(HarnessError):
            for pod in self.items("pods"):
                name = pod["metadata"]["name"]
                with suppress(HarnessError):
                    parts.append(f"last lines of {name}:\n" + self.run("logs", name, "--tail=8"))
        return "\n".join(parts)

    @contextmanager
    def forward(self, target: str, ports: Sequence[int]) -> Iterator[dict[int, int]]:
        """Forward `ports` of `pod/NAME` or `service/NAME`; yield the local port of each."""
        wanted = [f":{port}" for port in ports]
        with self.follow("port-forward", target, *wanted) as output:

            def forwarded() -> dict[int, int]:
                pairs = [_FORWARDED.search(line) for _, line in list(output.lines)]
                found = {int(m[2]): int(m[1]) for m in pairs if m}
                if output.ended.is_set() and len(found) < len(ports):
                    raise HarnessError(f"port forwarding to {target} failed: {output.text()}")
                return found if len(found) == len(ports) else {}

            yield wait_until(forwarded, timeout=FORWARD_SECONDS, what="ports are forwarded")

    @contextmanager
    def follow(self, *arguments: str) -> Iterator["Following"]:
        """Run a long-running call during the block, and terminate it afterwards."""
        process = subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        following = Following(process)
        try:
            yield following
        finally:
            process.terminate()
            process.wait()
            following.ended.wait(5)
            if process.stdout:
                process.stdout.close()


class Following:
    """The output of a long-running call; each line has its arrival time (epoch seconds)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.lines: list[tuple[float, str]] = []
        self.ended = threading.Event()
        self.ended_at = 0.0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with suppress(ValueError):
            for line in self._process.stdout or ():
                self.lines.append((time.time(), line.rstrip("\n")))
        self.ended_at = time.time()
        self.ended.set()

    def text(self) -> str:
        """Return the output so far."""
        return "\n".join(line for _, line in list(self.lines))
