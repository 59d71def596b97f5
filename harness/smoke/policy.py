"""Whether the shipped network policy is enforced: callers come in, nothing goes out."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import WaitTimeoutError
from harness.smoke.helper import helper_pod
from harness.smoke.stage import Stage
from harness.wait import wait_until

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
# What a policy forbids is dropped by one network and rejected by another.
_CONNECT = """
if timeout 3 bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$1" "$2" 2>/dev/null; then echo yes; fi
"""


def check_policy(stage: Stage) -> None:
    """A pod under test must not reach another, which a pod without a policy does reach.

    Whether the cluster's network enforces policies at all is told by that other pod, once a policy
    of the test's own forbids it the same; where none is enforced, the check is skipped.
    """
    with stage.recorder.check("US-1", TITLE, scenario="deploy") as finding:
        ours, other = stage.pods()[:2]
        target = (other["status"]["podIP"], str(stage.regions[0].port))

        def connects(pod: str) -> bool:
            return "yes" in stage.kubectl.execute(pod, _CONNECT, *target)

        with helper_pod(stage, NAME, _SLEEP):
            if not connects(NAME):
                finding.fail("a pod without a policy does not reach a region")
                return
            began = time.monotonic()
            with _denied(stage):
                try:
                    wait_until(
                        lambda: not connects(NAME),
                        timeout=TAKE_EFFECT_SECONDS,
                        interval=0.5,
                        what="a policy takes effect",
                    )
                except WaitTimeoutError:
                    finding.skip(
                        "the network of this cluster enforces no policy: a pod that may not send"
                        f" anything still connects after {TAKE_EFFECT_SECONDS} s"
                    )
            elapsed = time.monotonic() - began
            finding.measured = f"callers come in, nothing goes out; in force after {elapsed:.1f} s"
        if connects(ours["metadata"]["name"]):
            finding.fail("a pod under test reaches another pod: what it may send is not restricted")


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
