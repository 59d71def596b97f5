"""Ownership of leftovers: an ended run of this machine, or another owner."""

from __future__ import annotations

import json
from pathlib import Path

from harness.core.labels import OWNER, is_orphan, own_identity
from harness.kubernetes.kubectl import Kubectl
from harness.kubernetes.stage import sweep_namespaces

_KUBECTL = """\
#!/bin/sh
printf '%s\\n' "$*" >>"{notes}"
[ "$2" != get ] || cat "{found}"
"""


def elsewhere(identity: str) -> str:
    """The same process ID from a different boot."""
    return f"{identity.rpartition('.')[0]}.00000000-0000-0000-0000-000000000000"


def test_only_what_has_no_owner_any_more_is_an_orphan(ended: str) -> None:
    """Running objects from another boot belong to another machine; exited ones do not."""
    mine = own_identity()
    found = {
        (owner, running): is_orphan({OWNER: owner}, running=running)
        for owner in (mine, ended, elsewhere(mine))
        for running in (True, False)
    }
    assert found == {
        (mine, True): False,
        (mine, False): False,
        (ended, True): True,
        (ended, False): True,
        (elsewhere(mine), True): False,
        (elsewhere(mine), False): True,
    }
    assert not is_orphan({})


def test_namespaces_of_killed_runs_are_removed(tmp_path: Path, ended: str) -> None:
    """In a shared cluster, only namespaces of this machine's ended runs are deleted."""
    owners = {"left": ended, "mine": own_identity(), "other": elsewhere(ended), "unknown": None}
    items = [
        {
            "metadata": {
                "name": name,
                "labels": {"finfocus.com/smoke-owner": owner} if owner else {},
            }
        }
        for name, owner in owners.items()
    ]
    (tmp_path / "found").write_text(json.dumps({"items": items}))
    program, notes = tmp_path / "kubectl", tmp_path / "notes"
    program.write_text(_KUBECTL.format(notes=notes, found=tmp_path / "found"))
    program.chmod(0o755)
    assert sweep_namespaces(Kubectl(program=str(program), options=())) == ["left"]
    assert notes.read_text().splitlines() == [
        "--namespace=default get namespaces --selector=finfocus.com/smoke=true --output=json",
        "--namespace=default delete namespace left --wait=false",
    ]
