"""Helper pods for a smoke test; they run the image under test, which is already loaded."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from harness.core.wait import wait_until
from harness.kubernetes.stage import Stage


@contextmanager
def helper_pod(
    stage: Stage, name: str, script: str, environ: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run a bash script in a pod for the block.

    `name` is the pod's name and its label `app.kubernetes.io/name`.
    """
    manifest = stage.directory / f"{name}.json"
    manifest.write_text(
        json.dumps(_pod(stage.image, name, script, environ or {})), encoding="utf-8"
    )
    stage.kubectl.apply(manifest)
    try:
        wait_until(
            lambda: stage.pod(name)["status"]["phase"] == "Running",
            timeout=stage.pull_seconds,
            interval=0.2,
            what=f"pod {name} runs",
            explain=stage.kubectl.trouble,
        )
        yield
    finally:
        stage.kubectl.run("delete", "pod", name, "--grace-period=0", "--force")


def _pod(image: str, name: str, script: str, environ: Mapping[str, str]) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            # A drain cordons the node that this pod may need, an eviction taints it.
            "tolerations": [{"operator": "Exists"}],
            "containers": [
                {
                    "name": "helper",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["bash", "-c", script],
                    "env": [{"name": key, "value": value} for key, value in environ.items()],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": "work", "mountPath": "/work"}],
                }
            ],
            "volumes": [{"name": "work", "emptyDir": {}}],
        },
    }
