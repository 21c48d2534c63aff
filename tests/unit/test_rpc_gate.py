"""The gate before answers: while it is shut nothing leaves, whatever it is, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hyperbase import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.common.config import ServerConfig
from hyperbase.common.errors import ConnectionLostException
from hyperbase.common.model import Durability, Scan
from hyperbase.common.rpc.call import PENDING, Call
from hyperbase.common.rpc.connection import RpcConnection
from hyperbase.common.rpc.server import RpcServer
from hyperbase.common.wire.frames import PREAMBLE
from hyperbase.common.wire.messages import ERROR, ITEM, OK, Method
from hyperbase.common.wire.model_codec import encode_scan
from tests.support.standalone import ServerThread
from tests.support.waiting import fault_lasts, wait_for
from tests.support.wire_client import WireClient
from tests.unit.test_rpc_connection import LIMITS, Transport, request, serve

SYNC = int(Durability.SYNC_WAL)


class Gate:
    """Open or shut, as a test says."""

    def __init__(self) -> None:
        self.shut = True
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        return not self.shut


class PausedTransport(Transport):
    """Notes whether it is read from."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True


def play_gated(play: Any, **handlers: Any) -> None:
    """As ``serve``, with a gate that is shut once HELLO is said."""

    def gated(server: RpcServer, connection: RpcConnection, transport: Transport) -> None:
        connection._transport = other = PausedTransport()
        server.gate = gate = Gate()
        play(server, connection, other, gate)

    serve(gated, **handlers)


def test_answers_errors_and_signs_of_life_wait_for_the_gate_and_leave_in_their_order() -> None:
    def play(server: RpcServer, connection: RpcConnection, transport: PausedTransport, gate: Gate) -> None:
        connection.data_received(request(Method.ROW, 1) + request(Method.GET, 2) + request(Method.PING, 3))
        assert transport.sent == []
        assert not connection.writable
        assert not transport.reading
        assert server.held_bytes == connection.held_bytes > 0
        connection.data_received(request(Method.ROW, 4))  # was on its way
        server.reopen()
        assert transport.sent == []
        gate.shut = False
        server.reopen()
        assert [(call_id, kind) for call_id, kind, _ in transport.sent] == [(1, OK), (2, ERROR), (3, OK)]
        assert connection.writable
        assert transport.reading
        connection._take_kept()
        assert [call_id for call_id, *_ in transport.sent] == [1, 2, 3, 4]
        assert server.held_bytes == 0
        assert not server.kept

    play_gated(play, ROW=lambda call, arguments: "row")


def test_the_gate_is_asked_after_the_work_and_once_for_answers_that_leave_together() -> None:
    order: list[str] = []

    def handler(call: Call, arguments: Any) -> Any:
        order.append("work")
        return "row"

    def play(server: RpcServer, connection: RpcConnection, transport: PausedTransport, gate: Gate) -> None:
        def asked() -> bool:
            order.append("gate")
            return True

        server.gate = asked
        connection.data_received(request(Method.ROW, 1) + request(Method.ROW, 2))
        assert order == ["work", "work", "gate"]

    play_gated(play, ROW=handler)


def test_who_is_not_read_and_kept_back_goes_on_when_both_have_ended() -> None:
    calls: list[Call] = []

    def handler(call: Call, arguments: Any) -> Any:
        calls.append(call)
        return PENDING

    def play(server: RpcServer, connection: RpcConnection, transport: PausedTransport, gate: Gate) -> None:
        begun: list[int] = []
        connection.data_received(request(Method.ROW, 1))
        connection.pause_writing()
        calls[0].reply("row")
        connection.flush()
        connection.when_writable(lambda: begun.append(1))
        gate.shut = False
        server.reopen()
        assert not connection.writable
        assert begun == []
        connection.resume_writing()
        assert connection.writable
        assert begun == [1]
        assert transport.reading

    play_gated(play, ROW=handler)


def test_kept_answers_count_against_the_memory_of_the_server() -> None:
    def play(server: RpcServer, connection: RpcConnection, transport: PausedTransport, gate: Gate) -> None:
        aborted: list[bool] = []
        transport.abort = lambda: aborted.append(True)  # type: ignore[method-assign]
        call = Call(connection, 1, "", 3, None)
        while not aborted:
            call.item(bytes(2**20))
            assert server.held_bytes <= LIMITS.max_inflight_bytes + 2 * 2**20
        assert transport.sent == []
        assert server.refused_connections == 1

    play_gated(play)


def test_a_connection_that_ends_while_its_answers_are_kept_is_forgotten() -> None:
    def play(server: RpcServer, connection: RpcConnection, transport: PausedTransport, gate: Gate) -> None:
        connection.data_received(request(Method.PING, 1))
        assert server.kept == {connection}
        connection.connection_lost(None)
        assert not server.kept
        assert server.held_bytes == 0

    play_gated(play)


def test_a_gate_that_opens_unnoticed_is_found_open() -> None:
    async def run() -> None:
        server = RpcServer(LIMITS, "test")
        server._loop = asyncio.get_running_loop()
        server.gate = gate = Gate()
        connection, transport = RpcConnection(server), PausedTransport()
        connection.connection_made(transport)
        connection.data_received(PREAMBLE + request(Method.HELLO, 0, 1, {"client_id": bytes(16)}))
        assert transport.sent == []  # HELLO too
        gate.shut = False
        sweeper = asyncio.ensure_future(server._sweep())
        while not transport.sent:
            assert not sweeper.done()
            await asyncio.sleep(0.001)
        sweeper.cancel()

    asyncio.run(asyncio.wait_for(run(), 30))


# -- over sockets --------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[ServerThread, Gate]]:
    with ServerThread(ServerConfig(data_dir=str(tmp_path / "data"))) as server:
        gate = Gate()
        gate.shut = False
        server.server.rpc.gate = gate
        yield server, gate


def reopen(server: ServerThread) -> None:
    assert server._loop is not None
    server._loop.call_soon_threadsafe(server.server.rpc.reopen)


def test_answers_over_sockets_come_late_and_none_is_lost(served: tuple[ServerThread, Gate]) -> None:
    server, gate = served
    with WireClient(server.server.address[1]) as client:
        client.admin("create_table", TableDescriptor("t", [ColumnFamilyDescriptor("f")]).to_dict(), None)
        (info,) = client.regions("t")
        gate.shut = True
        rows = [b"r%d" % number for number in range(20)]
        ids = [
            client.send(Method.PUT_ROWS, [(info.id16, ((b"f:q",),), ((row, 0, (b"v",)),), None)], None, SYNC)
            for row in rows
        ]
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.receive()
        client.socket.settimeout(30)
        gate.shut = False
        reopen(server)
        assert sorted(client.receive()[0] for _ in ids) == ids
        for row in rows:
            assert client.call(Method.ROW, info.id16, row)


def test_a_scan_makes_no_more_chunks_while_the_gate_is_shut(served: tuple[ServerThread, Gate]) -> None:
    server, gate = served
    rpc = server.server.rpc
    with WireClient(server.server.address[1]) as client:
        client.admin("create_table", TableDescriptor("t", [ColumnFamilyDescriptor("f")]).to_dict(), None)
        (info,) = client.regions("t")
        rows = tuple((b"r%04d" % number, 0, (bytes(50_000),)) for number in range(1000))
        for begin in range(0, 1000, 100):
            client.call(
                Method.PUT_ROWS, [(info.id16, ((b"f:q",),), rows[begin : begin + 100], None)], None, SYNC
            )
        gate.shut = True
        call_id = client.send(Method.SCAN, info.id16, encode_scan(Scan()), 1000)
        wait_for(lambda: rpc.held_bytes > 0)
        fault_lasts(0.5)
        held = rpc.held_bytes
        assert held < 12 * 2**20  # of 50 MB: a turn of the thread, and what it had begun
        gate.shut = False
        reopen(server)
        seen = 0
        while True:
            got, kind, payload = client.receive()
            assert got == call_id
            chunk = payload if kind == ITEM else payload[0]
            seen += len(chunk[1]) if chunk else 0
            if kind != ITEM:
                break
        assert seen == 1000
        wait_for(lambda: rpc.held_bytes == 0)  # the server's sweep counts again


def test_a_stop_does_not_wait_for_a_gate_that_stays_shut(tmp_path: Path) -> None:
    config = ServerConfig(data_dir=str(tmp_path / "data"), drain_timeout_s=0.2)
    with ServerThread(config) as server:
        server.server.rpc.gate = gate = Gate()
        gate.shut = False
        with WireClient(server.server.address[1]) as client:
            gate.shut = True
            client.send(Method.PING)
            wait_for(lambda: bool(server.server.rpc.kept))
            assert server._loop is not None
            assert server._end is not None
            server._loop.call_soon_threadsafe(server._end.set)
            with pytest.raises(ConnectionLostException):
                client.receive()
