"""The files of the stand-in cluster's two nodes, without starting anything."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from harness.stand_ins.cluster.settings import PLACES, PODS, Place, Settings, new_tokens

TOKENS = new_tokens()


def written(directory: Path, place: Place) -> Path:
    """Return the /run of a node whose files are written."""
    files = Settings(run=directory, cgroup="box", place=place, tokens=TOKENS)
    files.write()
    files.write_access(b"certificate")
    return directory


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_every_node_is_itself(place: Place, tmp_path: Path) -> None:
    """A kubelet uses its own identity, its pods get its addresses, and it finds the API server."""
    run = written(tmp_path, place)
    config = json.loads((run / "kubernetes" / "kubelet.kubeconfig").read_text())
    assert config["users"][0]["user"]["token"] == TOKENS[place.name]
    assert config["clusters"][0]["cluster"]["server"] == f"https://{PLACES[0].address}:6443"
    (plugin,) = json.loads((run / "cni" / "10-ptp.conflist").read_text())["plugins"]
    assert plugin["ipam"]["ranges"] == [[{"subnet": place.pods}]]
    for path in (run / "kubernetes").glob("*.kubeconfig"):
        assert path.stat().st_mode & 0o077 == 0


def test_nodes_share_nothing() -> None:
    """Addresses of nodes and pods differ, and every pod has an address of the cluster's range."""
    assert len({place.address for place in PLACES}) == len(PLACES)
    networks = [IPv4Network(place.pods) for place in PLACES]
    assert not any(a.overlaps(b) for a in networks for b in networks if a is not b)
    assert all(network.subnet_of(IPv4Network(PODS)) for network in networks)


def test_tokens_are_written_for_the_api_server_alone(tmp_path: Path) -> None:
    """Only the first node has the file with every user's token."""
    run = written(tmp_path, PLACES[1])
    assert not (run / "kubernetes" / "tokens.csv").exists()
    Settings(run=run, cgroup="box", place=PLACES[0], tokens=TOKENS).write_users()
    assert (run / "kubernetes" / "tokens.csv").stat().st_mode & 0o077 == 0
