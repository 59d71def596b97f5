"""Check that the shipped network policy is enforced: ingress allowed, egress denied."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.core.errors import WaitTimeoutError
from harness.core.recorder import Observation
from harness.core.wait import wait_until
from harness.kubernetes.helper import helper_pod
from harness.kubernetes.stage import Stage

TITLE = "the network policy is enforced"
NAME = "finfocus-smoke-policy"
TAKE_EFFECT_SECONDS = 20
_DENY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": NAME},
    "spec": {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": NAME}},
        "policyTypes": ["Egress"],
    },
}
_SLEEP = "exec {idle}<> <(:); read -r -u $idle"
# Some networks drop forbidden packets, others reject them; the timeout covers both. The API
# server's address is in every pod's environment, and no policy selects it.
_CONNECTS = """
timeout 3 bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash \
  "${1:-$KUBERNETES_SERVICE_HOST}" "${2:-$KUBERNETES_SERVICE_PORT}" 2>/dev/null && echo yes
exit 0
"""


def check_policy(stage: Stage) -> None:
    """Check that a helper pod reaches a region and the API server, but a pod under test does not.

    A policy that denies the helper's egress shows whether the cluster enforces policies at all; if
    it does not, the check is skipped.
    """
    with stage.recorder.check("US-1", TITLE, scenario="deploy") as finding:
        pod = stage.pods()[0]
        region = (pod["status"]["podIP"], str(stage.regions[0].port))

        def connects(name: str, *target: str) -> bool:
            return "yes" in stage.kubectl.execute(name, _CONNECTS, *target)

        with helper_pod(stage, NAME, _SLEEP):
            finding.expect(connects(NAME, *region), "the helper pod cannot reach a region")
            if not connects(NAME):
                finding.fail("the helper pod cannot reach the API server without any policy")
                return
            with _denied(stage):
                seconds = _await_effect(finding, lambda: connects(NAME))
            finding.measured = f"ingress allowed, egress denied; in force after {seconds:.1f} s"
        if connects(pod["metadata"]["name"]):
            finding.fail("a pod under test can reach the API server: its egress is not restricted")


@contextmanager
def _denied(stage: Stage) -> Iterator[None]:
    """Deny all egress of the helper during the block."""
    manifest = stage.directory / "deny.json"
    manifest.write_text(json.dumps(_DENY), encoding="utf-8")
    stage.kubectl.apply(manifest)
    try:
        yield
    finally:
        stage.kubectl.run("delete", "networkpolicy", NAME)


def _await_effect(finding: Observation, connects: Callable[[], bool]) -> float:
    """Return the seconds until `connects` is false; skip the check if it stays true."""
    began = time.monotonic()
    try:
        wait_until(
            lambda: not connects(),
            timeout=TAKE_EFFECT_SECONDS,
            interval=0.5,
            what="the policy takes effect",
        )
    except WaitTimeoutError:
        finding.skip(
            "this cluster does not enforce network policies: a pod whose egress is denied"
            f" still connects after {TAKE_EFFECT_SECONDS} s"
        )
    return time.monotonic() - began
