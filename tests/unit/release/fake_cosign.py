"""An in-process cosign: signs nothing, but writes bundles and reads them from the fake registry."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import requests

from harness.core.errors import CommandError
from harness.publish.cosign import Cosign
from harness.publish.sign import Signer

from .fake_registry import STATE, FakeRegistry


@dataclass(frozen=True, kw_only=True)
class FakeCosign(Cosign):
    """Records its commands and environments; the command `breaks` fails."""

    registry: FakeRegistry | None = None
    log: list[list[str]] = field(default_factory=list)
    environs: list[Mapping[str, str]] = field(default_factory=list)
    logins: list[tuple[int, str]] = field(default_factory=list)  # mode and text of config.json
    breaks: str = ""

    def run(
        self, command: Sequence[str], *, environ: Mapping[str, str] | None = None, cwd: Path
    ) -> str:
        self.log.append(list(command))
        self.environs.append(dict(environ or {}))
        if environ and "DOCKER_CONFIG" in environ:
            login = Path(environ["DOCKER_CONFIG"], "config.json")
            self.logins.append((login.stat().st_mode & 0o777, login.read_text(encoding="utf-8")))
        verb = command[1]
        if verb == self.breaks:
            raise CommandError(f"no: {verb}")
        if verb == "attest-blob":
            statement = (cwd / command[command.index("--statement") + 1]).read_bytes()
            bundle = {"dsseEnvelope": {"payload": base64.b64encode(statement).decode()}}
            path = cwd / command[command.index("--bundle") + 1]
            path.write_text(json.dumps(bundle), encoding="utf-8")
        elif verb == "public-key":
            return "PUBLIC"
        elif verb.startswith("verify"):
            return self._verify(list(command))
        return ""

    def _verify(self, command: list[str]) -> str:
        assert self.registry
        url = f"{self.registry.url}{STATE}{command[-1].partition('@')[2]}"
        payloads: list[str] = requests.get(url, timeout=10).json()
        statements = [json.loads(base64.b64decode(payload)) for payload in payloads]
        if not statements:
            raise CommandError("no matching attestations")
        if command[1] == "verify":
            return json.dumps([{"critical": {"type": s["predicateType"]}} for s in statements])
        names = {
            "slsaprovenance1": "https://slsa.dev/provenance/v1",
            "cyclonedx": "https://cyclonedx.org/bom",
        }
        kind = command[command.index("--type") + 1]
        lines = [
            json.dumps({"payload": payload})
            for payload, statement in zip(payloads, statements, strict=True)
            if statement["predicateType"] == names.get(kind, kind)
        ]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class FakeSigner(Signer):
    """A signer with that cosign."""

    cosign: FakeCosign


def signer_of(registry: FakeRegistry | None, version: tuple[int, int] = (3, 1)) -> FakeSigner:
    """Return a signer with a key, whose cosign reads `registry`."""
    cosign = FakeCosign(path=Path("cosign"), version=version, registry=registry)
    return FakeSigner(how="key", offline=True, cosign=cosign)
