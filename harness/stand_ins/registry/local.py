"""A registry on loopback that is as strict as a real one: TLS, and a token for every request.

The certificate authority, the user's password and the token server are created for the run.
"""

import json
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket

import requests
import trustme

from harness.core.console import step
from harness.core.errors import EnvironmentMissingError
from harness.core.files import replace_directory
from harness.core.go_tools import GoTool
from harness.core.process import ensure_tools
from harness.core.proof import StandIn
from harness.core.wait import wait_until
from harness.registry.credentials import Credentials, Secret
from harness.stand_ins.registry.behaviour import BEHAVIOURS, Profile
from harness.stand_ins.registry.front import front
from harness.stand_ins.registry.tokens import SERVICE, TokenServer, token_server

START_SECONDS = 20
DISTRIBUTION = GoTool(
    package="github.com/distribution/distribution/v3/cmd/registry",
    version="3.1.2",
    takes="minutes",
)
_PACKAGES = {"docker-registry": "docker-registry"}


@dataclass(frozen=True, kw_only=True)
class LocalRegistry:
    """A running registry and how to authenticate."""

    host: str  # "127.0.0.1:40001"
    ca: Path  # its certificate authority, PEM
    credentials: Credentials
    token_server: TokenServer
    log: Path
    stand_in: StandIn
    process: "subprocess.Popen[bytes]"


@contextmanager
def local_registry(
    directory: Path,
    *,
    profile: Profile = Profile.DOCKER,
    port: int = 0,
    token_seconds: float | None = None,
    keep: bool = False,
) -> Iterator[LocalRegistry]:
    """A TLS registry with authentication and its content in `directory`, for the block.

    With `keep` it starts with the existing content. Raises `EnvironmentMissingError` if the
    registry of `profile` is unavailable, and `UsageError` if `directory` has foreign content.
    """
    program = _program(profile)
    if not keep:
        replace_directory(directory)
    authority = trustme.CA(organization_name="throw-away authority of a local registry")
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    ca, key, chain = (directory / name for name in ("ca.pem", "key.pem", "chain.pem"))
    authority.cert_pem.write_to_path(str(ca))
    key.touch(mode=0o600)
    certificate.private_key_pem.write_to_path(str(key))
    for number, pem in enumerate(certificate.cert_chain_pems):
        pem.write_to_path(str(chain), append=number > 0)
    password = Secret(secrets.token_urlsafe(24))
    credentials = Credentials(username="harness", secret=password, source="the local registry")
    seconds = BEHAVIOURS[profile].token_seconds if token_seconds is None else token_seconds
    with ExitStack() as stack:
        tokens = stack.enter_context(token_server(credentials, certificate, seconds))
        host = f"127.0.0.1:{port or free_port()}"
        if profile is Profile.GHCR:
            behind = f"127.0.0.1:{free_port()}"
            configuration = _configuration(directory, behind)
            process = stack.enter_context(_process(program, configuration, directory, behind, None))
            stack.enter_context(front(host, behind, tokens, certificate, BEHAVIOURS[profile]))
        else:
            configuration = _configuration(directory, host, tokens.url)
            process = stack.enter_context(_process(program, configuration, directory, host, ca))
        yield LocalRegistry(
            host=host,
            ca=ca,
            credentials=credentials,
            token_server=tokens,
            log=directory / "registry.log",
            stand_in=StandIn(
                kind="registry",
                replaces="ghcr.io",
                why=f"{profile}, requested by --registry localhost; it stops when the run ends",
            ),
            process=process,
        )


def _program(profile: Profile) -> str:
    """Return the registry's program; compile or install it first if needed."""
    ensure_tools({"setpriv": "util-linux"}, wanted_for="a local registry")
    if profile is Profile.DISTRIBUTION:
        return str(DISTRIBUTION.provide())
    ensure_tools(_PACKAGES, wanted_for="a local registry")
    return "docker-registry"


def free_port() -> int:
    """A free port on loopback."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _configuration(directory: Path, host: str, realm: str = "") -> str:
    """https://distribution.github.io/distribution/about/configuration/; JSON is YAML.

    Without the `realm` of a token server: behind the front, without TLS and tokens.
    """
    http = {"addr": host, "secret": secrets.token_urlsafe(24), "relativeurls": not realm}
    tls = {"certificate": str(directory / "chain.pem"), "key": str(directory / "key.pem")}
    token = {
        "realm": realm,
        "service": SERVICE,
        "issuer": SERVICE,
        "rootcertbundle": str(directory / "ca.pem"),
    }
    return json.dumps(
        {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": False}},
            "storage": {
                "filesystem": {"rootdirectory": str(directory / "content")},
                "delete": {"enabled": False},
            },
            "http": {**http, "tls": tls} if realm else http,
            **({"auth": {"token": token}} if realm else {}),
        }
    )


@contextmanager
def _process(
    program: str, configuration: str, directory: Path, host: str, ca: Path | None
) -> Iterator["subprocess.Popen[bytes]"]:
    path = directory / "config.yml"
    path.write_text(configuration, encoding="utf-8")
    # The kernel kills it if this process dies; its own session keeps Ctrl+C from it.
    command = ["setpriv", "--pdeathsig", "KILL", program, "serve", str(path)]
    log = directory / "registry.log"
    with step(f"starting a local registry at {host}"), log.open("wb") as file:
        registry = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
        try:
            wait_until(
                lambda: registry.poll() is not None or _answers(host, ca),
                timeout=START_SECONDS,
                what="the local registry answers",
                explain=lambda: log.read_text(errors="replace")[-2000:],
            )
        except BaseException:
            registry.kill()
            registry.wait()
            raise
    try:
        if registry.poll() is not None:
            words = log.read_text(errors="replace")[-2000:]
            raise EnvironmentMissingError(f"{program} failed to start:\n{words}")
        yield registry
    finally:
        registry.terminate()
        try:
            registry.wait(timeout=10)
        except subprocess.TimeoutExpired:
            registry.kill()
            registry.wait()


def _answers(host: str, ca: Path | None) -> bool:
    url = f"{'https' if ca else 'http'}://{host}/v2/"
    try:
        answer = requests.get(url, verify=str(ca) if ca else True, timeout=2)
    except requests.RequestException:
        return False
    return answer.status_code in {requests.codes.ok, requests.codes.unauthorized}
