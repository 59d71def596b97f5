"""Whether the shipped network policy is enforced: callers come in, nothing goes out."""

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
# What a policy forbids is dropped by one network and rejected by another. The API server's address
# is in every pod's environment, and no policy selects it.
_CONNECTS = """
timeout 3 bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash \
  "${1:-$KUBERNETES_SERVICE_HOST}" "${2:-$KUBERNETES_SERVICE_PORT}" 2>/dev/null && echo yes
exit 0
"""


def check_policy(stage: Stage) -> None:
    """A pod without a policy reaches a region and the API server; a pod under test must not.

    Whether the cluster's network enforces policies at all is told by that other pod, once a policy
    of the test's own forbids it the same; where none is enforced, the check is skipped.
    """
    with stage.recorder.check("US-1", TITLE, scenario="deploy") as finding:
        pod = stage.pods()[0]
        region = (pod["status"]["podIP"], str(stage.regions[0].port))

        def connects(name: str, *target: str) -> bool:
            return "yes" in stage.kubectl.execute(name, _CONNECTS, *target)

        with helper_pod(stage, NAME, _SLEEP):
            finding.expect(connects(NAME, *region), "no caller reaches a region")
            if not connects(NAME):
                finding.fail("a pod without a policy does not reach the API server")
                return
            with _denied(stage):
                seconds = _await_effect(finding, lambda: connects(NAME))
            finding.measured = f"callers come in, nothing goes out; in force after {seconds:.1f} s"
        if connects(pod["metadata"]["name"]):
            finding.fail("a pod under test reaches the API server: it may send what it likes")


@contextmanager
def _denied(stage: Stage) -> Iterator[None]:
    """The policy that forbids the helper everything, for the block's time."""
    manifest = stage.directory / "deny.json"
    manifest.write_text(json.dumps(_DENY), encoding="utf-8")
    stage.kubectl.apply(manifest)
    try:
        yield
    finally:
        stage.kubectl.run("delete", "networkpolicy", NAME)


def _await_effect(finding: Observation, connects: Callable[[], bool]) -> float:
    """Seconds until `connects` is false; where it stays true, the check is skipped."""
    began = time.monotonic()
    try:
        wait_until(
            lambda: not connects(),
            timeout=TAKE_EFFECT_SECONDS,
            interval=0.5,
            what="a policy takes effect",
        )
    except WaitTimeoutError:
        finding.skip(
            "the network of this cluster enforces no policy: a pod that may not send anything"
            f" still connects after {TAKE_EFFECT_SECONDS} s"
        )
    return time.monotonic() - began
