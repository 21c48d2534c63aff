"""``GET /health``: how a server does, as one JSON object, for supervisors and load balancers.

Status 200: it answers clients; 503: it does not at the moment. Nothing else is served, and one request is all
that a connection gets.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

logger = logging.getLogger(__name__)

_MAX_REQUEST_BYTES = 8 * 1024
_TIMEOUT_S = 5.0
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


class HealthEndpoint:
    """Listens from ``listen`` to ``close``. The event loop's thread only.

    Args:
        status: gives the facts, and whether the server answers.
    """

    def __init__(self, status: Callable[[], tuple[Mapping[str, Any], bool]]) -> None:
        self._status = status
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> int:
        """Bind and serve; returns the port.

        Raises:
            OSError: the address is in use, or not this host's.
        """
        self._server = await asyncio.start_server(self._serve, host, port, limit=_MAX_REQUEST_BYTES)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError) as error:
            logger.debug("health request dropped error=%r", error)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        path, _, version = rest.partition(b" ")
        if not version.startswith(b"HTTP/1."):
            return _response(400, {"error": "this is HTTP"})
        if method not in (b"GET", b"HEAD"):
            return _response(405, {"error": "GET it"})
        if path.partition(b"?")[0] != b"/health":
            return _response(404, {"error": "there is /health"})
        facts, answers = self._status()
        return _response(200 if answers else 503, facts, head_only=method == b"HEAD")


def _response(status: int, facts: Mapping[str, Any], *, head_only: bool = False) -> bytes:
    body = json.dumps(dict(facts)).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if head_only else body)
