"""/health: one JSON object for each request, and nothing that a bad request could do."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from hyperbase.cluster.health import HealthEndpoint


def ask(*requests: bytes, answers: bool = True) -> list[tuple[int, Any]]:
    """Status and body of the answer to each request; status 0: none came."""

    async def run() -> list[tuple[int, Any]]:
        endpoint = HealthEndpoint(lambda: ({"role": "regionserver", "regions": 3}, answers))
        port = await endpoint.listen("127.0.0.1", 0)
        found = []
        for request in requests:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            writer.write_eof()
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            found.append((int(head.split()[1]) if head else 0, json.loads(body) if body else None))
        endpoint.close()
        return found

    return asyncio.run(asyncio.wait_for(run(), 30))


def test_it_says_how_the_server_does() -> None:
    facts = {"role": "regionserver", "regions": 3}
    assert ask(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n") == [(200, facts)]
    assert ask(b"GET /health?x=1 HTTP/1.0\r\n\r\n", answers=False) == [(503, facts)]
    assert ask(b"HEAD /health HTTP/1.1\r\n\r\n") == [(200, None)]


def test_anything_else_is_refused() -> None:
    assert [
        status
        for status, _ in ask(
            b"GET / HTTP/1.1\r\n\r\n",
            b"POST /health HTTP/1.1\r\n\r\n",
            b"\x00\x01\x02\r\n\r\n",
            b"GET /health\r\n\r\n",
            b"GET /health HTTP/1.1\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
            b"GET /heal",
        )
    ] == [404, 405, 400, 400, 0, 0]


def test_who_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperbase.cluster.health._TIMEOUT_S", 0.05)

    async def run() -> bytes:
        endpoint = HealthEndpoint(lambda: ({}, True))
        port = await endpoint.listen("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        said = await reader.read()
        writer.close()
        endpoint.close()
        return said

    assert asyncio.run(asyncio.wait_for(run(), 30)) == b""
