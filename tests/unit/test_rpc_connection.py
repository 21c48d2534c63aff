"""A connection and its calls: who answers, once; and the clock that looks after them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from hyperbase.common.errors import CallTimeoutException, IllegalArgumentException
from hyperbase.common.rpc.call import PENDING, Call
from hyperbase.common.rpc.connection import RpcConnection
from hyperbase.common.rpc.server import RpcLimits, RpcServer
from hyperbase.common.wire.faults import decode_fault
from hyperbase.common.wire.frames import PREAMBLE, FrameDecoder, pack_frame
from hyperbase.common.wire.messages import ERROR, OK, Method

LIMITS = RpcLimits(2**20, 10, 10, 10, 10, 10, 10, 2**24, 10.0, 10.0, 2**20)


class Transport(asyncio.Transport):
    """Keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self._decoder = FrameDecoder()
        self.sent: list[Any] = []
        self._closing = False

    def write(self, data: Any) -> None:
        self.sent += self._decoder.feed(bytes(data))

    def close(self) -> None:
        self._closing = True

    def is_closing(self) -> bool:
        return self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


def serve(play: Callable[[RpcServer, RpcConnection, Transport], None], **handlers: Any) -> None:
    """``play`` on a connection that said HELLO; handlers by the name of their method."""

    async def run() -> None:
        server = RpcServer(LIMITS, "test")
        server._loop = asyncio.get_running_loop()
        server.add_handlers({Method[name]: handler for name, handler in handlers.items()})
        connection, transport = RpcConnection(server), Transport()
        connection.connection_made(transport)
        connection.data_received(PREAMBLE + request(Method.HELLO, 0, 1, {"client_id": bytes(16)}))
        transport.sent.clear()
        play(server, connection, transport)

    asyncio.run(run())


def request(method: int, call_id: int, *arguments: Any, timeout_ms: int | None = None) -> bytes:
    return pack_frame((int(method), call_id, timeout_ms, None, arguments))


def test_a_call_whose_handler_failed_is_not_answered_again_by_what_it_had_begun() -> None:
    begun: list[Call] = []

    def handler(call: Call, arguments: Any) -> Any:
        begun.append(call)
        if arguments == ("malformed",):
            raise IllegalArgumentException("the second group is malformed")
        return PENDING

    def play(server: RpcServer, connection: RpcConnection, transport: Transport) -> None:
        connection.data_received(request(Method.PUT_ROWS, 7, "malformed"))
        connection.data_received(request(Method.PUT_ROWS, 7, "fine"))  # the id is free again
        failed, fine = begun
        failed.time_out()  # a thread found out too late that nobody waits
        failed.reply("of the first")
        assert server.in_flight[fine.priority] == 1
        fine.reply("of the second")
        connection.flush()
        assert [(call_id, kind) for call_id, kind, _ in transport.sent] == [(7, ERROR), (7, OK)]
        assert transport.sent[-1][2] == "of the second"
        assert not any(server.in_flight)

    serve(play, PUT_ROWS=handler)


def test_a_deadline_that_is_taken_away_while_it_is_looked_at() -> None:
    """A thread that begins an admin call does that; the loop's sweep looks at the same moment."""

    class Taken(Call):
        looks = 0

        @property
        def deadline(self) -> float | None:  # type: ignore[override]
            self.looks += 1
            return 0.0 if self.looks == 1 else None

        @deadline.setter
        def deadline(self, value: float | None) -> None:
            pass

    connection = SimpleNamespace(server=SimpleNamespace(now=lambda: 1.0))
    call = Taken(connection, 1, "", 3, 0.0)  # type: ignore[arg-type]
    assert call.overdue(1.0)
    assert not call.overdue(1.0)


def test_one_connection_that_cannot_be_looked_after_stops_no_other_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def handler(call: Call, arguments: Any) -> Any:
        return PENDING

    async def run() -> None:
        monkeypatch.setattr("hyperbase.common.rpc.server._SWEEP_S", 0.001)
        server = RpcServer(LIMITS, "test")
        server._loop = asyncio.get_running_loop()
        server.add_handlers({Method.ROW: handler})
        good, bad, transport = RpcConnection(server), RpcConnection(server), Transport()
        good.connection_made(transport)
        good.data_received(PREAMBLE + request(Method.HELLO, 0, 1, {"client_id": bytes(16)}))
        monkeypatch.setattr(bad, "account", lambda: 1 // 0)
        server.connections = {bad: None, good: None}  # type: ignore[assignment]  # the bad one comes first
        good.data_received(request(Method.ROW, 1, timeout_ms=0))
        sweeper = asyncio.ensure_future(server._sweep())
        while not any(call_id == 1 for call_id, *_ in transport.sent):
            assert not sweeper.done()
            await asyncio.sleep(0.001)
        sweeper.cancel()
        assert type(decode_fault(transport.sent[-1][2])) is CallTimeoutException

    asyncio.run(asyncio.wait_for(run(), 30))
