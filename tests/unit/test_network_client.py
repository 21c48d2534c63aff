"""Both clients of servers against one that a test plays: retries, nonces, keep-alive, errors, bad peers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import hyperbase
from hyperbase import Connection, Get, Increment, Put, Scan
from hyperbase.common.errors import (
    CallQueueTooBigException,
    CallTimeoutException,
    ConnectException,
    ConnectionLostException,
    DoNotRetryIOException,
    HBaseIOException,
    IllegalArgumentException,
    NoSuchColumnFamilyException,
    NotServingRegionException,
    RegionTooBusyException,
    RetriesExhaustedException,
    RetriesExhaustedWithDetailsException,
    StoreClosedException,
    TableNotEnabledException,
    TableNotFoundException,
    UnknownScannerException,
)
from hyperbase.common.model import Result
from hyperbase.common.wire.faults import encode_fault
from hyperbase.common.wire.frames import HEADER, pack_frame
from hyperbase.common.wire.messages import ERROR, OK, Method
from hyperbase.common.wire.model_codec import decode_scan, encode_results
from tests.support.aio_backend import connect_aio
from tests.support.fake_server import Close, FakeServer, Request, Send, Silence, Stream
from tests.support.waiting import wait_for

CLIENTS = {"blocking": hyperbase.connect, "asyncio": connect_aio}
QUICK: dict[str, Any] = {
    "operation_timeout_s": 5.0,
    "retry_delay_ms": 1,
    "retry_delay_max_ms": 5,
    "connect_timeout_s": 2.0,
}
RESULT = ((b"f:q",), (b"v",), 1)
WRITTEN = ((0, OK, None),)

Connect = Callable[..., Connection]


@pytest.fixture(params=list(CLIENTS))
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Connects either client; what it opened is closed at the end."""
    opened: list[Connection] = []

    def open_client(server: FakeServer, **settings: Any) -> Connection:
        opened.append(CLIENTS[request.param](server.url, **{**QUICK, **settings}))
        return opened[-1]

    yield open_client
    for connection in opened:
        connection.close()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


class Script:
    """Answers one after the other; the last one for ever."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Any:
        with self._lock:
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


# -- finding regions -------------------------------------------------------------------------------------


def test_one_look_at_meta_finds_all_regions(server: FakeServer, connect: Connect) -> None:
    server.splits = [b"g", b"p"]
    server.answer = Script(RESULT)
    table = connect(server).table("t")
    for row in (b"a", b"g", b"o", b"p", b"z"):
        assert table.row(row) == {b"f:q": b"v"}
    assert len(server.of(Method.SCAN)) == 1
    ids = [info.id16 for info in server.regions()]
    assert [request.arguments[0] for request in server.of(Method.ROW)] == [ids[i] for i in (0, 1, 1, 2, 2)]


@pytest.mark.parametrize(
    ("state", "error"), [(None, TableNotFoundException), (b"\x08\x01", TableNotEnabledException)]
)
def test_meta_tells_that_a_table_is_not_there_or_disabled(
    server: FakeServer, connect: Connect, state: bytes | None, error: type[Exception]
) -> None:
    server.state = state
    table = connect(server).table("t")
    for call in (
        lambda: table.row(b"r"),
        lambda: table.put(b"r", {b"f:q": b""}),
        lambda: table.rows([b"r"]),
        lambda: list(table.scan()),
        lambda: table.run_batch([Get(b"r")]),
    ):
        with pytest.raises(error):
            call()


def test_a_moved_region_is_looked_for_again(server: FakeServer, connect: Connect) -> None:
    table = connect(server).table("t")
    server.answer = Script(RESULT)
    table.row(b"r")
    server.region_id = 2
    server.answer = Script(NotServingRegionException("gone"), RESULT)
    assert table.row(b"r") == {b"f:q": b"v"}
    assert len(server.of(Method.SCAN)) == 2
    assert server.requests[-1].arguments[0] == server.regions()[0].id16


# -- retries ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [RegionTooBusyException("busy"), CallQueueTooBigException("full"), HBaseIOException("odd")]
)
def test_what_may_pass_is_tried_again(server: FakeServer, connect: Connect, error: Exception) -> None:
    table = connect(server).table("t")
    server.answer = Script(error, error, error, RESULT)
    assert table.row(b"r") == {b"f:q": b"v"}
    assert len(server.of(Method.ROW)) == 4
    assert len(server.of(Method.SCAN)) == 1  # the region did not move


def test_what_cannot_pass_is_raised_at_once(server: FakeServer, connect: Connect) -> None:
    table = connect(server).table("t")
    server.answer = Script(NoSuchColumnFamilyException("no family x"))
    with pytest.raises(NoSuchColumnFamilyException, match="no family x"):
        table.get(Get(b"r", [b"x"]))
    assert len(server.of(Method.GET)) == 1


def test_a_full_disk_is_raised_at_once(server: FakeServer, connect: Connect) -> None:
    table = connect(server).table("t")
    server.answer = Script(HBaseIOException(28, "No space left on device"))
    with pytest.raises(HBaseIOException, match="No space left"):
        table.put(b"r", {b"f:q": b"v"})


def test_unknown_errors_keep_their_name_and_verdict(server: FakeServer, connect: Connect) -> None:
    fault = ("QuotaExceededException", "too much", {"retry": False})
    server.answer = lambda request: Send(pack_frame((request.call_id, ERROR, fault)))
    with pytest.raises(DoNotRetryIOException, match="QuotaExceededException: too much"):
        connect(server).table("t").row(b"r")


def test_exhausted_retries_carry_every_cause(server: FakeServer, connect: Connect) -> None:
    table = connect(server, max_retries=3).table("t")
    server.answer = Script(RegionTooBusyException("1"), CallQueueTooBigException("2"), HBaseIOException("3"))
    with pytest.raises(RetriesExhaustedException, match=r"failed 4 time\(s\).*max_retries is 3.*3") as caught:
        table.row(b"r")
    causes = caught.value.causes
    assert [str(cause) for cause in causes] == ["1", "2", "3", "3"]
    assert caught.value.__cause__ is causes[-1]


def test_an_operation_has_one_time_for_all_its_retries(server: FakeServer, connect: Connect) -> None:
    table = connect(server, operation_timeout_s=0.5, retry_delay_ms=50, retry_delay_max_ms=50).table("t")
    server.answer = Script(RESULT)
    table.row(b"r")
    server.answer = Script(RegionTooBusyException("busy"))
    started = time.monotonic()
    with pytest.raises(RetriesExhaustedException, match=r"operation_timeout_s is 0\.5"):
        table.row(b"r")
    assert 0.3 < time.monotonic() - started < 2
    times = [request.timeout_ms for request in server.of(Method.ROW)[1:]]
    assert times == sorted(times, reverse=True)  # what is left of the time is told to the server
    assert times[0] == 500
    assert 0 < times[-1] < 250


def test_no_answer_in_time(server: FakeServer, connect: Connect) -> None:
    table = connect(server, operation_timeout_s=0.3).table("t")
    server.answer = Script(Silence)
    started = time.monotonic()
    with pytest.raises(RetriesExhaustedException) as caught:
        table.row(b"r")
    assert isinstance(caught.value.causes[-1], CallTimeoutException)
    assert 0.25 < time.monotonic() - started < 3


# -- connections -----------------------------------------------------------------------------------------


def test_a_lost_connection_is_made_anew(server: FakeServer, connect: Connect) -> None:
    table = connect(server).table("t")
    server.answer = Script(RESULT, Close, RESULT)
    table.row(b"r")
    assert table.row(b"r") == {b"f:q": b"v"}
    server.drop()  # an idle connection ends too
    assert table.row(b"r") == {b"f:q": b"v"}


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for connect in CLIENTS.values():
        with pytest.raises(ConnectException, match=f"127.0.0.1:{port}.*hyperbase start"):
            connect(f"hyperbase://127.0.0.1:{port}")


def test_another_server_of_the_list_answers(server: FakeServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server.answer = Script(RESULT)
    for connect in CLIENTS.values():
        with connect(f"hyperbase://127.0.0.1:{port},{server.address}", **QUICK) as connection:
            assert connection.table("t").row(b"r") == {b"f:q": b"v"}


def test_a_server_that_says_nothing_is_given_up(server: FakeServer, connect: Connect) -> None:
    server.hello = Silence
    with pytest.raises(RetriesExhaustedException) as caught:
        connect(server, connect_timeout_s=0.1, operation_timeout_s=0.3)
    assert "connect_timeout_s" in str(caught.value.causes[0])


def test_a_server_of_another_protocol(server: FakeServer, connect: Connect) -> None:
    server.hello = Send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(DoNotRetryIOException, match="was announced"):
        connect(server)


def test_a_server_that_refuses(server: FakeServer, connect: Connect) -> None:
    refusal = encode_fault(DoNotRetryIOException("this server speaks 2"))
    server.hello = Send(pack_frame((0, ERROR, refusal)))
    with pytest.raises(DoNotRetryIOException, match="speaks 2"):
        connect(server)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_answers_in_small_pieces(server: FakeServer, connect: Connect, size: int) -> None:
    def answer(request: Request) -> Any:
        frame = pack_frame((request.call_id, OK, ((b"f:q",), (b"v" * 50,), 1)))
        connection = server.connections[request.connection]
        for begin in range(0, len(frame), size):
            connection.sendall(frame[begin : begin + size])
            time.sleep(0.001)
        return Send(b"")

    server.answer = answer
    assert connect(server).table("t").row(b"r") == {b"f:q": b"v" * 50}


def test_a_large_answer(server: FakeServer, connect: Connect) -> None:
    value = bytes(range(256)) * 20_000
    server.answer = Script(((b"f:q",), (value,), 1))
    table = connect(server).table("t")
    assert table.row(b"r") == table.row(b"r") == {b"f:q": value}


@pytest.mark.parametrize(
    "garbage",
    [
        HEADER.pack(2**31, 0) + b"x" * 100,
        HEADER.pack(0, 0),
        HEADER.pack(5, 0) + b"\xc1\xc1\xc1\xc1",
        HEADER.pack(5, 7) + b"abcd",
        pack_frame({"not": "an answer"}),
        pack_frame(("a", "b")),
    ],
)
def test_garbage_ends_the_connection(server: FakeServer, connect: Connect, garbage: bytes) -> None:
    table = connect(server, max_retries=2).table("t")
    server.answer = Script(Send(garbage))
    with pytest.raises(HBaseIOException):
        table.row(b"r")
    server.answer = Script(RESULT)
    assert table.row(b"r") == {b"f:q": b"v"}


def test_half_an_answer_and_then_the_end(server: FakeServer, connect: Connect) -> None:
    table = connect(server).table("t")
    done = []

    def answer(request: Request) -> Any:
        if not done:
            done.append(1)
            server.connections[request.connection].sendall(pack_frame((request.call_id, OK, RESULT))[:-3])
            return Close
        return RESULT

    server.answer = answer
    assert table.row(b"r") == {b"f:q": b"v"}


def test_waiting_clients_ask_for_a_sign_of_life(server: FakeServer, connect: Connect) -> None:
    table = connect(server, keepalive_interval_s=0.1, keepalive_timeout_s=0.4).table("t")

    def slow(request: Request) -> Any:
        threading.Timer(
            0.8,
            lambda: server.connections[request.connection].sendall(pack_frame((request.call_id, OK, RESULT))),
        ).start()
        return Silence

    server.answer = slow
    assert table.row(b"r") == {b"f:q": b"v"}  # longer than keepalive_timeout_s, but not silent
    assert len(server.of(Method.PING)) >= 3
    assert len(server.of(Method.ROW)) == 1


def test_a_dead_peer_is_given_up(server: FakeServer, connect: Connect) -> None:
    connection = connect(server, keepalive_interval_s=0.1, keepalive_timeout_s=0.3, max_retries=1)
    server.answer = Script(Silence)
    server.answers_pings = False
    started = time.monotonic()
    with pytest.raises(RetriesExhaustedException) as caught:
        connection.admin.flush("t")  # admin calls have no other limit
    assert time.monotonic() - started < 3
    assert isinstance(caught.value.causes[0], ConnectionLostException)
    assert "keepalive_timeout_s" in str(caught.value.causes[0])


def test_a_request_that_no_server_takes_is_not_sent(server: FakeServer, connect: Connect) -> None:
    table = connect(server, max_frame_bytes=100_000).table("t")
    server.answer = Script(WRITTEN)
    with pytest.raises(IllegalArgumentException, match="max_frame_bytes"):
        table.put(b"r", {b"f:q": b"v" * 200_000})
    table.put(b"r", {b"f:q": b"v"})
    assert len(server.of(Method.PUT_ROWS)) == 1


def test_a_closed_connection(server: FakeServer, connect: Connect) -> None:
    connection = connect(server)
    table = connection.table("t")
    connection.close()
    with pytest.raises(StoreClosedException):
        table.row(b"r")


# -- nonces ----------------------------------------------------------------------------------------------


def test_a_mutation_keeps_its_number_over_retries(server: FakeServer, connect: Connect) -> None:
    table = connect(server).table("t")
    server.answer = Script(((b"f:q",), (bytes(8),), 1))
    table.counter_inc(b"r", b"f:q")
    server.answer = Script(Close, RegionTooBusyException("busy"), ((b"f:q",), (bytes(8),), 1))
    table.counter_inc(b"r", b"f:q")
    table.counter_inc(b"r", b"f:q")
    numbers = [request.arguments[2] for request in server.of(Method.MUTATE)]
    assert numbers == [(1, 1), (2, 2), (2, 2), (2, 2), (3, 3)]


def test_a_put_keeps_its_number_over_retries(server: FakeServer, connect: Connect) -> None:
    table = connect(server).table("t")
    server.answer = Script(
        WRITTEN, Close, ((0, ERROR, encode_fault(RegionTooBusyException("busy"))),), WRITTEN
    )
    for _ in range(3):
        table.put(b"r", {b"f:q": b"v"})
    numbers = [request.arguments[0][0][3] for request in server.of(Method.PUT_ROWS)]
    assert numbers == [(1, 1), (2, 2), (2, 2), (2, 2), (3, 3)]


def test_the_oldest_unanswered_number_is_told(server: FakeServer, connect: Connect) -> None:
    connection = connect(server)
    table = connection.table("t")
    server.answer = Script(WRITTEN)
    table.put(b"r", {b"f:q": b"v"})
    gate = threading.Event()

    def answer(request: Request) -> Any:
        if request.method == Method.PUT_ROWS and request.arguments[0][0][3][0] == 2:
            threading.Thread(
                target=lambda: (
                    gate.wait(10),
                    server.connections[request.connection].sendall(
                        pack_frame((request.call_id, OK, WRITTEN))
                    ),
                )
            ).start()
            return Silence
        return WRITTEN

    server.answer = answer
    slow = threading.Thread(target=table.put, args=(b"a", {b"f:q": b"v"}))
    slow.start()
    while len(server.of(Method.PUT_ROWS)) < 2:
        time.sleep(0.001)
    table.put(b"b", {b"f:q": b"v"})
    gate.set()
    slow.join(10)
    table.put(b"c", {b"f:q": b"v"})
    numbers = [request.arguments[0][0][3] for request in server.of(Method.PUT_ROWS)]
    assert numbers == [(1, 1), (2, 2), (3, 2), (4, 4)]


def test_parts_of_a_group_that_may_be_written_name_it(server: FakeServer, connect: Connect) -> None:
    table = connect(server).table("t")
    rows = {b"a": {b"f:q": b"1"}, b"z": {b"f:q": b"2"}}

    def answer(request: Request) -> Any:
        if len(server.of(Method.PUT_ROWS)) == 1:
            server.splits, server.region_id = [b"m"], 2
            return Close
        return tuple((index, OK, None) for index in range(len(request.arguments[0])))

    server.answer = answer
    with table.batch() as batch:
        for row, data in rows.items():
            batch.put(row, data)
    first, second = server.of(Method.PUT_ROWS)
    assert [group[3] for group in first.arguments[0]] == [(1, 1)]
    assert [group[3] for group in second.arguments[0]] == [(2, 1, 1), (3, 1, 1)]
    assert [group[2][0][0] for group in second.arguments[0]] == [b"a", b"z"]


def test_parts_of_parts_name_all_that_may_be_written(server: FakeServer, connect: Connect) -> None:
    table = connect(server).table("t")

    def answer(request: Request) -> Any:
        puts = len(server.of(Method.PUT_ROWS))
        if puts < 3:
            server.splits, server.region_id = [b"m", b"t"][:puts], 1 + puts
            return Close
        return tuple((index, OK, None) for index in range(len(request.arguments[0])))

    server.answer = answer
    with table.batch() as batch:
        for row in (b"a", b"n", b"z"):
            batch.put(row, {b"f:q": b"1"})
    nonces = [[group[3] for group in request.arguments[0]] for request in server.of(Method.PUT_ROWS)]
    assert nonces == [[(1, 1)], [(2, 1, 1), (3, 1, 1)], [(2, 1, 1), (4, 1, 1, 3), (5, 1, 1, 3)]]


def test_parts_of_a_group_that_was_refused_are_new(server: FakeServer, connect: Connect) -> None:
    table = connect(server).table("t")

    def answer(request: Request) -> Any:
        if len(server.of(Method.PUT_ROWS)) == 1:
            server.splits, server.region_id = [b"m"], 2
            return ((0, ERROR, encode_fault(NotServingRegionException("split"))),)
        return tuple((index, OK, None) for index in range(len(request.arguments[0])))

    server.answer = answer
    with table.batch() as batch:
        batch.put(b"a", {b"f:q": b"1"})
        batch.put(b"z", {b"f:q": b"2"})
    groups = server.of(Method.PUT_ROWS)[1].arguments[0]
    assert [group[3][0] for group in groups] == [2, 3]
    assert all(len(group[3]) == 2 for group in groups)


def test_an_admin_change_keeps_its_number(server: FakeServer, connect: Connect) -> None:
    connection = connect(server)
    server.answer = Script(Close, None)
    connection.admin.flush("t")
    numbers = [request.arguments[2] for request in server.of(Method.ADMIN)]
    assert len(numbers) == 2
    assert numbers[0] == numbers[1] is not None


def test_an_admin_change_that_failed_is_not_tried_again(server: FakeServer, connect: Connect) -> None:
    connection = connect(server)
    server.answer = Script(HBaseIOException("should not give a splitkey"))
    with pytest.raises(HBaseIOException, match="splitkey"):
        connection.admin.split("t", b"k")
    assert len(server.of(Method.ADMIN)) == 1


def test_an_admin_call_asks_again_where_the_master_is(server: FakeServer, connect: Connect) -> None:
    """A server that accepts and then says nothing costs time, not the call."""
    connection = connect(server, connect_timeout_s=0.2)
    server.answer = Script(None)
    found, silent = server._found, [True]

    def answer(request: Request, to: socket.socket) -> Any:
        if request.method == Method.REGISTRY and silent:
            return silent.pop() and Silence
        return found(request, to)

    server._found = answer  # type: ignore[method-assign]
    connection.admin.flush("t")
    assert len(server.of(Method.REGISTRY)) == 2
    assert len(server.of(Method.ADMIN)) == 1


# -- batches ---------------------------------------------------------------------------------------------


def test_refused_rows_are_reported_in_their_order(server: FakeServer, connect: Connect) -> None:
    server.splits = [b"m"]

    def answer(request: Request) -> Any:
        refused = RetriesExhaustedWithDetailsException([(b"b", NoSuchColumnFamilyException("x"))])
        other = RetriesExhaustedWithDetailsException([(b"y", NoSuchColumnFamilyException("y"))])
        return ((1, ERROR, encode_fault(other)), (0, ERROR, encode_fault(refused)))

    server.answer = answer
    batch = connect(server).table("t").batch()
    for row in (b"y", b"a", b"z", b"b"):
        batch.put(row, {b"f:q": b"v"})
    with pytest.raises(RetriesExhaustedWithDetailsException) as caught:
        batch.send()
    assert [row for row, _ in caught.value.failures] == [b"y", b"b"]


def test_only_what_failed_is_sent_again(server: FakeServer, connect: Connect) -> None:
    server.splits = [b"m"]
    busy = encode_fault(RegionTooBusyException("busy"))
    server.answer = Script(((0, OK, None), (1, ERROR, busy)), ((0, OK, None),))
    with connect(server).table("t").batch() as batch:
        batch.put(b"a", {b"f:q": b"1"})
        batch.put(b"z", {b"f:q": b"2"})
    first, second = server.of(Method.PUT_ROWS)
    assert len(first.arguments[0]) == 2
    assert [group[2][0][0] for group in second.arguments[0]] == [b"z"]
    assert second.arguments[0][0][3][0] == first.arguments[0][1][3][0]  # its number


def test_actions_have_their_own_outcomes_and_retries(server: FakeServer, connect: Connect) -> None:
    busy = encode_fault(RegionTooBusyException("busy"))
    bad = encode_fault(NoSuchColumnFamilyException("x"))
    server.answer = Script(
        ((0, OK, ((OK, None), (ERROR, busy), (ERROR, bad), (OK, RESULT))),),
        ((0, OK, ((OK, ((b"f:q",), (bytes(8),), 1)),)),),
    )
    put, count, failed, got = (
        connect(server)
        .table("t")
        .run_batch(
            [Put(b"a").add(b"f:q", b"1"), Increment(b"b", {b"f:q": 1}), Put(b"c").add(b"x:q", b""), Get(b"d")]
        )
    )
    assert put is None
    assert isinstance(count, Result)
    assert isinstance(failed, NoSuchColumnFamilyException)
    assert isinstance(got, Result)
    assert got.to_dict() == {b"f:q": b"v"}
    first, second = (request.arguments[0][0][1] for request in server.of(Method.MULTI))
    assert len(first) == 4
    assert second == (first[1],)  # with its nonce
    assert first[3][1] is None  # reads have none


def test_gets_come_back_in_order_and_in_pieces(server: FakeServer, connect: Connect) -> None:
    names, values = (b"f:a", b"f:b"), (b"1", b"2")

    def answer(request: Request) -> Any:
        rows = request.arguments[0][0][1]
        assert rows == (b"a", b"b", b"c")  # neighbours together
        first = encode_results([Result(b"a", names, values, 1)])
        piece = encode_results([Result(b"b", names[:1], values[:1], 1, None, True)])
        last = encode_results([Result(b"b", names[1:], values[1:], 1), Result(b"c")])
        return Stream([((0, OK, first),), ((0, OK, piece),)], ((0, OK, last),))

    server.answer = answer
    results = connect(server).table("t").get_many([Get(b"c"), Get(b"a"), Get(b"b")])
    assert [(result.row, len(result)) for result in results] == [(b"c", 0), (b"a", 2), (b"b", 2)]


def test_a_large_result_among_outcomes_comes_in_pieces(server: FakeServer, connect: Connect) -> None:
    names, values = (b"f:a", b"f:b"), (b"1", b"2")

    def answer(request: Request) -> Any:
        first = (OK, (names[:1], values[:1], 1, None, True))
        last = (OK, (names[1:], values[1:], 1))
        return Stream([((0, OK, ((OK, None), first)),)], ((0, OK, (last, (OK, RESULT))),))

    server.answer = answer
    actions = [Put(b"a").add(b"f:q", b""), Get(b"b"), Get(b"c")]
    put, large, small = connect(server).table("t").run_batch(actions)
    assert put is None
    assert isinstance(large, Result)
    assert isinstance(small, Result)
    assert large.to_dict() == {b"f:a": b"1", b"f:b": b"2"}
    assert (small.row, small.to_dict()) == (b"c", {b"f:q": b"v"})


def test_a_large_batch_goes_in_several_requests(server: FakeServer, connect: Connect) -> None:
    server.answer = Script(WRITTEN)
    with connect(server).table("t").batch() as batch:
        for number in range(20):
            batch.put(b"%02d" % number, {b"f:q": b"v" * 1_000_000})
    sizes = [len(request.arguments[0][0][2]) for request in server.of(Method.PUT_ROWS)]
    assert sum(sizes) == 20
    assert max(sizes) <= 4


def test_a_full_disk_is_the_outcome_of_the_actions_it_refused(server: FakeServer, connect: Connect) -> None:
    server.splits = [b"m"]
    full = encode_fault(HBaseIOException(28, "No space left on device"))
    server.answer = Script(((0, OK, ((OK, None),)), (1, ERROR, full)))
    table = connect(server).table("t")
    written, refused = table.run_batch([Put(row).add(b"f:q", b"v") for row in (b"a", b"z")])
    assert written is None
    assert isinstance(refused, HBaseIOException)
    assert refused.errno == 28
    server.answer = Script(((0, OK, None), (1, ERROR, full)))
    batch = table.batch()
    for row in (b"a", b"z"):
        batch.put(row, {b"f:q": b"v"})
    with pytest.raises(RetriesExhaustedWithDetailsException) as caught:
        batch.send()
    assert [row for row, _ in caught.value.failures] == [b"z"]


def test_a_large_batch_has_one_time_while_nothing_goes_on(server: FakeServer, connect: Connect) -> None:
    server.answer = Script(RegionTooBusyException("busy"))
    table = connect(server, max_retries=2).table("t")
    rows = [b"%05d" % number for number in range(10_000)]
    batch = table.batch()
    for row in rows:
        batch.put(row, {b"f:q": b"v"})
    with pytest.raises(RetriesExhaustedWithDetailsException) as caught:
        batch.send()
    assert [row for row, _ in caught.value.failures] == rows
    assert len(server.of(Method.PUT_ROWS)) == 3  # not as often for every part
    outcomes = table.run_batch([Put(row).add(b"f:q", b"v") for row in rows])
    assert [type(outcome) for outcome in outcomes] == [RetriesExhaustedException] * len(rows)
    assert len(server.of(Method.MULTI)) == 3


def test_a_cell_that_is_too_large_is_never_sent(server: FakeServer, connect: Connect) -> None:
    server.answer = Script(WRITTEN)
    table = connect(server, max_key_value_bytes=1000).table("t")
    for _ in range(2):  # the regions are known at the second
        with pytest.raises(IllegalArgumentException, match="max_key_value_bytes"):
            table.put(b"r", {b"f:q": b"v" * 1000})
        table.put(b"r", {b"f:q": b"v"})
    assert len(server.of(Method.PUT_ROWS)) == 2


# -- scans -----------------------------------------------------------------------------------------------


def chunk(*rows: bytes) -> Any:
    return encode_results([Result(row, [b"f:q"], [b"v"], 1) for row in rows])


def test_a_scan_resumes_behind_the_last_row(server: FakeServer, connect: Connect) -> None:
    idle = UnknownScannerException("idle too long")

    def answer(request: Request) -> Any:
        if request.method != Method.SCAN:
            return Silence
        start = decode_scan(request.arguments[1])
        if not start.start:
            connection = server.connections[request.connection]
            connection.sendall(pack_frame((request.call_id, 2, chunk(b"a", b"b"))))
            return Close
        if start.start == b"b":
            assert not start.start_inclusive
            connection = server.connections[request.connection]
            connection.sendall(pack_frame((request.call_id, 2, chunk(b"c"))))
            raise idle
        return Stream([], (chunk(b"d"), False))

    server.answer = answer
    assert [row for row, _ in connect(server).table("t").scan()] == [b"a", b"b", b"c", b"d"]


def test_a_caller_may_take_longer_over_a_row_than_an_operation_may(
    server: FakeServer, connect: Connect
) -> None:
    """Meanwhile the lease runs out, the connection is lost, and the next region is still to be asked."""
    server.splits = [b"m"]
    done = Stream([], (None, False))
    after = {
        b"": (b"a", UnknownScannerException("idle too long")),
        b"a": (b"b", Close),
        b"b": (b"c", done),
        b"m": (b"z", done),
    }

    def answer(request: Request) -> Any:
        row, end = after[decode_scan(request.arguments[1]).start]
        server.connections[request.connection].sendall(pack_frame((request.call_id, 2, chunk(row))))
        if isinstance(end, Exception):
            raise end
        return end

    server.answer = answer
    rows = []
    for row, _ in connect(server, operation_timeout_s=0.3).table("t").scan():
        rows.append(row)
        taken = time.monotonic()
        wait_for(lambda: time.monotonic() > taken + 0.4)  # noqa: B023
    assert rows == [b"a", b"b", b"c", b"z"]


def test_a_scan_goes_through_the_regions_with_credit(server: FakeServer, connect: Connect) -> None:
    server.splits = [b"m"]

    def answer(request: Request) -> Any:
        if request.arguments[0] == server.regions()[0].id16:
            return Stream([chunk(b"a%d" % n) for n in range(9)], (None, False))
        return Stream([], (chunk(b"z"), False))

    server.answer = answer
    rows = [row for row, _ in connect(server, scan_credit_chunks=4).table("t").scan()]
    assert rows == [b"a%d" % n for n in range(9)] + [b"z"]
    scans = [request for request in server.of(Method.SCAN) if request.arguments[2] == 4]
    assert len(scans) == 2
    granted = [r.arguments[1] for r in server.of(Method.CREDIT) if r.arguments[0] == scans[0].call_id]
    assert granted in ([2, 2, 2], [2, 2, 2, 2])  # the end may have come before the last


def test_a_dropped_scan_frees_the_scanner(server: FakeServer, connect: Connect) -> None:
    def answer(request: Request) -> Any:
        if request.method == Method.SCAN:
            connection = server.connections[request.connection]
            connection.sendall(pack_frame((request.call_id, 2, chunk(b"a", b"b"))))
            return Silence
        return RESULT

    server.answer = answer
    table = connect(server).table("t")
    scan = table.scan()
    next(scan)
    scan.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    while not server.of(Method.CANCEL):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert table.row(b"r") == {b"f:q": b"v"}


def test_a_scan_without_progress_ends(server: FakeServer, connect: Connect) -> None:
    server.answer = lambda request: Silence
    with pytest.raises(RetriesExhaustedException):
        list(connect(server, operation_timeout_s=0.3).table("t").scan())


def test_a_filter_of_the_program_cannot_be_sent(server: FakeServer, connect: Connect) -> None:
    class Own(hyperbase.filters.Filter):
        pass

    with pytest.raises(IllegalArgumentException, match="cannot be sent"):
        list(connect(server).table("t").scan_results(Scan(filter=Own())))


# -- several servers -------------------------------------------------------------------------------------


@pytest.fixture
def other() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


def test_servers_are_asked_at_the_same_time(server: FakeServer, other: FakeServer, connect: Connect) -> None:
    server.splits, server.elsewhere = [b"m"], {b"m": other.address}
    both = threading.Barrier(2)

    def answer(request: Request) -> Any:
        both.wait(10)  # neither answers before the other was asked
        if request.method == Method.PUT_ROWS:
            return WRITTEN
        if request.method == Method.GET_MANY:
            rows = request.arguments[0][0][1]
            return ((0, OK, encode_results([Result(row, [b"f:q"], [b"v"], 1) for row in rows])),)
        return ((0, OK, tuple((OK, None) for _ in request.arguments[0][0][1])),)

    server.answer = other.answer = answer
    table = connect(server).table("t")
    rows = [b"z", b"a", b"n", b"b"]
    with table.batch() as batch:
        for row in rows:
            batch.put(row, {b"f:q": b"v"})
    assert [row for row, _ in table.rows(rows)] == rows
    assert table.run_batch([Put(row).add(b"f:q", b"v") for row in rows]) == [None] * 4
    for one in (server, other):
        assert [len(one.of(method)) for method in (Method.PUT_ROWS, Method.GET_MANY, Method.MULTI)] == [1] * 3


def test_a_scan_goes_from_server_to_server(server: FakeServer, other: FakeServer, connect: Connect) -> None:
    server.splits, server.elsewhere = [b"m"], {b"m": other.address}
    server.answer = lambda request: Stream([], (chunk(b"a"), False))
    other.answer = lambda request: Stream([], (chunk(b"z"), False))
    table = connect(server).table("t")
    assert [row for row, _ in table.scan()] == [b"a", b"z"]
    assert [row for row, _ in table.scan(reverse=True)] == [b"z", b"a"]


def test_the_regions_of_a_server_that_died_are_found_elsewhere(
    server: FakeServer, other: FakeServer, connect: Connect
) -> None:
    server.splits, server.elsewhere = [b"m"], {b"m": other.address}
    server.answer = other.answer = Script(WRITTEN)
    table = connect(server, retry_delay_ms=20, retry_delay_max_ms=100).table("t")
    table.put(b"z", {b"f:q": b"v"})
    other.close()
    threading.Timer(0.2, server.elsewhere.clear).start()  # until the master has noticed
    table.put(b"z", {b"f:q": b"v"})
    assert len(other.of(Method.PUT_ROWS)) == 1
    assert server.of(Method.PUT_ROWS)[0].arguments[0][0][3][0] == 2


def test_one_server_may_fail_while_the_other_writes(
    server: FakeServer, other: FakeServer, connect: Connect
) -> None:
    server.splits, server.elsewhere = [b"m"], {b"m": other.address}
    server.answer = Script(WRITTEN)
    other.answer = Script(RegionTooBusyException("busy"))
    batch = connect(server, max_retries=2).table("t").batch()
    batch.put(b"a", {b"f:q": b"v"})
    batch.put(b"z", {b"f:q": b"v"})
    with pytest.raises(RetriesExhaustedWithDetailsException) as caught:
        batch.send()
    ((row, error),) = caught.value.failures
    assert row == b"z"
    assert isinstance(error, RetriesExhaustedException)
    assert len(error.causes) == 3
    assert len(server.of(Method.PUT_ROWS)) == 1
