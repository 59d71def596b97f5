"""A publication that is killed, and two at the same time: no wrong tag, and a second run ends it.

The long forms run in `nox -s registries`.
"""

from __future__ import annotations

import copy
import os
import re
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from harness.publish.plan import TagPolicy
from harness.publish.record import RECORD
from harness.publish.seal import SealedImage
from harness.stand_ins.registry.behaviour import ZOT, Profile

from .fake_cosign import signer_of
from .fake_registry import FakeRegistry, fake_registry
from .made import REGIONS, VERSION, both, is_of_region, publish_to

LONG = pytest.mark.registries
PROFILES = [Profile.GHCR, Profile.DOCKER, ZOT]
STATE = (
    *("blobs", "manifests", "types", "tags", "uploads", "unseen", "tokens", "uses", "answers"),
    *("half", "moves", "stored", "received", "ranges", "log"),
)
"""What a fake registry remembers between requests."""
OLDER, NEWER = "v1.2.3", "v1.2.4"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[SealedImage]:
    """A sealed image for each architecture."""
    return both(tmp_path_factory.mktemp("sealed"))


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> list[SealedImage]:
    """The images of the next version."""
    return both(tmp_path_factory.mktemp("newer"), version=NEWER, seed=9)


def killed(registry: FakeRegistry, images: list[SealedImage], output: Path, after: int) -> bool:
    """Publish in a process that is killed after an answer; return whether it got that far."""
    child = os.fork()
    if child == 0:
        try:
            _dying(after)
            publish_to(registry, images, output, signer=signer_of(registry))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _dying(after: int) -> None:
    """Let this process be killed when the answer with the number `after` arrives."""
    real, number = requests.Session.request, 0

    def request(self: requests.Session, *arguments: Any, **options: Any) -> requests.Response:
        nonlocal number
        answer = real(self, *arguments, **options)
        number += 1
        if number > after:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    requests.Session.request = request  # type: ignore[method-assign]


def check_tags(registry: FakeRegistry, when: str) -> None:
    """Check that no tag names what is incomplete or was not verified before the tag was set."""
    assert registry.half == [], when
    tags = [tag for tag in registry.tags if not tag.startswith("sha256-")]
    if not tags:
        return
    tagged = re.compile(rf"PUT .*/manifests/({VERSION}|latest)")
    first = next(i for i, line in enumerate(registry.log) if tagged.match(line))
    before = "\n".join(registry.log[:first])
    for tag in tags:
        index = registry.tags[tag]
        assert registry.complete(index), f"{tag}, {when}"
        regional = is_of_region(tag)
        assert len(registry.attached(index)) == (5 if regional else 7), f"{tag}, {when}"
        manifests = registry.parts(registry.manifests[index])
        for manifest in manifests:
            assert len(registry.attached(manifest)) == (1 if regional else 3), f"{tag}, {when}"
            assert f"GET /v2/owner/image/manifests/{manifest}" in before, when
            for blob in registry.parts(registry.manifests[manifest]):
                assert f"GET /v2/owner/image/blobs/{blob}" in before, when


def kill_and_finish(
    profile: str, images: list[SealedImage], directory: Path, after: int
) -> FakeRegistry | None:
    """Kill one publication, then finish it; return None if it ended before."""
    output = directory / f"{after}"
    with fake_registry(profile=profile) as registry:
        if not killed(registry, images, output, after):
            return None
        when = f"{profile}, killed after answer {after}: {registry.log[-1]}"
        check_tags(registry, when)
        finish(registry, images, output, when)
        return registry


def finish(registry: FakeRegistry, images: list[SealedImage], output: Path, when: str) -> None:
    """Publish once more, with the record if there is one; check that it is complete."""
    resume = (output / RECORD).exists()
    published = publish_to(registry, images, output, resume=resume, signer=signer_of(registry))
    check_tags(registry, f"finished after: {when}")
    assert published.tags == (VERSION, "latest"), when
    assert registry.tags[VERSION] == registry.tags["latest"] == published.plan.index.digest


@dataclass(frozen=True)
class Moment:
    """Registry and disk just after an answer: what a publication leaves that is killed then."""

    state: dict[str, Any]
    files: dict[Path, bytes]

    @classmethod
    def of(cls, registry: FakeRegistry, output: Path) -> Moment:
        """Copy both."""
        with registry.lock:
            state = {name: copy.deepcopy(getattr(registry, name)) for name in STATE}
        paths = [path for path in output.rglob("*") if path.is_file()]
        return cls(state, {path.relative_to(output): path.read_bytes() for path in paths})

    def restore(self, registry: FakeRegistry, output: Path) -> None:
        """Set both to this moment."""
        for name, value in copy.deepcopy(self.state).items():
            setattr(registry, name, value)
        for path, data in self.files.items():
            (output / path).parent.mkdir(parents=True, exist_ok=True)
            (output / path).write_bytes(data)

    def leaves(self, other: Moment) -> bool:
        """Return whether a second run finds the same as at the `other` moment."""
        content = ("blobs", "manifests", "tags", "uploads", "unseen")
        return self.files == other.files and all(
            self.state[name] == other.state[name] for name in content
        )


def moments_of(
    registry: FakeRegistry,
    images: list[SealedImage],
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> list[Moment]:
    """Publish; return the moment after each answer that the client got."""
    moments: list[Moment] = []
    real = requests.Session.request

    def request(self: requests.Session, *arguments: Any, **options: Any) -> requests.Response:
        answer = real(self, *arguments, **options)
        moments.append(Moment.of(registry, output))
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(requests.Session, "request", request)
        publish_to(registry, images, output, signer=signer_of(registry))
    return moments


def test_killed_publication_leaves_no_unverified_tag(
    images: list[SealedImage], tmp_path: Path
) -> None:
    """In the middle of the blobs and of the attestations; the next test has all answers."""
    for after in (40, 240):
        assert kill_and_finish(Profile.GHCR, images, tmp_path, after)


@pytest.mark.registries
@pytest.mark.parametrize("profile", PROFILES)
def test_publication_killed_at_every_request(
    profile: str, images: list[SealedImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever answer it was killed after: no tag is wrong, and a second run finishes it.

    Answers to reads leave nothing; after such a one the second run would only repeat another.
    """
    with fake_registry(profile=profile) as registry:
        moments = moments_of(registry, images, tmp_path / "first", monkeypatch)
        runs = 0
        for after, moment in enumerate(moments):
            when = f"{profile}, killed after answer {after}: {moment.state['log'][-1]}"
            moment.restore(registry, tmp_path / f"{after}")
            check_tags(registry, when)
            if after and moment.leaves(moments[after - 1]):
                continue
            finish(registry, images, tmp_path / f"{after}", when)
            runs += 1
    print(f"{profile}: killed after each of {len(moments)} answers, {runs} second runs")
    assert len(moments) > 100
    assert runs > 50


def two_at_once(
    profile: str, older: list[SealedImage], newer: list[SealedImage], directory: Path
) -> None:
    """Publish two versions in two threads, which share no lock, as two machines do."""
    with fake_registry(profile=profile) as registry:
        errors: list[BaseException] = []
        ready = threading.Barrier(2)

        def run(version: str, images: list[SealedImage]) -> None:
            try:
                publish_to(
                    registry,
                    images,
                    directory / version,
                    version=version,
                    policy=TagPolicy(floating=True),
                    trial=lambda _: f"both are here: {ready.wait(60)}",
                )
            except BaseException as error:  # shown below
                errors.append(error)
                ready.abort()

        threads = [
            threading.Thread(target=run, args=pair) for pair in ((OLDER, older), (NEWER, newer))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors, errors
        tags = registry.tags
        assert tags["latest"] == tags["v1.2"] == tags["v1"] == tags[NEWER] != tags[OLDER]
        for region in REGIONS:
            assert tags[f"latest-{region.name}"] == tags[f"{NEWER}-{region.name}"]


def test_latest_is_the_newer_of_two_that_are_published_at_once(
    images: list[SealedImage], newer: list[SealedImage], tmp_path: Path
) -> None:
    """Without any lock between them; the next test does it fifty times."""
    two_at_once(Profile.GHCR, images, newer, tmp_path)


@pytest.mark.registries
@pytest.mark.parametrize("profile", PROFILES)
def test_latest_is_the_newer_of_two_fifty_times(
    profile: str, images: list[SealedImage], newer: list[SealedImage], tmp_path: Path
) -> None:
    """Fifty pairs of publications."""
    for number in range(50):
        two_at_once(profile, images, newer, tmp_path / f"{number}")


@pytest.mark.parametrize("moment", ["before-latest", "after-latest"])
def test_latest_that_was_set_too_late_is_handed_over(
    moment: str, images: list[SealedImage], newer: list[SealedImage], tmp_path: Path
) -> None:
    """The newer version appears between the plan of `latest` and the end: it has the last word."""
    with fake_registry() as registry:
        publish_to(registry, newer, tmp_path / "newer", version=NEWER)
        digest = registry.tags.pop(NEWER)
        del registry.tags["latest"]
        old = {"before-latest": "", "after-latest": digest}[moment]

        def appears(tag: str) -> None:
            if tag == "latest" and NEWER not in registry.tags:
                registry.tags[NEWER] = digest
                registry.tags["latest"] = old or registry.tags["latest"]

        registry.on_tag = appears
        published = publish_to(registry, images, tmp_path / "older")
        assert registry.tags["latest"] == digest
        assert published.tags == (VERSION,)


def test_latest_that_an_older_version_takes_is_set_again(
    images: list[SealedImage], newer: list[SealedImage], tmp_path: Path
) -> None:
    """The older version sets it between the newer one's write and its read: no error, set again."""
    with fake_registry() as registry:
        published = publish_to(registry, images, tmp_path / "older")
        old = published.plan.index.digest
        taken: list[str] = []

        def takes(tag: str) -> None:
            if tag == "latest" and not taken:
                taken.append(tag)
                registry.tags[tag], registry.tags["elsewhere"] = old, registry.tags[tag]

        del registry.tags["latest"]
        registry.on_tag = takes
        publish_to(registry, newer, tmp_path / "newer", version=NEWER)
        assert taken
        assert registry.tags["latest"] == registry.tags[NEWER] != old
