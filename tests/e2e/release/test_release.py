"""A release to a real registry with TLS and tokens, verified by an independent client."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from harness.core.errors import EnvironmentMissingError
from harness.core.wait import wait_until
from harness.kubernetes.helm import find_helm
from harness.stand_ins.registry import LocalRegistry, Profile

from ..conftest import VERSION
from .conftest import REPOSITORY, Cli, Sealed


def sources(sealed: Sealed) -> list[str]:
    return [word for directory in sealed.directories for word in ("--from", directory)]


def secrets_of(registry: LocalRegistry) -> list[str]:
    held = registry.credentials
    return [held.secret.reveal(), held.basic.reveal().removeprefix("Basic ")]


@pytest.mark.parametrize(
    ("profile", "regions"),
    [
        pytest.param(Profile.GHCR, "sealed", id="ghcr-all-regions"),
        pytest.param(Profile.DOCKER, "few", id="docker-registry-two-regions"),
    ],
)
def test_release_is_in_the_registry_as_its_page_and_proof_say(
    regions: str, cli: Cli, request: pytest.FixtureRequest
) -> None:
    """Published, read back, pulled, run; skopeo finds the digests of page and proof."""
    sealed: Sealed = request.getfixturevalue(regions)
    planned = cli.run(*sources(sealed), "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert cli.tags() == set(), "a plan publishes nothing"
    done = cli.run(*sources(sealed), "--json")
    assert done.returncode == 0, done.stderr
    published = json.loads(done.stdout)
    index = published["index"]["digest"]
    assert index in planned.stdout, "the digest is known before anything is pushed"
    assert published["trial"].startswith("pulled by digest and run")
    name = f"docker://{cli.registry.host}/{REPOSITORY}"
    for reference in (f"{name}@{index}", f"{name}:{VERSION}", f"{name}:latest"):
        seen = cli.skopeo("inspect", "--raw", reference)
        assert f"sha256:{hashlib.sha256(seen.stdout.encode()).hexdigest()}" == index, seen.stderr
    platforms = {
        m["platform"]["architecture"]: m["digest"] for m in json.loads(seen.stdout)["manifests"]
    }
    assert set(platforms) == {"amd64", "arm64"}
    ours = sealed.images[0]
    seen = cli.skopeo("inspect", "--raw", f"{name}@{platforms[ours.architecture]}")
    assert json.loads(seen.stdout)["config"]["digest"] == sealed.image_id, "tested is published"
    page = (cli.output / "release.md").read_text(encoding="utf-8")
    assert f"docker pull {cli.registry.host}/{REPOSITORY}@{index}" in page
    for architecture, digest in platforms.items():
        proof = json.loads((cli.output / f"proof-{architecture}.json").read_bytes())
        assert proof["image"]["repo_digests"] == [f"{cli.registry.host}/{REPOSITORY}@{digest}"]
        assert f"`{digest}`" in page
    told = done.stdout + done.stderr + page + (cli.output / "release.json").read_text("utf-8")
    assert not any(secret in told for secret in secrets_of(cli.registry))


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_killed_release_is_resumed(name: str, few: Sealed, cli: Cli) -> None:
    """Killed during a push: no tag; --resume publishes without sending everything again."""
    process = subprocess.Popen(
        cli.command(*sources(few)),
        env=cli.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = cli.registry.log
    wait_until(
        lambda: (
            log.read_text(errors="replace").count('"PUT /v2/') >= 3 or process.poll() is not None
        ),
        timeout=120,
        what="three blobs are pushed",
        interval=0.005,
    )
    os.kill(process.pid, getattr(signal, name))
    _, words = process.communicate(timeout=60)
    assert process.returncode == {"SIGINT": 130, "SIGKILL": -9}[name], words
    if name == "SIGINT":
        assert "--resume" in words
    assert cli.tags() == set()
    before = log.read_text(errors="replace").count('"PUT /v2/')
    done = cli.run("--resume")
    assert done.returncode == 0, done.stderr
    assert cli.tags() == {VERSION, "latest"}
    assert "already present" in done.stderr
    assert before >= 3
    blobs = {b.digest for image in few.images for b in image.image.blobs}
    uploaded = cli.uploaded()
    assert blobs <= set(uploaded)
    assert len(uploaded) == len(set(uploaded)), "what was there was not sent again"


def test_changed_version_is_a_conflict(few: Sealed, cli: Cli, tmp_path: Path) -> None:
    """A published version with different content: exit code 9, and the tag stays."""
    directory = Path(few.directories[1])
    assert cli.tags() == set()
    copied = subprocess.run(
        [
            *("skopeo", "copy", "--dest-cert-dir", str(cli.home / "certs")),
            *(f"oci:{directory}/oci", f"docker://{cli.registry.host}/{REPOSITORY}:{VERSION}"),
        ],
        env={**cli.environ, "REGISTRY_AUTH_FILE": str(cli.home / "config.json")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert copied.returncode == 0, copied.stderr
    done = cli.run(*sources(few))
    assert done.returncode == 9, done.stderr
    assert "already published with different content" in done.stderr
    assert cli.tags() == {VERSION}


def test_damaged_seal_is_not_published(few: Sealed, cli: Cli, tmp_path: Path) -> None:
    """One flipped byte in a layer from another machine: nothing is pushed."""
    copy = tmp_path / "damaged"
    shutil.copytree(few.directories[1], copy)
    layer = copy / "oci" / "blobs" / "sha256" / few.images[1].image.layers[0].digest[7:]
    data = bytearray(layer.read_bytes())
    data[len(data) // 2] ^= 1
    layer.write_bytes(data)
    done = cli.run("--from", few.directories[0], "--from", str(copy))
    assert done.returncode == 1, done.stderr
    assert "differs from what was sealed" in done.stderr
    assert '"PUT /v2/' not in cli.registry.log.read_text(errors="replace")


def test_registry_that_dies_is_said(few: Sealed, cli: Cli) -> None:
    """If the registry's process dies: exit code 8 and its name, quickly."""
    cli.registry.process.kill()
    cli.registry.process.wait()
    done = cli.run(*sources(few))
    assert done.returncode == 8, done.stderr
    assert f"cannot reach {cli.registry.host}" in done.stderr


def test_wrong_password_is_refused_once(few: Sealed, cli: Cli, tmp_path: Path) -> None:
    """A refusal is not retried: exit code 8, and the user name in the message."""
    nobody = tmp_path / "nobody"
    nobody.mkdir()
    config = {"auths": {cli.registry.host: {"auth": "aGFybmVzczp3cm9uZy1wYXNz"}}}
    (nobody / "config.json").write_text(json.dumps(config), encoding="utf-8")
    done = cli.run(*sources(few), environ={"DOCKER_CONFIG": str(nobody)})
    assert done.returncode == 8, done.stderr
    assert "HTTP 401" in done.stderr
    assert "docker login" in done.stderr
    assert "wrong-pass" not in done.stderr
    assert cli.registry.token_server.given == 0


def test_helm_renders_the_published_chart(few: Sealed, cli: Cli) -> None:
    """Helm, an independent client, pulls the chart; its pods run the published index by digest."""
    try:
        helm = find_helm(compile_it=False)
    except EnvironmentMissingError as error:
        pytest.skip(str(error))
    done = cli.run(*sources(few), "--json")
    assert done.returncode == 0, done.stderr
    published = json.loads(done.stdout)
    chart = published["chart"]
    assert chart["version"] == VERSION.removeprefix("v")
    trust = (
        f"--version={chart['version']}",
        f"--ca-file={cli.registry.ca}",
        f"--registry-config={cli.home / 'config.json'}",
    )
    name = f"oci://{chart['repository']}"
    manifests = helm.template(name, *trust, name="release")
    image = f"{cli.registry.host}/{REPOSITORY}:{VERSION}@{published['index']['digest']}"
    assert f'image: "{image}"' in manifests
    split = helm.template(name, *trust, "--set=layout=perRegion", name="release")
    assert f'image: "{cli.registry.host}/{REPOSITORY}:{VERSION}-us-east-1@sha256:' in split
    assert f"appVersion: {VERSION}" in helm.run("show", "chart", name, *trust)
    assert f"oci://{chart['repository']} --version" in (cli.output / "release.md").read_text(
        "utf-8"
    )
