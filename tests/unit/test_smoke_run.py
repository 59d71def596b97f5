"""A smoke test on a given cluster: its report, what it may evict, and what its limits count."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

import pytest

from harness.core.errors import HarnessError
from harness.core.proof import Status
from harness.core.recorder import Observation, Recorder
from harness.core.regions import load_regions
from harness.engine.provision import Engine
from harness.kubernetes import acceptance, drain, images
from harness.kubernetes.acceptance import SmokeOptions, smoke
from harness.kubernetes.autoscaling import _quantity
from harness.kubernetes.clusters import Cluster
from harness.kubernetes.images import save_images, save_regional
from harness.kubernetes.kubectl import Kubectl
from harness.kubernetes.names import REGION_LABEL
from harness.kubernetes.split import _check_images
from harness.kubernetes.stage import Stage, has_started, seconds_to_ready

from .release.made import REGIONS, FakeDocker
from .release.saved import layers, saved

_NODE = {
    "metadata": {"name": "node"},
    "spec": {},
    "status": {
        "nodeInfo": {
            "kubeletVersion": "v1.33.0",
            "containerRuntimeVersion": "containerd://2.0",
            "kernelVersion": "6.1",
            "osImage": "Linux",
        },
        "capacity": {"cpu": "2", "memory": "1024Ki"},
    },
}


class Notes:
    """A kubectl that records its arguments and finds two nodes and one pod."""

    namespace = "finfocus-smoke-1"

    def __init__(self) -> None:
        self.calls: list[Sequence[str]] = []

    def run(self, *arguments: str, **_: float) -> str:
        self.calls.append(arguments)
        return ""

    def items(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        if kind == "nodes":
            return [_NODE, _NODE]
        return [_pod()] if kind == "pods" else []


def _pod(*, started: str = "2026-01-01T00:02:00Z", ready: str = "2026-01-01T00:02:08Z") -> Any:
    return {
        "metadata": {"name": "pod", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"nodeName": "node"},
        "status": {
            "containerStatuses": [
                {"imageID": "sha256:1", "state": {"running": {"startedAt": started}}}
            ],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ready}],
        },
    }


def _stage(kubectl: Notes, recorder: Recorder, directory: Path) -> Stage:
    cluster = Cluster(kubectl=cast("Kubectl", kubectl), load=None, own=False)
    values = {"cluster": cluster, "kubectl": cluster.kubectl, "image": "image:tag"}
    given = {"regions": load_regions(), "recorder": recorder, "directory": directory}
    return Stage(**{**dict.fromkeys(Stage.__dataclass_fields__), **values, **given})  # type: ignore[arg-type]


def _open(directory: Path, when: str, error: HarnessError) -> Callable[..., Any]:
    @contextmanager
    def opened(
        cluster: Cluster, _image: str, _regions: Any, recorder: Recorder, **_: object
    ) -> Iterator[Stage]:
        with recorder.check("US-1", "a check before the trouble"):
            pass
        yield _stage(cast("Notes", cluster.kubectl), recorder, directory)
        if when == "clean-up":
            raise error

    return opened


@pytest.mark.parametrize("when", ["clean-up", "between two checks"])
def test_error_outside_a_check_never_loses_the_report(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clean-up that fails is a failed check beside the others, not an error without a report."""
    error = HarnessError("namespace finfocus-smoke-1 was not removed")

    def story(_: Stage) -> bool:
        if when == "between two checks":
            raise error
        return False

    cluster = Cluster(kubectl=cast("Kubectl", Notes()), load=None, own=False)
    monkeypatch.setattr(acceptance, "given_cluster", lambda _: cluster)
    monkeypatch.setattr(acceptance, "open_stage", _open(tmp_path, when, error))
    monkeypatch.setattr(acceptance, "tell_story", story)
    proof = smoke(None, "image:tag", load_regions(), SmokeOptions(context="theirs"))
    found = {check.title: check for check in proof.checks}
    assert found["a check before the trouble"].status is Status.PASSED
    (failed,) = (check for check in proof.checks if check.status is Status.FAILED)
    assert str(error) in failed.detail
    assert not proof.proven


def test_error_of_the_run_is_raised_although_the_clean_up_fails_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A failing clean-up does not replace the reason why the run ended."""

    def fail() -> None:
        raise HarnessError("the cluster was not removed")

    def run() -> None:
        with acceptance._removed_afterwards(Recorder(quiet=True)) as stack:
            stack.callback(fail)
            raise HarnessError("no cluster")

    with pytest.raises(HarnessError, match="no cluster"):
        run()
    assert "the cluster was not removed" in capsys.readouterr().err


def test_drain_evicts_only_the_pods_of_this_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kubectl drain` looks in every namespace: the selector must not match other installations."""
    kubectl = Notes()
    stage = _stage(kubectl, Recorder(quiet=True), tmp_path)
    monkeypatch.setattr(drain, "under_load", lambda *_: nullcontext(Observation()))
    monkeypatch.setattr(Stage, "await_ready", lambda *_: [])
    drain.drain_node(stage, allowed=True)
    (command,) = (call for call in kubectl.calls if call[0] == "drain")
    assert f"--pod-selector=finfocus.com/smoke-run={kubectl.namespace}" in command
    assert ("uncordon", "node") in kubectl.calls


@pytest.mark.parametrize(
    ("version", "platform"),
    [
        pytest.param("1.50", {"os": "linux", "architecture": "arm64"}, id="with-platforms"),
        pytest.param("1.41", None, id="old-engine"),
    ],
)
def test_one_platform_of_the_image_is_saved(
    version: str, platform: dict[str, str] | None, tmp_path: Path
) -> None:
    """kind cannot load an archive that lists platforms whose layers it lacks."""
    asked: dict[str, Any] = {}

    def get(url: str, *, params: dict[str, Any], **_: bool) -> SimpleNamespace:
        asked.update(params, url=url)
        return SimpleNamespace(iter_content=lambda _: [b"arch", b"ive"])

    api = SimpleNamespace(
        api_version=version, _url=lambda path: path, _get=get, _raise_for_status=lambda _: None
    )
    facts = SimpleNamespace(attrs={"Os": "linux", "Architecture": "arm64"})
    client = SimpleNamespace(api=api, images=SimpleNamespace(get=lambda _: facts))
    engine = cast("Engine", SimpleNamespace(client=client))
    archive = save_images(engine, ["image:new", "image:old"], tmp_path)
    assert archive.read_bytes() == b"archive"
    assert (asked["url"], asked["names"]) == ("/images/get", ["image:new", "image:old"])
    assert json.loads(asked.get("platform", "null")) == platform


def test_images_of_regions_are_named_as_in_a_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive has each region of each image once, under the names that nodes look up."""
    image_id, data = saved(layers([region.name for region in REGIONS]))
    engine = cast("Engine", SimpleNamespace(client=FakeDocker(data)))
    monkeypatch.setattr(images, "find_image", lambda *_: SimpleNamespace(id=image_id))
    references = ["image:new", "127.0.0.1:5000/owner/image:old"]
    with tarfile.open(save_regional(engine, references, REGIONS, tmp_path)) as tar:
        index, combined = (
            json.load(cast("IO[bytes]", tar.extractfile(f"{name}.json")))
            for name in ("index", "manifest")
        )
        names = tar.getnames()
    assert len(names) == len(set(names)), "a layer is not written again for each image"
    suffixes = [f"-{region.name}" for region in REGIONS]
    assert [tag for entry in combined for tag in entry["RepoTags"]] == [
        f"{reference}{suffix}" for reference in references for suffix in suffixes
    ]
    assert [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]] == [
        *(f"docker.io/library/image:new{suffix}" for suffix in suffixes),
        *(f"127.0.0.1:5000/owner/image:old{suffix}" for suffix in suffixes),
    ]


@pytest.mark.parametrize(
    ("suffix", "image_ids", "status"),
    [
        pytest.param("-{}", "{}", Status.PASSED, id="own-images"),
        pytest.param("", "one", Status.FAILED, id="one-image"),
        pytest.param("-{}", "one", Status.FAILED, id="one-image-under-many-names"),
    ],
)
def test_deployments_of_regions_must_run_their_own_images(
    suffix: str, image_ids: str, status: Status, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image with all regions, which also works, fails the check."""
    recorder, kubectl = Recorder(quiet=True), Notes()
    pods = [
        {
            "metadata": {"labels": {REGION_LABEL: region.name}},
            "spec": {"containers": [{"image": "image:tag" + suffix.format(region.name)}]},
            "status": {
                "containerStatuses": [{"image": "?", "imageID": image_ids.format(region.name)}]
            },
        }
        for region in load_regions()
        for _ in range(2)
    ]
    monkeypatch.setattr(kubectl, "items", lambda *_: pods)
    _check_images(_stage(kubectl, recorder, tmp_path))
    (check,) = recorder.checks
    assert check.status is status


class Images:
    """An engine's images: tags that are added and removed."""

    def __init__(self) -> None:
        self.tags = {"image:new"}
        self.attrs = {"Os": "linux", "Architecture": "amd64"}

    def get(self, _: str) -> Images:
        return self

    def tag(self, repository: str, tag: str) -> None:
        self.tags.add(f"{repository}:{tag}")

    def remove(self, reference: str) -> None:
        self.tags.remove(reference)


@pytest.mark.parametrize("fails", [False, True], ids=["loads", "cannot-load"])
def test_upgrade_starts_from_the_image_under_another_name(
    monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    """Without an earlier release, the other name is saved with the image and then removed."""
    held, written = Images(), []
    engine = cast("Engine", SimpleNamespace(client=SimpleNamespace(images=held)))

    def save(_: Engine, references: list[str], *rest: Any) -> Path:
        written.append((*references, *rest[:-1]))
        assert set(references) <= held.tags
        return cast("Path", rest[-1])

    def load(_: Path) -> None:
        if fails:
            raise HarnessError("the node is full")

    monkeypatch.setattr(acceptance, "save_images", save)
    monkeypatch.setattr(acceptance, "save_regional", save)
    both, regions = ("image:new", "finfocus-smoke:previous"), load_regions()
    with pytest.raises(HarnessError, match="full") if fails else nullcontext():
        acceptance._load(engine, load, *both, regions)
    assert written == ([both] if fails else [both, (*both, regions)])
    assert held.tags == {"image:new"}


def test_image_to_upgrade_from_is_pulled_if_it_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`--upgrade-from` may name an image that only a registry has; it keeps its name."""
    sought: list[str] = []
    engine = cast("Engine", SimpleNamespace(client=None))
    monkeypatch.setattr(acceptance, "find_image", lambda _, reference: sought.append(reference))
    monkeypatch.setattr(acceptance, "save_images", lambda *given: given[-1])
    acceptance._load(engine, lambda _: None, "image:new", "host/image:old", ())
    assert sought == ["host/image:old"]


@pytest.mark.parametrize(
    ("text", "millicores"),
    [("12345678n", 12.345678), ("1500u", 1.5), ("20m", 20), ("2", 2000), ("0", 0)],
)
def test_cpu_of_the_metrics_api_is_read(text: str, millicores: float) -> None:
    """The metrics API answers in nanocores, or any other unit of a Kubernetes quantity."""
    assert _quantity(text) == pytest.approx(millicores)


def test_ready_limit_counts_from_the_start_of_the_container() -> None:
    """A pod that was created at 0:00 and pulled for two minutes took 8 s to become ready."""
    assert seconds_to_ready(_pod()) == 8


@pytest.mark.parametrize(
    ("states", "started"),
    [
        pytest.param({"state": {"waiting": {"reason": "ContainerCreating"}}}, False, id="pulls"),
        pytest.param({"state": {"running": {}}}, True, id="runs"),
        pytest.param(
            {"state": {"waiting": {}}, "lastState": {"terminated": {}}}, True, id="crashes"
        ),
        pytest.param({}, False, id="unknown"),
    ],
)
def test_pod_that_still_pulls_has_not_started(states: dict[str, Any], *, started: bool) -> None:
    """Time for the pull is allowed until the first container runs."""
    assert has_started({"status": {"containerStatuses": [states]}}) is started
    assert not has_started({"status": {}})
