"""The blocking client's sockets: pools, threads, forks. The asyncio client's link: many calls, cancelling."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import hyperbase
from hyperbase import aio
from hyperbase.client.network.channel import Channel
from hyperbase.client.network.commands import Sleep, Steps
from hyperbase.client.network.driver import BlockingDriver
from hyperbase.client.network.pool import ServerPool
from hyperbase.common.config import ClientConfig
from hyperbase.common.errors import (
    HBaseIOException,
    IllegalArgumentException,
    RetriesExhaustedException,
    StoreClosedException,
)
from hyperbase.common.wire.frames import pack_frame
from hyperbase.common.wire.messages import OK, Method
from hyperbase.common.wire.model_codec import encode_results
from tests.support.fake_server import FakeServer, Request, Silence, Stream

RESULT = ((b"f:q",), (b"v",), 1)
QUICK: dict[str, Any] = {"operation_timeout_s": 5.0, "retry_delay_ms": 1, "retry_delay_max_ms": 5}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        fake.answer = lambda request: RESULT
        yield fake


# -- addresses and settings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["hyperbase://", "hyperbase://h:0", "hyperbase://h:70000", "hyperbase://h:x", "hyperbase://a,,b",
     "hyperbase://user@h", "hyperbase://h/path"],
)  # fmt: skip
def test_urls_that_name_no_server(url: str) -> None:
    for connect in (hyperbase.connect, aio.connect):
        with pytest.raises(IllegalArgumentException, match="is no server"):
            connect(url)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"read_only": True}, "read_only is for a store opened by its directory"),
        ({"memstore_limit_bytes": 2**20}, "memstore_limit_bytes is a setting of the server"),
        ({"operation_timeout": 3}, "operation_timeout_s"),
        ({"operation_timeout_s": 0}, "must be positive"),
        ({"compression": "lz4"}, "compression"),
    ],
)
def test_settings_that_a_client_does_not_have(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(IllegalArgumentException, match=message):
        hyperbase.connect("hyperbase://localhost:1", **settings)


# -- threads and forks -----------------------------------------------------------------------------------


def test_threads_have_a_socket_each_and_leave_it_to_the_next(server: FakeServer) -> None:
    barrier = threading.Barrier(5)

    def answer(request: Request) -> Any:
        if request.method == Method.ROW:
            barrier.wait(10)  # all of them are under way at the same time
        return RESULT

    server.answer = answer
    with hyperbase.connect(server.url, **QUICK) as connection:
        table = connection.table("t")
        for _ in range(3):
            threads = [threading.Thread(target=table.row, args=(b"r",)) for _ in range(5)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
        assert len(server.of(Method.ROW)) == 15
        assert len({request.connection for request in server.requests}) == 5


def test_calls_wait_for_a_socket_within_their_time(server: FakeServer) -> None:
    chunk = encode_results([hyperbase.Result(b"a", [b"f:q"], [b"v"], 1)])

    def answer(request: Request) -> Any:
        return Stream([chunk] * 50, (None, False)) if request.method == Method.SCAN else RESULT

    server.answer = answer
    settings = {**QUICK, "operation_timeout_s": 0.3, "max_sockets_per_server": 1}
    with hyperbase.connect(server.url, **settings) as connection:
        table = connection.table("t")
        scan = table.scan()
        next(scan)
        started = time.monotonic()
        with pytest.raises(RetriesExhaustedException, match="max_sockets_per_server"):
            table.row(b"r")
        assert time.monotonic() - started < 1
        waiting = threading.Thread(target=table.row, args=(b"late",))
        waiting.start()
        time.sleep(0.05)
        scan.close()  # type: ignore[attr-defined]
        waiting.join(5)
        assert server.of(Method.ROW)[-1].arguments[1] == b"late"


def test_calls_that_wait_for_a_socket_end_when_the_connection_is_closed(server: FakeServer) -> None:
    chunk = encode_results([hyperbase.Result(b"a", [b"f:q"], [b"v"], 1)])
    server.answer = lambda request: Stream([chunk] * 50, (None, False))
    connection = hyperbase.connect(
        server.url, **{**QUICK, "operation_timeout_s": 30.0, "max_sockets_per_server": 1}
    )
    table = connection.table("t")
    scan = table.scan()
    next(scan)  # it keeps the only socket
    errors: list[BaseException] = []

    def read() -> None:
        try:
            table.row(b"r")
        except HBaseIOException as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    pool = connection._backend.driver.pool(server.address)  # type: ignore[union-attr]
    while pool._waiting < 3:
        time.sleep(0.005)
    connection.close()
    for thread in threads:
        thread.join(5)
    assert [type(error) for error in errors] == [StoreClosedException] * 3


def test_an_idle_socket_may_be_taken_by_another_thread_meanwhile(server: FakeServer) -> None:
    class AlwaysAlmost(list[Channel]):
        """Another thread takes the last one just after it was seen."""

        def __bool__(self) -> bool:
            return True

    pool = ServerPool(server.address, b"0" * 16, ClientConfig())
    pool._idle = AlwaysAlmost()
    channel = pool.take(None)
    assert channel.call(Method.PING, (), None, None) is None
    pool.give(channel)
    pool.close()


def test_threads_take_sockets_of_several_servers_in_one_order(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two threads could hold one each, and wait for the other's until the end of their time."""
    server.answer = lambda request: ((0, OK, None),)
    taken: list[str] = []
    take = ServerPool.take

    def note(pool: ServerPool, deadline: float | None) -> Channel:
        taken.append(pool.address)
        return take(pool, deadline)

    with FakeServer(answer=server.answer) as other, hyperbase.connect(server.url, **QUICK) as connection:
        server.splits, server.elsewhere = [b"m"], {b"m": other.address}
        monkeypatch.setattr(ServerPool, "take", note)
        for rows in ((b"a", b"z"), (b"z", b"a")):
            with connection.table("t").batch() as batch:
                for row in rows:
                    batch.put(row, {b"f:q": b"v"})
        assert taken[-4:] == sorted((server.address, other.address)) * 2


def test_an_operation_that_is_interrupted_has_ended(server: FakeServer) -> None:
    """Its numbers are given up at once, not when somebody drops the traceback."""
    ended: list[bool] = []

    def steps() -> Steps[None]:
        try:
            yield Sleep(60)
        finally:
            ended.append(True)

    driver = BlockingDriver(b"0" * 16, ClientConfig())
    driver._execute = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt) as caught:
        driver.run(steps())
    assert ended
    del caught


def interrupt(command: object) -> None:
    """What Ctrl-C does to a call."""
    raise KeyboardInterrupt


def test_a_forked_child_connects_anew(server: FakeServer) -> None:
    with hyperbase.connect(server.url, **QUICK) as connection:
        table = connection.table("t")
        table.row(b"r")
        server.answer = lambda request: ((0, OK, None),)
        table.put(b"r", {b"f:q": b"v"})
        used = {request.connection for request in server.requests}
        child = os.fork()
        if child == 0:
            try:
                table.put(b"r", {b"f:q": b"v"})
                connection.close()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert {request.connection for request in server.requests} - used
        table.put(b"r", {b"f:q": b"v"})
        puts = server.of(Method.PUT_ROWS)
        assert puts[2].connection == puts[0].connection  # the parent's socket was left alone
        hellos = [request.arguments[1]["client_id"] for request in server.of(Method.HELLO)]
        assert len(set(hellos)) == 2  # the child's numbers are its own


def test_a_forked_child_reads_on_with_an_open_scan(server: FakeServer) -> None:
    def answer(request: Request) -> Any:
        if request.arguments[2] != 4:
            return RESULT
        start = request.arguments[1][0][0]
        rows = [b"%02d" % number for number in range(20) if b"%02d" % number > start]
        chunks = [encode_results([hyperbase.Result(row, [b"f:q"], [b"v"], 1)]) for row in rows]
        return Stream(chunks, (None, False))

    server.answer = answer
    with hyperbase.connect(server.url, **QUICK) as connection:
        scan = connection.table("t").scan()
        assert next(scan)[0] == b"00"
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if len(list(scan)) == 19 else 2)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert len(list(scan)) == 19


# -- one link, many calls --------------------------------------------------------------------------------


def test_calls_share_a_link_and_answers_come_in_any_order(server: FakeServer) -> None:
    held: list[Request] = []

    def answer(request: Request) -> Any:
        if request.method != Method.ROW or request.arguments[1] == b"first":
            return RESULT
        held.append(request)
        if len(held) == 50:
            connection = server.connections[request.connection]
            for one in reversed(held):
                connection.sendall(pack_frame((one.call_id, OK, ((b"f:q",), (one.arguments[1],), 1))))
        return Silence

    server.answer = answer

    async def main() -> None:
        async with aio.connect(server.url, **QUICK) as connection:
            table = connection.table("t")
            await table.row(b"first")
            rows = [b"%d" % number for number in range(50)]
            found = await asyncio.gather(*map(table.row, rows))
            assert found == [{b"f:q": row} for row in rows]

    asyncio.run(main())
    assert len({request.connection for request in server.requests}) == 1


def test_cancelling_a_task_takes_the_call_back(server: FakeServer) -> None:
    async def main() -> None:
        async with aio.connect(server.url, **QUICK) as connection:
            table = connection.table("t")
            await table.row(b"r")
            server.answer = lambda request: Silence
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await table.row(b"slow")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(table.scan()), 0.05)
            server.answer = lambda request: RESULT
            assert await table.row(b"r") == {b"f:q": b"v"}

    asyncio.run(main())
    waiting = [r.call_id for r in server.requests if r.method == Method.ROW and r.arguments[1] == b"slow"]
    waiting += [r.call_id for r in server.of(Method.SCAN) if r.arguments[2] == 4]
    assert [request.arguments[0] for request in server.of(Method.CANCEL)] == waiting


def test_no_more_calls_are_in_flight_than_a_server_takes(server: FakeServer) -> None:
    waiting: list[Request] = []

    def answer(request: Request) -> Any:
        if request.method == Method.ROW and request.arguments[1] != b"first":
            waiting.append(request)
            return Silence
        return RESULT

    server.answer = answer

    async def main() -> None:
        async with aio.connect(server.url, **QUICK) as connection:
            table = connection.table("t")
            await table.row(b"first")
            tasks = [asyncio.ensure_future(table.row(b"%d" % number)) for number in range(1000)]
            while len(waiting) < 900:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert len(waiting) == 900
            tasks[950].cancel()  # one that waits for room
            for request in waiting[:200]:
                frame = pack_frame((request.call_id, OK, RESULT))
                server.connections[request.connection].sendall(frame)
            while len(waiting) < 999:
                await asyncio.sleep(0.01)
            for request in waiting[200:]:
                frame = pack_frame((request.call_id, OK, RESULT))
                server.connections[request.connection].sendall(frame)
            await asyncio.wait(tasks)
            assert sum(task.cancelled() for task in tasks) == 1

    asyncio.run(main())


def test_a_lost_link_fails_all_its_calls_and_they_go_on(server: FakeServer) -> None:
    async def main() -> None:
        async with aio.connect(server.url, **QUICK) as connection:
            table = connection.table("t")
            await table.row(b"r")
            server.answer = lambda request: Silence
            tasks = [asyncio.ensure_future(table.row(b"%d" % number)) for number in range(20)]
            while len(server.of(Method.ROW)) < 21:
                await asyncio.sleep(0.01)
            server.answer = lambda request: RESULT
            server.drop()
            assert await asyncio.gather(*tasks) == [{b"f:q": b"v"}] * 20

    asyncio.run(main())
    assert len(server.of(Method.HELLO)) == 2  # they share the new one


def test_uvloop(server: FakeServer) -> None:
    import uvloop  # a dependency: it is there

    async def main() -> None:
        async with aio.connect(server.url, **QUICK) as connection:
            table = connection.table("t")
            assert await asyncio.gather(*[table.row(b"r") for _ in range(50)]) == [{b"f:q": b"v"}] * 50
            server.drop()
            assert await table.row(b"r") == {b"f:q": b"v"}

    uvloop.run(main())
