"""The settings of the node's programs: command lines and files, without starting anything."""

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PODS = "10.244.0.0/16"  # this and the following exist in the boxes only
SERVICES = "10.96.0.0/16"
API_PORT = 6443
PAUSE_IMAGE = "finfocus-stand-in/pause:1"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
_NAME = "stand-in"  # of the cluster, in kubeconfigs
API_CERTIFICATE = Path("kubernetes/apiserver.crt")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A node's name and addresses."""

    name: str
    address: str
    pods: str  # what the controller manager allocates to the nodes, in the order they join


PLACES = (
    Place(name="stand-in", address="10.245.0.1", pods="10.244.0.0/24"),
    Place(name="stand-in-2", address="10.245.0.2", pods="10.244.1.0/24"),
)
"""The nodes; the control plane is on the first."""
_FIRST = PLACES[0]

# Kubernetes' built-in roles and the Node authorizer grant their permissions.
_USERS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", "system:node-proxier"),
    **{place.name: (f"system:node:{place.name}", "system:nodes") for place in PLACES},
}


def new_tokens() -> Mapping[str, str]:
    """Return a new token for every user."""
    return {user: secrets.token_hex(16) for user in _USERS}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one node's programs; `run` is the box's /run seen from outside."""

    run: Path
    cgroup: str
    place: Place
    tokens: Mapping[str, str] = field(repr=False)

    def write(self) -> None:
        """Write every file except the kubeconfigs, which need the API server's certificate."""
        directory = self.run / "kubernetes"
        for name in ("containerd", "cni", "kubernetes"):
            (self.run / name).mkdir(exist_ok=True)
        (self.run / "containerd.toml").write_text(_CONTAINERD)
        (self.run / "cni" / "10-ptp.conflist").write_text(json.dumps(_cni(self.place)))
        (directory / "kubelet.json").write_text(json.dumps(_kubelet(self.cgroup)))
        (directory / "proxy.json").write_text(json.dumps(_PROXY))
        (self.run / "resolv.conf").write_text("")

    def write_users(self) -> None:
        """Write the users and their tokens, for the API server alone."""
        path = self.run / "kubernetes" / "tokens.csv"
        path.touch(mode=0o600)
        path.write_text(
            "".join(
                f'{self.tokens[key]},{user},{user},"{group}"\n'
                for key, (user, group) in _USERS.items()
            )
        )

    def write_access(self, certificate: bytes) -> None:
        """Write the API server's certificate, and a kubeconfig for every program of the node."""
        if not (self.run / API_CERTIFICATE).exists():
            (self.run / API_CERTIFICATE).write_bytes(certificate)
        kubelets = {place.name for place in PLACES}
        users = {user: user for user in _USERS if user not in kubelets}
        for name, user in {**users, "kubelet": self.place.name}.items():
            path = self.run / "kubernetes" / f"{name}.kubeconfig"
            self.write_kubeconfig(path, user, API_PORT, host=_FIRST.address)

    def write_kubeconfig(
        self, path: Path, user: str, port: int, *, host: str = "127.0.0.1"
    ) -> None:
        """Write an owner-only kubeconfig of `user` for the API server at `port` of `host`."""
        certificate = (self.run / API_CERTIFICATE).read_bytes()
        text = json.dumps(_kubeconfig(self.tokens[user], certificate, f"{host}:{port}"))
        path.touch(mode=0o600)
        path.write_text(text)


def _kubeconfig(token: str, certificate: bytes, address: str) -> Mapping[str, object]:
    cluster = {
        "server": f"https://{address}",
        # The API server's certificate need not have the address.
        "tls-server-name": "kubernetes.default.svc",
        "certificate-authority-data": base64.b64encode(certificate).decode(),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": _NAME,
        "clusters": [{"name": _NAME, "cluster": cluster}],
        "users": [{"name": _NAME, "user": {"token": token}}],
        "contexts": [{"name": _NAME, "context": {"cluster": _NAME, "user": _NAME}}],
    }


def etcd() -> list[str]:
    """etcd; its data directory is in memory and lasts as long as the run."""
    return ["etcd", "--data-dir=/var/lib/etcd/data", "--log-outputs=stderr"]


def api_server(program: str) -> list[str]:
    """The API server with the default admission plugins, including Pod Security."""
    return [
        program,
        f"--advertise-address={_FIRST.address}",
        "--authorization-mode=Node,RBAC",
        "--cert-dir=/run/kubernetes",
        "--enable-admission-plugins=NodeRestriction",
        "--etcd-servers=http://127.0.0.1:2379",
        "--kubelet-preferred-address-types=InternalIP",
        f"--secure-port={API_PORT}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-account-key-file=/run/kubernetes/accounts.key",
        "--service-account-signing-key-file=/run/kubernetes/accounts.key",
        f"--service-cluster-ip-range={SERVICES}",
        "--token-auth-file=/run/kubernetes/tokens.csv",
    ]


def controller_manager(program: str) -> list[str]:
    """All controllers; pods get addresses from the node's range."""
    return [
        program,
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={PODS}",
        "--horizontal-pod-autoscaler-sync-period=5s",  # the smoke test waits for it
        "--kubeconfig=/run/kubernetes/controller-manager.kubeconfig",
        "--leader-elect=false",
        f"--root-ca-file=/run/{API_CERTIFICATE}",
        "--service-account-private-key-file=/run/kubernetes/accounts.key",
        f"--service-cluster-ip-range={SERVICES}",
        "--use-service-account-credentials=true",
    ]


def scheduler(program: str) -> list[str]:
    """The scheduler with its default profile."""
    kubeconfig = "--kubeconfig=/run/kubernetes/scheduler.kubeconfig"
    return [program, kubeconfig, "--leader-elect=false"]


def containerd() -> list[str]:
    """The container runtime."""
    return ["containerd", "--config=/run/containerd.toml"]


def kubelet(program: str, place: Place) -> list[str]:
    """The agent that runs pods."""
    return [
        program,
        "--config=/run/kubernetes/kubelet.json",
        f"--hostname-override={place.name}",
        "--kubeconfig=/run/kubernetes/kubelet.kubeconfig",
        f"--node-ip={place.address}",
    ]


def proxy(program: str, place: Place) -> list[str]:
    """Routes Service addresses to pods."""
    return [program, "--config=/run/kubernetes/proxy.json", f"--hostname-override={place.name}"]


def policies(program: str, place: Place) -> list[str]:
    """Enforces network policies, with all other features off."""
    return [
        program,
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        "--health-port=0",
        f"--hostname-override={place.name}",
        # No built-in role of Kubernetes may read nodes and policies.
        "--kubeconfig=/run/kubernetes/admin.kubeconfig",
        f"--service-cluster-ip-range={SERVICES}",
    ]


# Lowering oom_score_adj needs CAP_SYS_RESOURCE, which a container or small virtual machine may
# lack; without this setting the sandbox would not start there.
_CONTAINERD = f"""\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "/run/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
"""


def _cni(place: Place) -> Mapping[str, object]:
    # Routed pairs, no bridge: replies from a Service to a pod take the same path back.
    addresses = {
        "type": "host-local",
        "dataDir": "/run/cni/leases",
        "ranges": [[{"subnet": place.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [{"type": "ptp", "ipMasq": False, "ipam": addresses}],
    }


_PROXY = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration",
    "mode": "iptables",
    "clusterCIDR": PODS,
    "clientConnection": {"kubeconfig": "/run/kubernetes/proxy.kubeconfig"},
    # Connection tracking limits are machine-wide: leave them unchanged.
    "conntrack": {
        "maxPerCore": 0,
        "tcpEstablishedTimeout": "0s",
        "tcpCloseWaitTimeout": "0s",
    },
}


def _kubelet(cgroup: str) -> Mapping[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        # Reachable from inside the box only.
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "clusterDNS": ["10.96.0.10"],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        # This node must not manage the machine's free disk space.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "failSwapOn": False,
        "resolvConf": "/run/resolv.conf",
        "makeIPTablesUtilChains": True,
    }
