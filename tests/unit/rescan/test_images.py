"""Which images are scanned again, by what is in the registry."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from docker.errors import APIError, ImageNotFound

from harness.core.errors import RegistryError
from harness.publish.plan import TagPolicy
from harness.rescan import images
from harness.rescan.images import published, pulled
from tests.unit.release.fake_registry import FakeRegistry, fake_registry
from tests.unit.release.made import VERSION, both, client_of, publish_to

from .findings import image


def _publish(registry: FakeRegistry, root: Path, version: str, seed: int, revision: int = 0) -> str:
    root = root / f"{version}-{revision}"
    made = both(root / "made", version=version, seed=seed)
    policy = TagPolicy(revision=revision)
    done = publish_to(registry, made, root / "out", version=version, policy=policy)
    return done.plan.index.digest


def test_newest_version_its_revisions_and_latest_are_scanned_once_each(tmp_path: Path) -> None:
    """Both platforms of each supported image, each digest once, with all its tags."""
    with fake_registry() as registry, client_of(registry) as client:
        _publish(registry, tmp_path, "v1.2.2", 1)
        _publish(registry, tmp_path, VERSION, 2)
        _publish(registry, tmp_path, VERSION, 3, 1)
        found = published(client)
        first, second = (client.tag_digest(tag) for tag in (VERSION, f"{VERSION}-r1"))
    assert [(i.tags, i.platform, i.newest) for i in found] == [
        ((VERSION,), "linux/amd64", False),
        ((VERSION,), "linux/arm64", False),
        ((f"{VERSION}-r1", "latest"), "linux/amd64", True),
        ((f"{VERSION}-r1", "latest"), "linux/arm64", True),
    ]
    assert len({i.digest for i in found} | {first, second}) == 6, "manifests, not indexes"


def test_latest_that_stayed_on_an_older_version_is_scanned_too(tmp_path: Path) -> None:
    """`latest` is what most users have, so a problem there is open."""
    with fake_registry() as registry, client_of(registry) as client:
        _publish(registry, tmp_path, "v1.2.2", 1)
        made = both(tmp_path / "new", seed=2)
        publish_to(registry, made, tmp_path / "out", policy=TagPolicy(latest=False))
        found = published(client)
    assert [(i.tags, i.newest) for i in found] == [
        *([((VERSION,), True)] * 2),
        *([(("latest",), True)] * 2),
    ]


def test_empty_registry_has_nothing_to_scan() -> None:
    """Before the first release there is nothing to do."""
    with fake_registry() as registry, client_of(registry) as client:
        assert published(client) == []


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"<html>", b"[" * 9999, b"[]", b"{}", b'{"manifests": {}}', b'{"manifests": [1]}'),
        *(b'{"manifests": [{}]}', b'{"manifests": [{"digest": "x", "platform": "linux"}]}'),
        b'{"manifests": [{"digest": "x", "platform": {"os": ["linux"]}}]}',
    ],
)
def test_tag_that_is_no_index_is_an_error(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is under the version's tag instead, the harness did not publish it."""
    with fake_registry() as registry, client_of(registry) as client:
        monkeypatch.setattr(client, "tags", lambda: [VERSION])
        monkeypatch.setattr(client, "tag_digest", lambda _: "sha256:1")
        monkeypatch.setattr(client, "manifest", lambda _: data)
        with pytest.raises(RegistryError, match="is not an index"):
            published(client)
        monkeypatch.setattr(client, "manifest", lambda _: b'{"manifests": []}')
        assert published(client) == []
        monkeypatch.setattr(images, "_platform", None)
        monkeypatch.setattr(client, "manifest", lambda _: b'{"manifests": [{"digest": "x"}]}')
        with pytest.raises(TypeError):  # a defect of ours does not blame the registry
            published(client)


class Engine:
    """An engine that has `there`, and records what it does."""

    def __init__(self, *there: str, refuses: bool = False) -> None:
        self.there, self.refuses = set(there), refuses
        self.images = SimpleNamespace(get=self.get, remove=self.remove)
        self.api = SimpleNamespace(pull=self.pull)
        self.calls: list[str] = []

    def get(self, name: str) -> None:
        if name not in self.there:
            raise ImageNotFound("no such image")

    def pull(self, repository: str, *, tag: str, platform: str, **_: object) -> list[object]:
        if self.refuses:
            raise APIError("denied", explanation="denied")
        self.calls.append(f"pull {repository}@{tag} {platform}")
        self.there.add(f"{repository}@{tag}")
        return []

    def remove(self, name: str) -> None:
        self.calls.append(f"remove {name}")


def test_pulled_image_is_removed_also_after_a_failure() -> None:
    """Each image has 2 GB; the runner's disk holds one at a time."""
    engine, wanted = Engine(), image(architecture="arm64")
    with suppress(ZeroDivisionError), pulled(cast("Any", engine), wanted, None) as name:
        assert name == wanted.name
        raise ZeroDivisionError
    assert engine.calls == [f"pull {wanted.name} linux/arm64", f"remove {wanted.name}"]


def test_image_that_the_engine_had_stays() -> None:
    """Nothing is removed that the run did not bring."""
    wanted = image()
    engine = Engine(wanted.name)
    with pulled(cast("Any", engine), wanted, None):
        pass
    assert engine.calls == []


def test_image_that_cannot_be_pulled_is_a_registry_error() -> None:
    """The error has the engine's reason."""
    with (
        pytest.raises(RegistryError, match="denied"),
        pulled(cast("Any", Engine(refuses=True)), image(), None),
    ):
        pass
