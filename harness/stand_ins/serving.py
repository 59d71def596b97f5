"""Run an HTTP server of the standard library beside the program."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trustme

POLL_SECONDS = 0.02  # how late `shutdown` is noticed


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Answer requests to `server` during the block, and close it afterwards."""
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(POLL_SECONDS,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def tls_server(
    port: int, handler: type[BaseHTTPRequestHandler], certificate: "trustme.LeafCert"
) -> ThreadingHTTPServer:
    """A server at `port` of loopback, 0 for any, that speaks TLS with `certificate`."""
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    # Each connection's thread does its own handshake.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    return server
