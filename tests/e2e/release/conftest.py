"""Fixtures of the release tests: sealed images, and a strict local registry.

amd64 is the session's image with its own proof. The other architecture, which a release also needs,
is a small image marked as a stand-in.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from harness.core.process import ensure_tools
from harness.core.proof import Proof, StandIn
from harness.core.regions import Region, load_regions
from harness.core.stages import Architecture, BuiltImage, VerifiedImage
from harness.engine.provision import Engine
from harness.oci import ImageLayout
from harness.pipeline import build
from harness.publish.seal import SealedImage, seal, unseal
from harness.stand_ins.registry import LocalRegistry, Profile, local_registry
from harness.verify.regional import verify_region
from tests.unit.release.made import is_of_region

from ..conftest import VERSION, ImageNames, Shared, hermetic
from .scan_stand_in import scanned_image

REPOSITORY = "owner/finfocus-plugin-aws-public"
_SMALL = "FROM scratch\n{copies}\nLABEL {labels}\n"
ALL_BUT_TWO = tuple(region.name for region in load_regions()[2:])
"""Regions to leave out where their number does not matter."""
PROVEN = 2
"""Images of single regions that are run; the proofs of the others are copies, to save time."""


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """A sealed image per architecture, and the engine's image of one of them."""

    images: tuple[SealedImage, ...]
    image_id: str

    @property
    def directories(self) -> list[str]:
        return [str(image.directory) for image in self.images]


@pytest.fixture(scope="session")
def sealed(
    engine: Engine, image: BuiltImage, proof: Proof, broken: ImageNames, shared: Shared
) -> Sealed:
    """Both architectures, sealed; the other one is a stand-in."""
    regional: list[Proof] = []

    def prove(layout: ImageLayout, region: Region) -> Proof:
        if len(regional) < PROVEN:
            regional.append(verify_region(engine, layout, region, image, full_size=False))
            return regional[-1]
        return copied_proof(regional[-1], layout)

    with shared.once("sealed") as (root, first):
        if first:
            own = VerifiedImage(built=image, proof=proof)
            _seal_both(engine, own, root, broken, prove)
    return Sealed(images=_unsealed(image.architecture, root), image_id=image.image_id)


@pytest.fixture(scope="session")
def few(engine: Engine, sealed: Sealed, broken: ImageNames, shared: Shared, output: Path) -> Sealed:
    """The same with two regions, which are published in a fraction of the time.

    Their proofs are copies of those with all regions.
    """
    whole = sealed.images[0]
    regional = whole.regional[0].proof
    with shared.once("few") as (root, first):
        if first:
            config = hermetic(without=ALL_BUT_TWO, output=output / "few", reference=broken("few"))
            image = build(engine, config)
            own = VerifiedImage(built=image, proof=about(whole.proof, image.image_id))
            _seal_both(engine, own, root, broken, lambda layout, _: copied_proof(regional, layout))
    images = _unsealed(whole.architecture, root)
    return Sealed(images=images, image_id=images[0].proof.image.image_id)


Prove = Callable[[ImageLayout, Region], Proof]
"""Returns the proof of a region's image."""


def _seal_both(
    engine: Engine, own: VerifiedImage, root: Path, broken: ImageNames, prove: Prove
) -> None:
    """Seal the image into `root` by architecture, and a small one for the other architecture."""
    scanned = scanned_image(own, root / "scan-ours")
    made = seal(engine.client, scanned, root / own.built.architecture, prove)
    other = _other(own.built.architecture)
    verified = _small(engine, own, other, root / "small", broken(f"small-{root.name}"))
    regional = made.regional[0].proof
    seal(
        engine.client,
        scanned_image(verified, root / "scan-other"),
        root / other,
        lambda layout, _: copied_proof(regional, layout),
    )


def _other(architecture: Architecture) -> Architecture:
    return next(a for a in Architecture if a is not architecture)


def _unsealed(own: Architecture, root: Path) -> tuple[SealedImage, ...]:
    return tuple(unseal(root / each) for each in (own, _other(own)))


def copied_proof(proof: Proof, layout: ImageLayout) -> Proof:
    """Return `proof` as if it were about the image in `layout`."""
    return about(proof, layout.config.digest)


def about(proof: Proof, image_id: str) -> Proof:
    """Return `proof` as if it were about another image."""
    return replace(proof, image=replace(proof.image, image_id=image_id))


def _small(
    engine: Engine, own: VerifiedImage, architecture: Architecture, directory: Path, reference: str
) -> VerifiedImage:
    """Build a small image labelled for `architecture`, with a layer for each region."""
    directory.mkdir()
    image = own.built
    names = [region.binary for region in image.release.regions]
    for name in names:
        directory.joinpath(name).write_text(f"a stand-in for {name}\n", encoding="utf-8")
    copies = "\n".join(f"COPY {name} /opt/finfocus/bin/{name}" for name in names)
    labels = engine.client.images.get(image.image_id).labels
    quoted = " ".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
    directory.joinpath("Dockerfile").write_text(
        _SMALL.format(copies=copies, labels=quoted), encoding="utf-8"
    )
    made, _ = engine.client.images.build(
        path=str(directory),
        tag=reference,
        platform=f"linux/{architecture}",
        rm=True,
    )
    stand_in = StandIn(kind="image", replaces=f"linux/{architecture}", why="tests of the release")
    built = replace(
        image,
        image_id=str(made.id),
        architecture=architecture,
        release=replace(image.release, architecture=architecture, stand_in=stand_in),
    )
    facts = replace(own.proof.image, image_id=str(made.id), architecture=architecture.value)
    return VerifiedImage(built=built, proof=replace(own.proof, image=facts))


@pytest.fixture(autouse=True, scope="session")
def _skopeo() -> None:
    """The independent client."""
    ensure_tools({"skopeo": "skopeo"}, wanted_for="looking at the registry")


@pytest.fixture
def profile() -> Profile:
    """The registry of a test, unless it is parametrized."""
    return Profile.DOCKER


@pytest.fixture
def registry(profile: Profile, tmp_path: Path) -> Iterator[LocalRegistry]:
    """A temporary registry with TLS and tokens."""
    with local_registry(tmp_path / "registry", profile=profile) as running:
        yield running


@dataclass(frozen=True, kw_only=True)
class Cli:
    """Runs `harness release` as a separate process, logged in to a registry."""

    registry: LocalRegistry
    home: Path
    output: Path

    @property
    def environ(self) -> dict[str, str]:
        """Return an environment with Docker's configuration as written by `docker login`."""
        basic = self.registry.credentials.basic.reveal().removeprefix("Basic ")
        self.home.mkdir(exist_ok=True)
        config = {"auths": {self.registry.host: {"auth": basic}}}
        (self.home / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return {**os.environ, "DOCKER_CONFIG": str(self.home)}

    def command(self, *arguments: str, version: str = VERSION) -> list[str]:
        return [
            *(sys.executable, "-m", "harness", "release", version),
            *("--registry", self.registry.host, "--registry-ca", str(self.registry.ca)),
            *("--repository", REPOSITORY, "--output", str(self.output), *arguments),
        ]

    def run(
        self,
        *arguments: str,
        version: str = VERSION,
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run it and return the result, whatever its exit code.

        After a publication skopeo copies it away and must find exactly what was planned.
        """
        done = subprocess.run(
            self.command(*arguments, version=version),
            env={**self.environ, **(environ or {})},
            capture_output=True,
            text=True,
            timeout=1200,  # cosign starts a hundred times, on a machine that may be busy
            check=False,
        )
        path = self.output / "published.json"
        if done.returncode == 0 and path.exists() and "--dry-run" not in arguments:
            self.check_copy(json.loads(path.read_bytes()))
        return done

    def check_copy(self, published: Mapping[str, Any]) -> None:
        """Check with an independent program that the registry has exactly the planned digests."""
        index = published["index"]["digest"]
        planned = {index}
        for image in published["images"]:
            planned |= {image["manifest"], image["config"], *image["layers"]}
        with TemporaryDirectory() as directory:
            name = f"docker://{self.registry.host}/{REPOSITORY}@{index}"
            done = self.skopeo("copy", "--all", "--preserve-digests", name, f"oci:{directory}:copy")
            assert done.returncode == 0, done.stderr
            listed = json.loads(Path(directory, "index.json").read_bytes())["manifests"]
            found = {f"sha256:{path.name}" for path in Path(directory).glob("blobs/sha256/*")}
        assert [entry["digest"] for entry in listed] == [index]
        assert found == planned

    def skopeo(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run skopeo, an independent client, with the same login and CA."""
        certificates = self.home / "certs"
        certificates.mkdir(exist_ok=True, parents=True)
        (certificates / "ca.crt").write_bytes(self.registry.ca.read_bytes())
        command = ["skopeo", arguments[0], *_TRUST[arguments[0]], *arguments[1:]]
        return subprocess.run(
            [c.replace("CERTS", str(certificates)) for c in command],
            env={**self.environ, "REGISTRY_AUTH_FILE": str(self.home / "config.json")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def uploaded(self) -> list[str]:
        """Return the digest of each blob that was uploaded, according to the registry's log."""
        log = self.registry.log.read_text(errors="replace")
        return re.findall(r'"PUT /v2/\S+/blobs/uploads/\S*digest=([^& ]+)\S* HTTP/1\.1" 201', log)

    def tags(self, *, regional: bool = False) -> set[str]:
        """Return the tags that users pull, as listed by the independent client.

        Those of the image with all regions, or those of the `regional` images.
        """
        done = self.skopeo("list-tags", f"docker://{self.registry.host}/{REPOSITORY}")
        if done.returncode:
            assert "404 (Not Found)" in done.stderr, done.stderr
            return set()
        found = json.loads(done.stdout)["Tags"] or []
        return {t for t in found if not t.startswith("sha256-") and is_of_region(t) is regional}


_TRUST: Mapping[str, Sequence[str]] = {
    "list-tags": ("--cert-dir", "CERTS"),
    "inspect": ("--cert-dir", "CERTS"),
    "copy": ("--src-cert-dir", "CERTS"),
}


@pytest.fixture
def cli(registry: LocalRegistry, tmp_path: Path) -> Cli:
    """The command line, logged in."""
    return Cli(registry=registry, home=tmp_path / "docker", output=tmp_path / "out")
