"""A kind cluster with a fake `kind` that records its arguments."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.core.errors import EnvironmentMissingError
from harness.core.labels import own_identity
from harness.kubernetes import clusters, kind
from harness.kubernetes.clusters import ClusterKind, made_cluster

_KIND = """\
#!/bin/sh
printf '%s\\n' "$*" >>"$KIND_NOTES"
for argument; do
  case $argument in */config.yaml) cat "$argument" >>"$KIND_NOTES" ;; esac
done
[ "$1 $2" != 'create cluster' ] || [ -z "$KIND_REFUSES" ] || { echo "$KIND_REFUSES" >&2; exit 1; }
"""


class Notes:
    """The arguments of the fake kind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notes:
    """A fake `kind`, which records its arguments, and `kubectl` on PATH."""
    for name, text in (("kind", _KIND), ("kubectl", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("KIND_NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("KIND_REFUSES", "")
    return Notes(tmp_path / "notes")


def test_cluster_is_made_loaded_and_deleted(notes: Notes) -> None:
    """Two workers, the archive on both, and the cluster is deleted after the block."""
    with made_cluster(ClusterKind.AUTO) as cluster:
        assert cluster.own
        assert cluster.stand_in is None
        assert cluster.load is not None
        cluster.load(Path("image.tar"))
        (create, *config, load) = notes.lines()
        name = create.split()[3]
        assert create.startswith(f"create cluster --name {name} --kubeconfig ")
        assert [line.split()[-1] for line in config if "role" in line] == [
            "control-plane",
            "worker",
            "worker",
        ]
        workers = f"{name}-worker,{name}-worker2"
        assert load == f"load image-archive image.tar --name {name} --nodes {workers}"
        kubeconfig = Path(cluster.kubectl.options[0].partition("=")[2])
        assert kubeconfig.parent.exists()
    assert notes.lines()[-1] == f"delete cluster --name {name} --kubeconfig {kubeconfig}"
    assert not kubeconfig.parent.exists()


def test_cluster_that_cannot_be_made_is_said_and_deleted(
    notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind's own message is shown, and the partial cluster is deleted."""
    monkeypatch.setenv("KIND_REFUSES", "no such node image")
    with (
        pytest.raises(
            EnvironmentMissingError, match=r"kind cannot create.*\n.*\nno such node image"
        ),
        made_cluster(ClusterKind.KIND),
    ):
        pass
    assert notes.lines()[-1].startswith("delete cluster --name ")


def test_stand_in_follows_kind_that_cannot(
    notes: Notes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In auto mode a stand-in cluster is created, with the reason."""
    monkeypatch.setenv("KIND_REFUSES", "no such node image")

    def node() -> None:
        raise EnvironmentMissingError("a node is asked for")

    monkeypatch.setattr(clusters, "stand_in_cluster", node)
    with (
        pytest.raises(EnvironmentMissingError, match="a node is asked for"),
        made_cluster(ClusterKind.AUTO),
    ):
        pass
    assert "a stand-in cluster instead of kind: no such node image" in capsys.readouterr().err
    assert notes.lines()[-1].startswith("delete cluster --name ")


def test_nodes_tell_whose_they_are(ended: str) -> None:
    """Nodes of ended runs, of live runs and of other owners are told apart."""
    mine, left = kind._name(own_identity()), kind._name(ended)
    assert len(f"{left}-control-plane") <= 63
    found = {
        name: kind.is_ours(labels) and kind.is_orphan(labels)
        for name in (mine, left, "kind", "finfocus-mine", "")
        for labels in [{kind.CLUSTER_LABEL: name} if name else {}]
    }
    assert found == {mine: False, left: True, "kind": False, "finfocus-mine": False, "": False}
