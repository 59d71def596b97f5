"""Publishing to a misbehaving registry: no wrong tag, no partial index, a clear error."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import shlex
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.core.errors import (
    CommandError,
    HarnessError,
    NotProvenError,
    RegistryError,
    TagConflictError,
    UsageError,
)
from harness.core.stages import Architecture
from harness.oci import Descriptor
from harness.publish.page import render_page, sizes_of
from harness.publish.plan import Plan, TagPolicy, make_plan, render_plan
from harness.publish.record import Record, only_release
from harness.publish.results import write_results
from harness.publish.seal import SealedImage
from harness.publish.statements import BUNDLE, SIGNATURE, TYPES
from harness.registry import Repository, Secret, referrers
from harness.stand_ins.registry.behaviour import ZOT, Profile

from . import made
from .fake_cosign import signer_of
from .fake_registry import PASSWORD, FakeRegistry, Fault, fake_registry
from .made import (
    REGIONS,
    UNSIGNED,
    VERSION,
    both,
    client_of,
    is_of_region,
    publish_to,
    sealed,
)

LONG = pytest.mark.registries
SIGNED = "signed"


@pytest.fixture(
    autouse=True,
    params=[
        pytest.param((Profile.GHCR, ""), id="ghcr"),
        pytest.param((Profile.GHCR, SIGNED), id="ghcr-signed", marks=LONG),
        pytest.param((Profile.DOCKER, SIGNED), id="docker-registry", marks=LONG),
        pytest.param((ZOT, SIGNED), id="zot", marks=LONG),
    ],
)
def profile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The behaviour of every fake registry of a test: `nox -s registries` runs each under each."""
    name, signed = request.param
    monkeypatch.setattr(FakeRegistry, "profile", name)
    monkeypatch.setattr(made, "SIGNED", bool(signed))
    return str(name)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[SealedImage]:
    """A sealed image for each architecture."""
    return both(tmp_path_factory.mktemp("sealed"))


def harmless(registry: FakeRegistry, index: str | None = None) -> None:
    """No tag points to anything incomplete or wrong, and no manifest preceded its parts."""
    assert registry.half == []
    for tag, digest in registry.tags.items():
        assert registry.complete(digest), f"{tag} names something incomplete"
        if index and tag in named(registry):
            assert digest == index


def named(registry: FakeRegistry) -> set[str]:
    """Return the tags of the image with all regions."""
    return {t for t in registry.tags if not t.startswith("sha256-") and not is_of_region(t)}


def referrers_of(registry: FakeRegistry, digest: str) -> tuple[Descriptor, ...]:
    """Return what the harness's client finds attached to a manifest."""
    with client_of(registry) as client:
        return referrers(client, digest)


def index_of(images: list[SealedImage]) -> str:
    with fake_registry() as registry, client_of(registry) as client:
        return make_plan(images, VERSION, client, TagPolicy()).index.digest


def test_fr_011_release_is_complete_and_latest_is_last(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """FR-011 (`latest` and version tags): platforms, artifacts, version, then `latest`."""
    with fake_registry(auth="bearer") as registry:
        published = publish_to(registry, images, tmp_path, signer=signer_of(registry))
        plan = published.plan
        harmless(registry, plan.index.digest)
        moved = [tag for tag, _ in registry.moves if not tag.startswith("sha256-")]
        assert moved == [
            *(f"{VERSION}-{region.name}" for region in REGIONS),
            VERSION,
            *(f"latest-{region.name}" for region in REGIONS),
            "latest",
        ]
        index = json.loads(registry.manifests[plan.index.digest])
        assert [m["platform"]["architecture"] for m in index["manifests"]] == ["amd64", "arm64"]
        assert index["annotations"]["org.opencontainers.image.version"] == VERSION
        tested = [image.proof.image.image_id for image in images]
        pushed = [json.loads(registry.manifests[m["digest"]]) for m in index["manifests"]]
        assert [m["config"]["digest"] for m in pushed] == tested, "tested is pushed"
        for digest in (*(m["digest"] for m in index["manifests"]), plan.index.digest):
            stated = [json.loads(base64.b64decode(p)) for p in registry.attached(digest)]
            assert all(digest[7:] in str(s["subject"]) for s in stated)
            kinds = Counter(s["predicateType"] for s in stated)
            own = 1 if digest != plan.index.digest else 2
            assert {kind: kinds[kind] for kind in TYPES} == dict.fromkeys(TYPES, own)
            assert kinds[SIGNATURE] == own - 1, "the index is signed"
        assert all(d.artifact_type == BUNDLE for d in referrers_of(registry, plan.index.digest))


def test_second_publication_of_the_same_sends_no_blob(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """Publishing the same release again succeeds and sends no blob."""
    with fake_registry() as registry:
        publish_to(registry, images, tmp_path)
        before = registry.received
        registry.unseen = {}  # later, all writes are seen
        publish_to(registry, images, tmp_path)
        assert registry.received == before
        harmless(registry)


def test_fr_011_revision_is_published_beside_the_version(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """FR-011: the version's tag stays, `latest` moves to the revision, and the page names it."""
    with fake_registry() as registry, client_of(registry) as client:
        first = publish_to(registry, images, tmp_path / "first")
        rebuilt = both(tmp_path / "rebuilt", seed=7)
        second = publish_to(registry, rebuilt, tmp_path / "second", policy=TagPolicy(revision=1))
        assert client.tag_digest(VERSION) == first.plan.index.digest
        assert client.tag_digest(f"{VERSION}-r1") == second.plan.index.digest
        assert client.tag_digest("latest") == second.plan.index.digest
    assert second.tags == (f"{VERSION}-r1", "latest")
    assert render_page(second, None).startswith(f"# owner/image {VERSION}-r1\n")
    annotations = json.loads(second.plan.index_data)["annotations"]
    assert annotations["org.opencontainers.image.version"] == f"{VERSION}-r1"


def test_version_with_other_content_is_refused_before_anything_is_sent(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """A changed build of a published version sends nothing to the registry."""
    with fake_registry() as registry:
        publish_to(registry, images, tmp_path)
        before = dict(registry.manifests)
        with pytest.raises(TagConflictError, match="release a new version"):
            publish_to(registry, both(tmp_path / "other", seed=7), tmp_path)
        assert registry.manifests == before


def test_version_that_somebody_publishes_meanwhile_is_not_moved(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """The tag is compared again right before it is set."""
    with fake_registry() as registry:

        def meanwhile(_: Plan) -> str:
            registry.manifests["sha256:" + "c" * 64] = b'{"layers":[]}'
            registry.tags[VERSION] = "sha256:" + "c" * 64
            return ""

        with pytest.raises((TagConflictError, RegistryError)):
            publish_to(registry, images, tmp_path, trial=meanwhile)
        assert [tag for tag, _ in registry.moves if not tag.startswith("sha256-")] == []


@pytest.mark.parametrize("when", ["before-the-version", "before-latest"])
def test_latest_is_not_moved_back(when: str, images: list[SealedImage], tmp_path: Path) -> None:
    """A newer version that is published meanwhile keeps `latest` and the floating tags."""
    newer = b'{"layers":[]}'
    digest = f"sha256:{hashlib.sha256(newer).hexdigest()}"
    with fake_registry() as registry:

        def meanwhile() -> None:
            registry.manifests[digest] = newer
            registry.tags |= {"v1.2.4": digest, "v1.2": digest, "v1": digest, "latest": digest}

        def trial(_: Plan) -> str:
            if when == "before-the-version":
                meanwhile()
            else:
                registry.on_tag = lambda tag: meanwhile() if tag == VERSION else None
            return ""

        published = publish_to(
            registry, images, tmp_path, trial=trial, policy=TagPolicy(floating=True)
        )
        assert registry.tags["latest"] == registry.tags["v1.2"] == registry.tags["v1"] == digest
        assert published.tags == (VERSION,)


@pytest.mark.parametrize("kind", ["manifest.list.v2", "manifest.v2"])
def test_version_pushed_by_docker_is_seen(
    kind: str, images: list[SealedImage], tmp_path: Path
) -> None:
    """A tag with Docker's media type, which a registry hides from others, is not overwritten."""
    data = b'{"schemaVersion":2,"layers":[]}'
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    with fake_registry() as registry:
        registry.manifests = {digest: data}
        registry.types = {digest: f"application/vnd.docker.distribution.{kind}+json"}
        registry.tags = {VERSION: digest}
        with pytest.raises(TagConflictError, match="already published with different content"):
            publish_to(registry, images, tmp_path)
        assert registry.tags == {VERSION: digest}


@pytest.mark.parametrize("api", [True, False])
def test_registry_that_shows_writes_late_is_waited_for(
    api: bool, images: list[SealedImage], tmp_path: Path
) -> None:
    """Two reads after each write still see what was before: nothing is lost, the release ends."""
    with fake_registry(lag=2, referrers_api=api) as registry:
        old = b'{"layers":[]}'
        registry.tags["latest"] = digest = f"sha256:{hashlib.sha256(old).hexdigest()}"
        registry.manifests[digest] = old
        publish_to(registry, images, tmp_path, signer=signer_of(registry))
        registry.unseen = {}
        assert named(registry) == {VERSION, "latest"}
        for image in images:
            assert len(referrers_of(registry, image.image.manifest.digest)) == 3
        harmless(registry)


def test_wait_for_a_late_registry_is_bounded(images: list[SealedImage], tmp_path: Path) -> None:
    """A write that never shows ends the release, before a tag."""
    with fake_registry(lag=10**6) as registry:
        with pytest.raises(RegistryError, match="gave up after 4 attempts"):
            publish_to(registry, images, tmp_path)
        assert named(registry) == set()


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        pytest.param(lambda both: both[:1], "given: amd64", id="arm64-missing"),
        pytest.param(lambda both: [both[0], both[0]], "exactly one image each", id="amd64-twice"),
        pytest.param(lambda _: [], "given: none", id="nothing"),
    ],
)
def test_incomplete_index_is_never_published(
    choose: Any, message: str, images: list[SealedImage], tmp_path: Path
) -> None:
    """If an architecture is missing, nothing is sent."""
    with fake_registry() as registry:
        with pytest.raises(NotProvenError, match=message):
            publish_to(registry, choose(images), tmp_path)
        assert registry.asked("POST|PUT|PATCH") == 0


def test_images_that_do_not_belong_together_are_refused(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """If versions or commits differ, nothing is sent."""
    with fake_registry() as registry:
        other = sealed(tmp_path / "a", Architecture.ARM64, revision="def")
        with pytest.raises(NotProvenError, match="different commits: abc, def"):
            publish_to(registry, [images[0], other], tmp_path)
        other = sealed(tmp_path / "b", Architecture.ARM64, version="v1.2.4")
        with pytest.raises(NotProvenError, match=r"is v1\.2\.4, not v1\.2\.3"):
            publish_to(registry, [images[0], other], tmp_path)
        assert registry.asked("POST|PUT|PATCH") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"base_digest": "sha256:new"}, "base images: .*arm64 sha256:new", id="base"),
        pytest.param({"checksums": "c" * 64}, r"assets .*: amd64 bbb.*, arm64 ccc", id="assets"),
    ],
)
def test_images_from_different_inputs_are_refused(
    options: dict[str, str], message: str, images: list[SealedImage], tmp_path: Path
) -> None:
    """The base's tag or the release's assets moved between the two builds: nothing is sent."""
    other = sealed(tmp_path / "other", Architecture.ARM64, **options)
    with fake_registry() as registry:
        with pytest.raises(NotProvenError, match=f"different .*{message}"):
            publish_to(registry, [images[0], other], tmp_path)
        assert registry.asked("POST|PUT|PATCH") == 0


def test_stand_in_releases_of_two_architectures_differ(tmp_path: Path) -> None:
    """A stand-in release is made for one architecture: a rehearsal with two of them publishes."""
    made = [
        sealed(tmp_path, architecture, stand_ins=True, checksums=letter * 64)
        for architecture, letter in zip(Architecture, "bc", strict=True)
    ]
    with fake_registry() as registry:
        publish_to(registry, made, tmp_path / "out")
        assert named(registry) == {VERSION, "latest"}


def test_page_says_first_that_the_base_gets_no_fixes(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """The line after the title says so, once for both architectures."""
    words = "alpine 3.19.9 has had no security fixes since 2025-11-01"
    old = [replace(image, scan={**image.scan, "unsupported": words}) for image in images]
    with fake_registry() as registry:
        page = render_page(publish_to(registry, old, tmp_path), None)
    assert page.splitlines()[2] == f"> **{words}.**"
    assert page.count(words) == 1


def test_fr_018_page_names_regions_left_out_and_both_images_have_the_same(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """FR-018: the page names regions missing from both images; if they differ, it is refused."""
    few = [_without(image, "us-gov-west-1") for image in images]
    with fake_registry() as registry:
        page = render_page(publish_to(registry, few, tmp_path), None)
        assert (
            "2 of 3 regions; left out: us-gov-west-1" in page.partition("Pull the tested image")[0]
        )
        with pytest.raises(NotProvenError, match="different regions: none and us-gov-west-1"):
            publish_to(registry, [images[0], few[1]], tmp_path, resume=True)


def _without(image: SealedImage, region: str) -> SealedImage:
    proof = replace(image.proof, regions=("us-east-1", "eu-west-1"), left_out=(region,))
    return replace(image, proof=proof)


def test_stand_ins_do_not_leave_this_machine(tmp_path: Path) -> None:
    """Images with stand-ins are published only to a registry on loopback."""
    made = both(tmp_path, stand_ins=True)
    with fake_registry() as registry, client_of(registry) as client:
        client.repository = Repository.from_names("ghcr.io", "owner/image")
        with pytest.raises(UsageError, match=r"stand-ins \(plugin\) to ghcr"):
            make_plan(made, VERSION, client, TagPolicy())
        published = publish_to(registry, made, tmp_path)
        assert "stand-in: plugin" in render_plan(published.plan)


STEPS = [
    pytest.param("GET .*tags/list", id="asked-for-tags"),
    pytest.param("HEAD .*blobs", id="first-blob-asked"),
    pytest.param("POST .*uploads", id="first-upload"),
    pytest.param("PATCH .*uploads", id="first-bytes"),
    pytest.param("PUT .*uploads", id="first-end"),
    pytest.param("PUT .*manifests/sha256:", id="first-manifest"),
    pytest.param("PUT .*manifests/sha256-", id="first-referrers-tag"),
    pytest.param("GET .*blobs/sha256", id="read-back"),
    pytest.param("GET .*manifests/sha256:", id="manifest-read-back"),
    pytest.param(f"PUT .*manifests/{VERSION}", id="version-tag"),
    pytest.param("PUT .*manifests/latest", id="latest-tag"),
]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("way", ["500", "reset", "403"])
def test_registry_down_from_any_step_on_then_resumed(
    step: str, way: str, images: list[SealedImage], tmp_path: Path
) -> None:
    """Registry down from any request on: exit code 8, no wrong tag; --resume completes it."""
    with fake_registry() as registry:
        if registry.referrers_api:
            step = step.replace("PUT .*manifests/sha256-", "GET .*referrers")
        signs = "sha256-" in step or "referrers" in step
        signer = signer_of(registry) if signs else None
        fault = {"500": Fault(step, 500), "403": Fault(step, 403), "reset": Fault(step)}[way]
        fault.reset_after = 0 if way == "reset" else -1
        fault.times = 10**6
        registry.faults = [fault]
        with pytest.raises(RegistryError) as caught:
            publish_to(registry, images, tmp_path, signer=signer)
        assert caught.value.exit_code == 8
        assert registry.host in str(caught.value)
        harmless(registry, index_of(images))
        assert named(registry) == ({VERSION} if "latest" in step else set())
        registry.faults, registry.unseen = [], {}  # later, all writes are seen
        published = publish_to(registry, images, tmp_path, resume=True, signer=signer)
        harmless(registry, published.plan.index.digest)
        assert named(registry) == {VERSION, "latest"}
        assert len(registry.stored) == len(set(registry.stored)), "a blob that was there went again"


def test_500_on_the_third_blob_passes(images: list[SealedImage], tmp_path: Path) -> None:
    """One 500 in the middle of the blobs is retried, and nothing is sent twice."""
    with fake_registry() as registry:
        registry.faults = [fault := Fault("POST .*uploads", 500, skip=2)]
        publish_to(registry, images, tmp_path)
        assert fault.times == 0
        assert len(registry.stored) == len(set(registry.stored)) == len(registry.blobs)
        harmless(registry)


def test_token_that_expires_in_the_middle_is_renewed(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """All tokens are revoked in the middle of the push: a new one is requested, once."""
    with fake_registry(auth="bearer") as registry:
        registry.faults = [Fault("PATCH", expire=True, skip=2)]
        publish_to(registry, images, tmp_path)
        assert registry.asked("/token") >= 2
        harmless(registry)


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(Fault("GET .*blobs/sha256", corrupt=True, skip=1), id="blob"),
        pytest.param(Fault("GET .*blobs/sha256", lie=True), id="digest-of-a-blob"),
        pytest.param(Fault("HEAD .*blobs", status=200), id="blob-that-is-not-there"),
        pytest.param(Fault("PUT .*manifests/sha256:", lie=True), id="digest-of-a-manifest"),
        pytest.param(Fault("GET .*manifests/sha256:", corrupt=True), id="manifest"),
        pytest.param(Fault("GET .*manifests/sha256:", status=404, times=4), id="manifest-lost"),
        pytest.param(Fault(f"PUT .*manifests/{VERSION}", status=201), id="tag-that-was-not-set"),
    ],
)
def test_lie_ends_the_release_before_a_tag(
    lie: Fault, images: list[SealedImage], tmp_path: Path
) -> None:
    """If the registry does not return what was pushed, no tag moves."""
    with fake_registry(auth="") as registry:  # so that the lie is not about a refused token
        lie = replace(lie)  # the parameter is the same object under every profile
        if lie.match.startswith("GET") and not lie.status:
            lie.skip = max(lie.skip, registry.lag)  # what is not seen yet cannot be wrong
        registry.faults = [lie]
        with pytest.raises(RegistryError):
            publish_to(registry, images, tmp_path)
        assert lie.times == 0
        assert named(registry) == set()


def test_tag_that_is_listed_before_it_can_be_read_is_not_new(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """Killed right after it set the tag, the release is run again: it waits for the manifest."""
    with fake_registry(auth="") as registry:
        first = publish_to(registry, images, tmp_path)
        registry.faults = [lost := Fault(f"GET .*manifests/{VERSION}$", 404, times=3)]
        again = publish_to(registry, images, tmp_path, resume=True)
        assert again.plan.index == first.plan.index
        assert lost.times == 0
        registry.faults = [Fault(f"GET .*manifests/{VERSION}$", 404, times=10**6)]
        with pytest.raises(RegistryError, match="is listed but has no manifest"):
            publish_to(registry, images, tmp_path, resume=True)


def test_resumed_release_is_not_signed_twice(images: list[SealedImage], tmp_path: Path) -> None:
    """The run that failed after its signature: --resume verifies it and adds no second one."""
    made: list[int] = []
    with fake_registry() as registry:
        registry.faults = [Fault(f"PUT .*manifests/{VERSION}", 403)]
        for resume, fails in ((False, True), (True, False), (False, False)):
            signer = signer_of(registry)
            with pytest.raises(RegistryError) if fails else contextlib.nullcontext():
                publish_to(registry, images, tmp_path, signer=signer, resume=resume)
            log = signer.cosign.log
            made.append(sum(command[1] == "attest-blob" for command in log))
            assert sum(command[1] == "verify" for command in log) == 1 + len(REGIONS)
            verified = sum(command[1] == "verify-attestation" for command in log)
            assert verified == 9 + 4 * len(REGIONS)
    # Signature and, for each architecture, provenance, SBOM, proof; of a region no proof.
    signed = 7 + 3 * len(REGIONS)
    assert made == [signed, 0, signed]


def test_signature_of_another_key_is_made_again(images: list[SealedImage], tmp_path: Path) -> None:
    """A rehearsal's key ends with its run: what the resumed run signed cannot be verified."""
    with fake_registry() as registry:
        publish_to(registry, images, tmp_path, signer=signer_of(registry))
        (tmp_path / "attestations" / "cosign.pub").write_text("ANOTHER", encoding="utf-8")
        signer = signer_of(registry)
        publish_to(registry, images, tmp_path, signer=signer, resume=True)
        made = sum(command[1] == "attest-blob" for command in signer.cosign.log)
        assert made == 7 + 3 * len(REGIONS)


@pytest.mark.parametrize(
    ("number", "word"),
    [
        pytest.param(0, "cosign/sign", id="signature"),
        pytest.param(1, "slsa.dev", id="provenance"),
        pytest.param(5, "cyclonedx", id="sbom"),
        pytest.param(6, "image-proof", id="proof"),
    ],
)
def test_attestation_that_is_not_in_the_registry_ends_the_release(
    number: int, word: str, images: list[SealedImage], tmp_path: Path
) -> None:
    """What cosign finds is compared, statement by statement: one less, and no tag moves."""
    with fake_registry() as registry:
        real = registry.attached

        def without_one(digest: str) -> list[str]:
            found = real(digest)
            return found[:number] + found[number + 1 :] if len(found) == 7 else found

        registry.attached = without_one  # type: ignore[method-assign]
        with pytest.raises(RegistryError, match=rf"every statement of type .*{word}"):
            publish_to(registry, images, tmp_path, signer=signer_of(registry))
        assert named(registry) == set()


@pytest.mark.parametrize("how", ["key", "keyless"])
@pytest.mark.parametrize("breaks", ["attest-blob", "verify", "verify-attestation"])
def test_cosign_that_fails_moves_no_tag(
    breaks: str, how: str, images: list[SealedImage], tmp_path: Path
) -> None:
    """Neither a signature that cannot be made nor one that cannot be verified is published."""
    with fake_registry() as registry:
        signer = replace(signer_of(registry), how=how, identity=SIGNED_BY)
        signer = replace(signer, cosign=replace(signer.cosign, breaks=breaks))
        with pytest.raises(CommandError, match=f"no: {breaks}"):
            publish_to(registry, images, tmp_path, signer=signer)
        assert named(registry) == set()


def test_secrets_are_on_no_command_line_of_cosign(
    images: list[SealedImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key and password are in its environment, the registry's password in a private file."""
    monkeypatch.setenv("COSIGN_PASSWORD", "the-password-of-the-key")
    with fake_registry() as registry:
        held = {"COSIGN_PRIVATE_KEY": Secret("the-private-half")}
        signer = replace(signer_of(registry), held=held)
        published = publish_to(registry, images, tmp_path, signer=signer)
        cosign = signer.cosign
        given = [e for e in cosign.environs if e]  # creating the signing config needs no key
        assert len(given) == 18 + 8 * len(REGIONS), "the key, 7 signatures, 10 verifications, …"
        assert all(e["COSIGN_PRIVATE_KEY"] == "the-private-half" for e in given)
        assert len(cosign.logins) == 10 + 5 * len(REGIONS)
        for mode, text in cosign.logins:
            assert mode == 0o600
            assert list(json.loads(text)["auths"]) == [registry.host]
    told = json.dumps(cosign.log) + render_page(published, None) + repr(held)
    told += "".join(path.read_text("utf-8") for path in tmp_path.rglob("*.json"))
    for secret in ("the-password-of-the-key", "the-private-half", PASSWORD):
        assert secret not in told


def test_unsigned_release_attaches_nothing(images: list[SealedImage], tmp_path: Path) -> None:
    """Nobody could verify it; the page says that, and why."""
    with fake_registry() as registry:
        published = publish_to(registry, images, tmp_path, signer=UNSIGNED)
        assert registry.attached(published.plan.index.digest) == []
        assert not [tag for tag in registry.tags if tag.startswith("sha256-")]
        page = render_page(published, None)
    assert "not signed: a test. Compare the digest" in page
    assert "cosign" not in page


def test_trial_that_fails_moves_no_tag(images: list[SealedImage], tmp_path: Path) -> None:
    """If the image cannot be pulled and run, it stays untagged."""

    def fails(_: Plan) -> str:
        raise RegistryError("the pulled image does not start")

    with fake_registry() as registry:
        with pytest.raises(RegistryError, match="does not start"):
            publish_to(registry, images, tmp_path, trial=fails)
        assert named(registry) == set()


def test_second_release_at_once_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    """A concurrent release of the same version, or to the same output, is refused."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with only_release(VERSION, "ghcr.io/a/b", tmp_path / "one"):
        with (
            pytest.raises(TagConflictError, match=r"is releasing .* to ghcr"),
            only_release(VERSION, "ghcr.io/a/b", tmp_path / "two"),
        ):
            pass
        with (
            pytest.raises(
                TagConflictError, match=r"another release on this machine is using .*one"
            ),
            only_release("v9.9.9", "ghcr.io/a/b", tmp_path / "one"),
        ):
            pass
        with only_release("v9.9.9", "ghcr.io/a/b", tmp_path / "two"):
            pass
    with only_release(VERSION, "ghcr.io/a/b", tmp_path / "one"):
        pass


def test_record_of_another_release_is_not_continued(tmp_path: Path) -> None:
    """--resume with another version, or without a record, is refused with a reason."""
    with pytest.raises(UsageError, match="no release to resume"):
        Record.load(tmp_path, VERSION, "r")
    Record.new(tmp_path, VERSION, "r", ())
    with pytest.raises(UsageError, match=r"is for v1\.2\.3 to r, not v9\.9\.9 to r"):
        Record.load(tmp_path, "v9.9.9", "r")


def test_disk_that_is_full_is_said(
    images: list[SealedImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without space for the record: a message with the fix, and no tag."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "release.json")

    with fake_registry() as registry:
        monkeypatch.setattr(Record, "done", full)
        with pytest.raises(HarnessError, match=r"release\.json: No space left.*--resume"):
            publish_to(registry, images, tmp_path)
        assert named(registry) == set()


@pytest.mark.parametrize("index", [b"{", b"[]", b'{"manifests": [1]}', b'{"manifests": [{}]}'])
def test_release_of_another_tool_has_no_sizes(
    index: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index in another form tells no sizes, but a defect of the client is not hidden."""
    with fake_registry() as registry, client_of(registry) as client:
        monkeypatch.setattr(client, "manifest", lambda _: index)
        assert sizes_of(client, "v1.2.2") is None
        monkeypatch.setattr(client, "manifest", None)
        with pytest.raises(TypeError):
            sizes_of(client, "v1.2.2")


def test_page_and_results_say_what_is_in_the_registry(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """The page has digests, sizes compared with the previous release, stand-ins and artifacts."""
    with fake_registry() as registry, client_of(registry) as client:
        publish_to(
            registry, both(tmp_path / "a", version="v1.2.2", seed=9), tmp_path, version="v1.2.2"
        )
        sizes = sizes_of(client, "v1.2.2")
        assert sizes is not None
        assert set(sizes) == {"amd64", "arm64"}
        published = publish_to(registry, images, tmp_path, signer=signer_of(registry))
        page = render_page(published, ("v1.2.2", sizes))
        write_results(published, page, tmp_path, {"GITHUB_STEP_SUMMARY": str(tmp_path / "sum")})
    text = (tmp_path / "release.md").read_text(encoding="utf-8")
    assert f"docker pull {published.plan.repository}@{published.plan.index.digest}" in text
    assert "change since v1.2.2" in text
    assert "/blobs/" not in text, "a blob's link needs a token"
    for command in published.verification:
        assert f"$ {shlex.join(command)}" in text
    assert "| SBOM | linux/arm64, index | `https://cyclonedx.org/bom` |" in text
    assert "| us-east-1 |" in text and " B) |" in text
    assert (tmp_path / "sum").read_text(encoding="utf-8") == text
    proof = json.loads((tmp_path / "proof-arm64.json").read_bytes())
    manifest = images[1].image.manifest.digest
    assert proof["image"]["repo_digests"] == [f"{registry.host}/owner/image@{manifest}"]


SIGNED_BY = "https://github.com/owner/image/.github/workflows/docker-publish.yml@refs/tags/v1.2.3"


FOREIGN = [
    SIGNED_BY.replace("owner/image", "evil/image"),
    SIGNED_BY.replace("owner/image", "owner/other"),
    SIGNED_BY.replace("docker-publish.yml", "ci.yml"),
    SIGNED_BY.replace("docker-publish.yml", "docker-publishxyml"),
    SIGNED_BY.replace("v1.2.3", "v1.2.4"),
    SIGNED_BY.replace("tags/v1.2.3", "heads/v1.2.3"),
    SIGNED_BY + "0",
    "https://evil.example/" + SIGNED_BY,
]


def test_page_tells_to_accept_no_foreign_identity(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """The printed command accepts this repository, workflow and tag, and nothing else."""
    with fake_registry() as registry:
        signer = replace(signer_of(registry), how="keyless", offline=False, identity=SIGNED_BY)
        page = render_page(publish_to(registry, images, tmp_path, signer=signer), None)
    commands = [line.removeprefix("$ ") for line in page.splitlines() if "$ cosign" in line]
    assert len(commands) == 4
    for words in map(shlex.split, commands):
        accepted = words[words.index("--certificate-identity-regexp") + 1]
        # cosign searches, as Go's regexp.MatchString does.
        assert re.search(accepted, SIGNED_BY)
        assert [foreign for foreign in FOREIGN if re.search(accepted, foreign)] == []
    github = next(line for line in page.splitlines() if line.startswith("$ gh attestation verify"))
    assert f"--repo owner/image --cert-identity {SIGNED_BY}" in github


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault("GET .*referrers", 303, headers={"Location": "/login"}), id="web-page"),
        *(
            pytest.param(Fault("GET .*referrers", status), id=str(status))
            for status in (200, 400, 404, 405, 406, 429)
        ),
        pytest.param(Fault("GET .*referrers", 429, headers={"Retry-After": "900"}), id="429-long"),
    ],
)
def test_registry_without_referrers_api_gets_the_tag_schema(
    fault: Fault, images: list[SealedImage], tmp_path: Path
) -> None:
    """Whatever it answers instead of a list, the artifacts are listed by tag, and it is published.

    The status 200 comes with JSON that is no index. /login on this host answers 200 with `{}`.
    """
    fault.times = 10**6
    with fake_registry(referrers_api=False) as registry:
        registry.faults = [fault]
        publish_to(registry, images, tmp_path, signer=signer_of(registry))
        assert named(registry) == {VERSION, "latest"}
        harmless(registry)


def test_redirect_of_referrers_to_another_host_is_not_followed(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """ghcr.io answers 303 to github.com: that host is never asked, and gets no token."""
    with (
        fake_registry(auth="basic", referrers_api=False) as registry,
        fake_registry() as elsewhere,
    ):
        page = {"Location": f"{elsewhere.url}/owner/packages"}
        registry.faults = [Fault("GET .*referrers", 303, headers=page, times=10**6)]
        publish_to(registry, images, tmp_path, signer=signer_of(registry))
        assert elsewhere.log == []
        assert named(registry) == {VERSION, "latest"}


FAULTS = st.builds(
    Fault,
    match=st.sampled_from(
        ["GET", "HEAD", "POST", "PATCH", "PUT .*uploads", "PUT .*manifests", "manifests", "."]
    ),
    status=st.sampled_from([0, 0, 0, 400, 401, 403, 404, 416, 429, 500, 503]),
    reset_after=st.sampled_from([-1, -1, 0, 100, 5000]),
    lose=st.booleans(),
    lie=st.booleans(),
    corrupt=st.booleans(),
    truncate=st.booleans(),
    expire=st.booleans(),
    skip=st.integers(0, 40),
    times=st.integers(1, 4),
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(faults=st.lists(FAULTS, max_size=4), api=st.booleans())
def test_no_way_of_misbehaving_leads_to_a_wrong_tag(
    images: list[SealedImage], faults: list[Fault], api: bool
) -> None:
    """However the registry misbehaves, the release succeeds or fails without a wrong tag."""
    index = index_of(images)
    with (
        tempfile.TemporaryDirectory() as output,
        fake_registry(auth="bearer", referrers_api=api) as registry,
    ):
        registry.faults = faults
        with contextlib.suppress(HarnessError):
            publish_to(registry, images, Path(output))
            assert named(registry) == {VERSION, "latest"}
        harmless(registry, index)
        registry.faults = []
        publish_to(registry, images, Path(output))
        assert named(registry) == {VERSION, "latest"}
        harmless(registry, index)
