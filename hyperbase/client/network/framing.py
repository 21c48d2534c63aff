"""Requests as frames, and the options of the sockets they go over: the same for both clients."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from hyperbase.client.network.hello import Agreement
from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.wire.frames import COMPRESSED, HEADER, compress_body

Pack = Callable[[Any], bytes]


def request_frame(pack: Pack, message: Any, agreed: Agreement) -> bytes:
    """A request's frame.

    Raises:
        IllegalArgumentException: larger than the server takes.
    """
    body = pack(message)
    size = len(body) + 1
    if size > agreed.max_frame_bytes:
        raise IllegalArgumentException(
            f"the request is {size} bytes, the server takes {agreed.max_frame_bytes} at most "
            "(max_frame_bytes): write less at a time"
        )
    if 0 < agreed.compress_from_bytes < size:
        squeezed = compress_body(body)
        if len(squeezed) < len(body):
            return HEADER.pack(len(squeezed) + 1, COMPRESSED) + squeezed
    return HEADER.pack(size, 0) + body


def check_data(data: bytes | None, agreed: Agreement) -> None:
    """Raises IllegalArgumentException: a part of an upload that no frame may hold."""
    if data is not None and len(data) + 64 > agreed.max_frame_bytes:
        raise IllegalArgumentException(
            f"a row, or the schema, of the data is {len(data)} bytes; at most {agreed.max_frame_bytes} "
            "can be sent (max_frame_bytes)"
        )


def set_options(sock: socket.socket) -> None:
    """Send at once; have the kernel find out that the other host is gone while nothing is under way."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
