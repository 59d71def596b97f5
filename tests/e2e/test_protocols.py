"""The protocols of the public ports, tested from outside the container."""

from __future__ import annotations

import time
from collections.abc import Iterator

import grpc
import httpx
import pytest
from google.protobuf import struct_pb2

from harness.core.regions import METRICS_PORT, load_regions
from harness.core.stages import BuiltImage
from harness.engine.provision import Engine

from .served import ServedImage

REGIONS = load_regions()
NAME = "/finfocus.v1.CostSourceService/Name"
PLUGIN = "finfocus-plugin-aws-public"
STAND_IN = "/finfocus.standin.v1.StandIn"
LIMIT = 1 << 20


@pytest.fixture(scope="module")
def service(engine: Engine, image: BuiltImage) -> Iterator[ServedImage]:
    """A container in which every region is ready."""
    # Docker turns IPv6 off inside of containers of a network without it.
    with ServedImage(image.reference, sysctls={"net.ipv6.conf.lo.disable_ipv6": "0"}) as container:
        yield container


@pytest.mark.parametrize(
    ("http1", "http2", "version"),
    [
        pytest.param(True, False, "HTTP/1.1", id="FR-016-http-1.1"),
        pytest.param(False, True, "HTTP/2", id="FR-016-h2c-prior-knowledge"),
    ],
)
def test_connect_call(service: ServedImage, http1: bool, http2: bool, version: str) -> None:
    """Every port answers a Connect call in both versions of HTTP."""
    with httpx.Client(http1=http1, http2=http2, timeout=5) as client:
        for region in REGIONS:
            answer = client.post(service.url(region.port, NAME), json={})
            assert (answer.status_code, answer.http_version) == (200, version)
            assert answer.json()["name"] == PLUGIN


def unary(container: ServedImage, port: int, method: str) -> bytes:
    with grpc.insecure_channel(container.address(port)) as channel:
        call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
        return bytes(call(b"", timeout=5))


def test_grpc_call(service: ServedImage) -> None:
    """FR-016: gRPC gets its answer, which needs the trailers to pass."""
    for region in REGIONS:
        assert PLUGIN.encode() in unary(service, region.port, NAME)


def test_grpc_status_passes(service: ServedImage) -> None:
    """The plugin's own gRPC status arrives, not an invention of the proxy."""
    with pytest.raises(grpc.RpcError) as caught:
        unary(service, 8001, "/finfocus.v1.CostSourceService/NoSuchMethod")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_fr_016_grpc_metadata_passes_both_ways(service: ServedImage) -> None:
    """FR-016: the plugin's header and trailer metadata arrive, with the message in between."""
    message = struct_pb2.Struct()
    message.update({"text": "zürich"})
    with grpc.insecure_channel(service.address(8002)) as channel:
        call = channel.unary_unary(
            f"{STAND_IN}/Echo",
            request_serializer=struct_pb2.Struct.SerializeToString,
            response_deserializer=struct_pb2.Struct.FromString,
        )
        answer, details = call.with_call(message, timeout=5, metadata=[("standin-trailer", "kept")])
    assert dict(answer) == {"text": "zürich"}
    assert dict(details.initial_metadata())["standin-header"] == "begin"
    assert dict(details.trailing_metadata())["standin-trailer"] == "kept"


def test_fr_016_server_streaming_arrives_as_it_is_sent(service: ServedImage) -> None:
    """FR-016: a stream's first message is there long before its last is sent, in order."""
    order = struct_pb2.Struct()
    order.update({"count": 5, "interval_ms": 300})
    began = time.monotonic()
    with grpc.insecure_channel(service.address(8005)) as channel:
        call = channel.unary_stream(
            f"{STAND_IN}/Stream",
            request_serializer=struct_pb2.Struct.SerializeToString,
            response_deserializer=struct_pb2.Struct.FromString,
        )(order, timeout=20)
        arrived = [time.monotonic() - began for _ in call]
        assert call.code() is grpc.StatusCode.OK
        assert "standin-trailer" in dict(call.trailing_metadata())
    assert len(arrived) == 5
    # There are four pauses: a buffering proxy would deliver everything at once.
    assert arrived[-1] - arrived[0] > 0.9


def test_fr_016_grpc_deadline_and_cancel_pass(service: ServedImage) -> None:
    """FR-016: a call whose deadline passes ends as such, and the region serves on."""
    message = struct_pb2.Struct()
    with grpc.insecure_channel(service.address(8006)) as channel:
        call = channel.unary_unary(
            f"{STAND_IN}/Echo",
            request_serializer=struct_pb2.Struct.SerializeToString,
            response_deserializer=struct_pb2.Struct.FromString,
        )
        with pytest.raises(grpc.RpcError) as caught:
            call(message, timeout=0.2, metadata=[("standin-delay", "5s")])
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert PLUGIN.encode() in unary(service, 8006, NAME)


def test_grpc_web_call(service: ServedImage) -> None:
    """gRPC-Web over HTTP/1.1 carries its trailers in the body."""
    answer = httpx.post(
        service.url(8003, NAME),
        content=b"\0\0\0\0\0",
        headers={"Content-Type": "application/grpc-web+proto"},
        timeout=5,
    )
    assert answer.status_code == 200
    assert PLUGIN.encode() in answer.content
    assert b"grpc-status: 0" in answer.content.lower()


@pytest.mark.parametrize(
    ("size", "status"),
    [
        pytest.param(LIMIT, 200, id="at-the-limit"),
        pytest.param(LIMIT + 1, 413, id="one-byte-more"),
    ],
)
def test_fr_016_bodies_to_the_plugins_limit(service: ServedImage, size: int, status: int) -> None:
    """FR-016: a body at the plugin's limit returns intact; above it, the plugin's 413 arrives."""
    body = b"x" * size
    answer = httpx.post(service.url(8004, "/standin/echo"), content=body, timeout=10)
    assert answer.status_code == status
    assert (answer.content == body) is (status == 200)


def test_ipv6_is_answered_as_well(service: ServedImage) -> None:
    """A public port answers on the IPv6 loopback where the container has IPv6."""
    script = (
        'exec 3<>/dev/tcp/::1/8001; printf "GET /healthz HTTP/1.0\\r\\n\\r\\n" >&3; head -n 1 <&3'
    )
    if not service.exec(["bash", "-c", "cat /proc/net/if_inet6 2>/dev/null"]).output.strip():
        pytest.skip("the engine gives its containers no IPv6")
    code, output = service.exec(["bash", "-c", script])
    assert code == 0
    assert b" 200 " in output


def test_fr_019_build_info_has_the_version(service: ServedImage, image: BuiltImage) -> None:
    """FR-019: the metrics tell the version of the image."""
    text = httpx.get(service.url(METRICS_PORT, "/metrics"), timeout=5).text
    assert f'version="{image.version}"' in text
    assert text.count("# TYPE finfocus_build_info ") == 1
