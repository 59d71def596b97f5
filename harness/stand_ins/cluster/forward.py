"""Forward connections from an inherited socket to a port of this network namespace.

A socket stays in the namespace that created it: the harness opens one on its own loopback and
starts this program inside the node. Usage: python forward.py FD PORT
"""

import asyncio
import socket
import sys
from contextlib import suppress


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
    with suppress(OSError):
        sink.write_eof()


async def _serve(fd: int, port: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pipe(reader, back_writer), _pipe(back_reader, writer))
        for stream in (back_writer, writer):
            with suppress(OSError):
                stream.close()

    server = await asyncio.start_server(connected, sock=socket.socket(fileno=fd))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
