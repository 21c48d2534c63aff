"""The floor: a server that answers frames of one size with frames of another and does nothing else.

Frame := length u32 | payload (length bytes), big-endian, in both directions. The first 4 bytes of a
request's payload are the length its answer shall have. uvloop serves, a blocking socket asks: as Hyperbase's
server and synchronous client do.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

_LENGTH = struct.Struct(">I")
_HEAD = struct.Struct(">II")  # length, length of the answer
_SHORTEST_REQUEST = 4


class EchoProtocol(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._buffer = bytearray()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        position = 0
        while len(self._buffer) - position >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, position)
            end = position + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            (wanted,) = _LENGTH.unpack_from(self._buffer, position + _LENGTH.size)
            self._transport.write(_LENGTH.pack(wanted) + bytes(wanted))
            position = end
        del self._buffer[:position]


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(EchoProtocol, "127.0.0.1", 0)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def round_trips(port: int, request_bytes: int, response_bytes: int) -> Callable[[], None]:
    """A function that does one round trip; the sizes contain the frames' own lengths."""
    wanted = max(response_bytes - _LENGTH.size, 0)
    length = max(request_bytes - _LENGTH.size, _SHORTEST_REQUEST)
    request = _HEAD.pack(length, wanted) + bytes(length - _SHORTEST_REQUEST)
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = bytearray(_LENGTH.size + wanted)
    view = memoryview(buffer)

    def call() -> None:
        connection.sendall(request)
        received = 0
        while received < len(buffer):
            got = connection.recv_into(view[received:])
            if not got:
                raise ConnectionError("the echo server closed the connection")
            received += got

    return call


if __name__ == "__main__":
    import uvloop

    sys.exit(uvloop.run(_serve()))
