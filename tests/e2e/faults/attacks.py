"""Bytes that a client should not send, and clients that do not behave."""

from __future__ import annotations

import resource
import selectors
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

import h2.config
import h2.connection
import h2.errors
import h2.events

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
# HPACK, RFC 7541: indexed :method GET, :scheme http, :path /, and :authority "x" as a literal.
GET_ROOT = b"\x82\x86\x84\x41\x01x"
ANSWER_SECONDS = 3.0
EMPTY_MESSAGE = bytes(5)  # gRPC: not compressed, no byte long


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """An HTTP/2 frame (RFC 9113, section 4.1)."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream.to_bytes(4, "big") + payload


DATA, HEADERS, PRIORITY, RESET, SET, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END = 0x5  # END_STREAM and END_HEADERS

MALFORMED = {
    "preface": b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + SETTINGS,
    "data-on-stream-0": frame(DATA, 1, 0, b"x"),
    "data-on-idle-stream": frame(DATA, 1, 1, b"x"),
    "headers-on-stream-0": frame(HEADERS, END, 0, GET_ROOT),
    "headers-on-even-stream": frame(HEADERS, END, 2, GET_ROOT),
    "settings-on-a-stream": frame(SET, 0, 1),
    "settings-of-5-bytes": frame(SET, 0, 0, b"12345"),
    "settings-ack-with-payload": frame(SET, 1, 0, b"123456"),
    "ping-of-7-bytes": frame(PING, 0, 0, b"1234567"),
    "ping-on-a-stream": frame(PING, 0, 1, b"12345678"),
    "window-update-of-0": frame(WINDOW, 0, 0, b"\0\0\0\0"),
    "window-overflow": frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2,
    "reset-of-idle-stream": frame(RESET, 0, 1, b"\0\0\0\0"),
    "continuation-alone": frame(CONTINUATION, 4, 1, GET_ROOT),
    "push-promise-from-client": frame(PUSH, 4, 1, b"\0\0\0\2" + GET_ROOT),
    "frame-too-large": frame(DATA, 0, 1, bytes(1 << 15)),
    "hpack-bad-index": frame(HEADERS, END, 1, b"\xff\xff\xff\xff\x0f"),
    "hpack-truncated": frame(HEADERS, END, 1, b"\x41\x7f"),
    "no-path": frame(HEADERS, END, 1, b"\x82\x86"),
    "two-methods": frame(HEADERS, END, 1, b"\x82" + GET_ROOT),
    "upper-case-name": frame(HEADERS, END, 1, GET_ROOT + b"\x40\x01X\x01y"),
    "connection-header": frame(HEADERS, END, 1, GET_ROOT + b"\x40\x0aconnection\x05close"),
    "interrupted-headers": frame(HEADERS, 1, 1, GET_ROOT) + frame(PING, 0, 0, b"12345678"),
    "padding-longer-than-frame": frame(DATA, 9, 1, b"\xff"),
}
"""What to send after the preface and the settings; each is an error of RFC 9113."""

SMUGGLED = b"GET /standin/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


def _post(headers: bytes, body: bytes) -> bytes:
    return b"POST /standin/echo HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n" + body


_CHUNKED = b"0\r\n\r\n"
SMUGGLING = {
    "length-and-chunked": _post(
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % (len(_CHUNKED) + len(SMUGGLED)),
        _CHUNKED + SMUGGLED,
    ),
    "two-lengths": _post(b"Content-Length: 0\r\nContent-Length: 44\r\n", SMUGGLED),
    "length-list": _post(b"Content-Length: 0, 44\r\n", SMUGGLED),
    "negative-length": _post(b"Content-Length: -1\r\n", SMUGGLED),
    "length-with-plus": _post(b"Content-Length: +0\r\n", SMUGGLED),
    "xchunked": _post(
        b"Transfer-Encoding: xchunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n" + SMUGGLED
    ),
    "two-encodings": _post(
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", _CHUNKED + SMUGGLED
    ),
    "space-before-colon": _post(b"Content-Length : 44\r\n", SMUGGLED),
    "folded-encoding": _post(b"Transfer-Encoding:\r\n chunked\r\n", _CHUNKED + SMUGGLED),
    "bare-cr": _post(b"X: a\rTransfer-Encoding: chunked\r\n", SMUGGLED),
    "nul-in-name": _post(b"X\0Y: a\r\n", SMUGGLED),
    "chunk-size-overflow": _post(
        b"Transfer-Encoding: chunked\r\n", b"ffffffffffffffff1\r\n" + SMUGGLED
    ),
    "chunk-extension-line-feed": _post(
        b"Transfer-Encoding: chunked\r\n", b"1;\n\r\nx\r\n0\r\n\r\n" + SMUGGLED
    ),
    "no-host": b"GET /standin/echo HTTP/1.1\r\n\r\n" + SMUGGLED,
    "tab-in-request-line": b"GET\t/standin/echo\tHTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED,
    "bad-version": b"GET /standin/echo HTTP/9.9\r\nHost: x\r\n\r\n" + SMUGGLED,
}
"""Requests whose end two readers may see at two places, followed by what must not be smuggled.

RFC 9112, sections 6 and 11.2. A second request on the same connection is no smuggling by itself:
what counts is that an ambiguous message is refused, or ends where HAProxy and the plugin agree.
"""


def exchange(port: int, data: bytes, *, half_close: bool = False) -> bytes:
    """Everything that comes back for `data`, until the peer closes or says nothing more."""
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as connection:
        answer = b""
        with suppress(OSError):
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.5)
            while chunk := connection.recv(1 << 16):
                answer += chunk
        return answer


def refused_h2(answer: bytes) -> bool:
    """Whether the frames of `answer` end the connection or the stream.

    Silence is no refusal: the settings come before anything that is wrong.
    """
    kinds, pos = [], 0
    while pos + 9 <= len(answer):
        kinds.append(answer[pos + 3])
        pos += 9 + int.from_bytes(answer[pos : pos + 3], "big")
    return GOAWAY in kinds or RESET in kinds


@contextmanager
def idle_connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    """`count` connections, opened and left alone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 1024)), hard))
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
            opened.append(stack.enter_context(connection))
        yield opened


def still_open(connections: Sequence[socket.socket]) -> int:
    """How many of the connections the peer has neither answered nor closed."""
    count = 0
    for connection in connections:
        try:
            connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            count += 1
        except OSError:
            continue
    return count


def drip(connections: Sequence[socket.socket], seconds: float) -> None:
    """Slow loris: a byte of a header on each connection, again and again."""
    with suppress(OSError):
        for connection in connections:
            connection.send(b"GET / HTTP/1.1\r\n")
    ends = time.monotonic() + seconds
    with selectors.DefaultSelector() as pause:
        while time.monotonic() < ends:
            for connection in connections:
                with suppress(OSError):
                    connection.send(b"X")
            pause.select(0.1)


def rapid_reset(port: int, streams: int) -> int:
    """Opens streams and resets each at once (CVE-2023-44487); returns how many were read.

    That all were is shown by the answer to a ping at their end.
    """
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    sent = 0
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "x"),
        (":path", "/standin/echo"),
    ]
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as raw, suppress(OSError):
        raw.sendall(connection.data_to_send())
        for _ in range(streams):
            stream = connection.get_next_available_stream_id()
            connection.send_headers(stream, fields)
            connection.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
            raw.sendall(connection.data_to_send())
            sent += 1
        connection.ping(bytes(8))
        raw.sendall(connection.data_to_send())
        while data := raw.recv(1 << 16):
            events = connection.receive_data(data)
            if any(isinstance(event, h2.events.PingAckReceived) for event in events):
                return sent
    return 0


def calls(port: int, path: str, fields: Mapping[str, str], count: int, timeout: float) -> list[str]:
    """`grpc-status` of so many gRPC calls on one connection that ended within `timeout` seconds."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    head = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", path)]
    for _ in range(count):
        stream = connection.get_next_available_stream_id()
        connection.send_headers(stream, [*head, *fields.items()])
        connection.send_data(stream, EMPTY_MESSAGE, end_stream=True)
    statuses: list[str] = []
    ends = time.monotonic() + timeout
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as raw, suppress(OSError):
        while len(statuses) < count and (left := ends - time.monotonic()) > 0:
            raw.sendall(connection.data_to_send())
            raw.settimeout(left)
            if not (data := raw.recv(1 << 16)):
                break
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    told = {bytes(name): bytes(value) for name, value in event.headers}
                    statuses += [told[b"grpc-status"].decode()] if b"grpc-status" in told else []
    return statuses
