"""Both clients against several servers that a test plays: what is looked for again, how often, by whom."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

import hyperbase
from hyperbase import Connection, Get, Put
from hyperbase.common.errors import (
    ConnectionLostException,
    IllegalArgumentException,
    NotServingRegionException,
    PleaseHoldException,
    RetriesExhaustedException,
    TableNotEnabledException,
    TableNotFoundException,
)
from hyperbase.common.model import MAX_ROW_LENGTH, Result
from hyperbase.common.region_info import META_REGION
from hyperbase.common.wire.messages import OK, Method
from hyperbase.common.wire.model_codec import decode_scan, encode_results
from tests.support.aio_backend import connect_aio
from tests.support.arrow_uploads import ArrowSink
from tests.support.fake_server import Close, FakeServer, Request, Silence, Stream, registry
from tests.support.waiting import wait_for

CLIENTS = {"blocking": hyperbase.connect, "asyncio": connect_aio}
QUICK: dict[str, Any] = {
    "operation_timeout_s": 10.0,
    "retry_delay_ms": 2,
    "retry_delay_max_ms": 20,
    "connect_timeout_s": 2.0,
}
RESULT = ((b"f:q",), (b"v",), 1)
WRITTEN = ((0, OK, None),)
CELL = {b"f:q": b"v"}

Connect = Callable[..., Connection]


@pytest.fixture(params=list(CLIENTS))
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Connects either client; what it opened is closed at the end."""
    opened: list[Connection] = []

    def open_client(*servers: FakeServer, **settings: Any) -> Connection:
        url = "hyperbase://" + ",".join(server.address for server in servers)
        opened.append(CLIENTS[request.param](url, **{**QUICK, **settings}))
        return opened[-1]

    yield open_client
    for connection in opened:
        connection.close()


class World:
    """Three servers of a cluster: ``meta`` has hbase:meta, ``one`` and ``two`` the table's regions."""

    def __init__(self) -> None:
        self.meta, self.one, self.two = self.servers = (FakeServer(), FakeServer(), FakeServer())
        self.meta.splits = [b"c", b"f", b"m", b"t"]
        for server in self.servers:
            server.answer = self.answer
            self.tell()
        self.assign(self.one, self.two, self.one, self.two, self.one)

    def tell(self, master: FakeServer | None = None) -> None:
        """What each server says of the cluster."""
        addresses = [server.address for server in self.servers]
        for server in self.servers:
            server.registry = registry((master or self.meta).address, self.meta.address, addresses)

    def assign(self, *servers: FakeServer) -> None:
        """The regions' servers, in key order."""
        for info, server in zip(self.meta.regions(), servers, strict=True):
            self.meta.elsewhere[info.start_key] = server.address

    def serves(self, server: FakeServer, region: bytes) -> bool:
        return any(
            info.id16 == region and self.meta.elsewhere[info.start_key] == server.address
            for info in self.meta.regions()
        )

    def answer(self, request: Request) -> Any:
        """What a server answers that has every region of hbase:meta's."""
        server = next(server for server in self.servers if request in server.requests)
        if request.method == Method.ROW:
            self.check(server, request.arguments[0])
            return RESULT
        if request.method in (Method.PUT_ROWS, Method.GET_MANY, Method.MULTI):
            return [self._group(server, request, index) for index in range(len(request.arguments[0]))]
        if request.method == Method.SCAN:
            region = request.arguments[0]
            self.check(server, region)
            info = next(info for info in self.meta.regions() if info.id16 == region)
            row = info.start_key or b"a"
            return Stream([], (encode_results([Result(row, [b"f:q"], [b"v"], 1)]), False))
        raise AssertionError(request)

    def check(self, server: FakeServer, region: bytes) -> None:
        if not self.serves(server, region):
            raise NotServingRegionException("not here")

    def _group(self, server: FakeServer, request: Request, index: int) -> Any:
        region, *rest = request.arguments[0][index]
        if not self.serves(server, region):
            return [index, 1, ["NotServingRegionException", "not here", {"retry": True}]]
        if request.method == Method.PUT_ROWS:
            return [index, OK, None]
        if request.method == Method.MULTI:
            return [index, OK, [[OK, None] for _ in rest[0]]]
        return [index, OK, encode_results([Result(row, [b"f:q"], [b"v"], 1) for row in rest[0]])]

    def hold_looks(self, until: Callable[[], bool]) -> None:
        """Have hbase:meta answer no scan before that."""
        found = self.meta._found

        def slow(request: Request, connection: Any) -> Any:
            if request.method == Method.SCAN:
                wait_for(until)
            return found(request, connection)

        self.meta._found = slow  # type: ignore[method-assign]

    def looks(self) -> list[tuple[bytes, bytes]]:
        """The ranges of hbase:meta that were read."""
        scans = [request for request in self.meta.of(Method.SCAN) if request.arguments[0] == META_REGION.id16]
        return [(scan.start, scan.stop) for scan in (decode_scan(request.arguments[1]) for request in scans)]

    def close(self) -> None:
        for server in self.servers:
            server.close()


WHOLE = (b"t", b"t-")


@pytest.fixture
def world() -> Iterator[World]:
    found = World()
    yield found
    found.close()


# -- what is looked for again ----------------------------------------------------------------------------


def test_only_the_region_that_moved_is_looked_for(world: World, connect: Connect) -> None:
    table = connect(world.meta).table("t")
    assert table.row(b"d") == CELL
    world.assign(world.one, world.one, world.one, world.two, world.one)
    assert table.row(b"d") == CELL
    assert table.row(b"n") == CELL
    assert world.looks() == [WHOLE, (b"t,c", b"t,f")]


@pytest.mark.parametrize("row", [b"c", b"e"])
def test_the_daughters_of_a_region_are_found(world: World, connect: Connect, row: bytes) -> None:
    table = connect(world.meta).table("t")
    table.put(row, CELL)
    world.meta.splits.insert(1, b"e")
    world.meta.own_ids = {b"c": 2, b"e": 2}
    world.assign(world.one, world.two, world.one, world.one, world.two, world.one)
    table.put(row, CELL)
    table.put(b"d", CELL)
    table.put(b"f", CELL)
    assert world.looks() == [WHOLE, (b"t,c", b"t,f")]


@pytest.mark.parametrize("row", [b"d", b"g"])
def test_merged_regions_are_found(world: World, connect: Connect, row: bytes) -> None:
    table = connect(world.meta).table("t")
    table.put(row, CELL)
    world.meta.splits.remove(b"f")
    world.meta.own_ids = {b"c": 2}
    world.assign(world.one, world.two, world.two, world.one)
    table.put(row, CELL)
    table.put(b"e", CELL)
    expected = {b"d": [WHOLE, (b"t,c", b"t,f")], b"g": [WHOLE, (b"t,f", b"t,m"), WHOLE]}
    assert world.looks() == expected[row]


def test_a_region_that_is_not_open_is_waited_for(world: World, connect: Connect) -> None:
    world.meta.closed_regions.add(b"c")
    table = connect(world.meta).table("t")
    assert table.row(b"a") == CELL  # the others do not wait
    threading.Timer(0.3, world.meta.closed_regions.clear).start()
    assert table.row(b"d") == CELL
    assert len(world.two.of(Method.ROW)) == 1  # not asked before
    assert set(world.looks()[1:]) == {(b"t,c", b"t,f")}


def test_a_region_that_is_not_listed_is_waited_for(world: World, connect: Connect) -> None:
    world.meta.lost_regions.update((b"", b"c"))
    table = connect(world.meta).table("t")
    assert table.row(b"n") == CELL
    threading.Timer(0.3, world.meta.lost_regions.clear).start()
    assert table.row(b"d") == CELL


def test_an_unassigned_region_does_not_hold_up_a_batch(world: World, connect: Connect) -> None:
    world.meta.closed_regions.add(b"c")
    table = connect(world.meta).table("t")
    timer = threading.Timer(0.3, world.meta.closed_regions.clear)
    batch = table.batch()
    for row in (b"a", b"d", b"n"):
        batch.put(row, CELL)
    sender = threading.Thread(target=batch.send)
    sender.start()
    wait_for(lambda: bool(world.one.of(Method.PUT_ROWS)) and bool(world.two.of(Method.PUT_ROWS)))
    timer.start()
    sender.join(10)
    regions = {info.id16: info.start_key for info in world.meta.regions()}
    sent = [
        regions[group[0]]
        for request in (*world.one.of(Method.PUT_ROWS), *world.two.of(Method.PUT_ROWS))
        for group in request.arguments[0]
    ]
    assert sorted(sent) == [b"", b"c", b"m"]


def test_a_table_that_goes_is_noticed_by_those_who_know_its_regions(world: World, connect: Connect) -> None:
    table = connect(world.meta).table("t")
    assert table.row(b"d") == CELL
    world.assign(*[world.meta] * 5)
    world.meta.closed_regions.update(world.meta.elsewhere)
    world.meta.state = b"\x08\x01"
    with pytest.raises(TableNotEnabledException):
        table.row(b"d")
    world.meta.state = None
    with pytest.raises(TableNotFoundException):
        table.row(b"d")


def test_threads_that_miss_one_region_read_meta_once(world: World, connect: Connect) -> None:
    table = connect(world.meta).table("t")
    table.row(b"d")
    world.assign(world.one, world.one, world.one, world.two, world.one)
    gate = threading.Event()
    world.hold_looks(gate.is_set)
    with ThreadPoolExecutor(8) as threads:
        rows = [threads.submit(table.row, b"d") for _ in range(8)]
        wait_for(lambda: len(world.meta.of(Method.SCAN)) == 2 and all(row.running() for row in rows))
        gate.set()
        assert [row.result(10) for row in rows] == [CELL] * 8
    assert world.looks() == [WHOLE, (b"t,c", b"t,f")]


def test_many_tasks_share_the_first_look(world: World, connect: Connect) -> None:
    table = connect(world.meta).table("t")
    gate = threading.Event()
    world.hold_looks(gate.is_set)
    with ThreadPoolExecutor(8) as threads:
        rows = [threads.submit(table.row, b"d") for _ in range(8)]
        wait_for(lambda: bool(world.meta.of(Method.SCAN)))
        gate.set()
        assert [row.result(10) for row in rows] == [CELL] * 8
    assert world.looks() == [WHOLE]


def test_a_dead_server_is_not_asked_for_its_other_regions(world: World, connect: Connect) -> None:
    table = connect(world.meta, retry_delay_ms=20, retry_delay_max_ms=100).table("t")
    assert table.row(b"d") == CELL
    world.two.close()
    threading.Timer(0.3, lambda: world.assign(*[world.one] * 5)).start()
    assert table.row(b"d") == CELL
    seen = len(world.looks())
    assert table.row(b"n") == CELL  # was there too
    assert world.looks()[seen:] == [(b"t,m", b"t,t")]


def test_batches_reach_regions_that_moved(world: World, connect: Connect) -> None:
    table = connect(world.meta).table("t")
    rows = [b"a", b"d", b"g", b"n", b"u"]
    assert [row for row, _ in table.rows(rows)] == rows
    world.assign(world.two, world.one, world.two, world.one, world.two)
    assert table.run_batch([Get(row) for row in rows[:2]] + [Put(row).add(b"f:q", b"v") for row in rows[2:]])
    with table.batch() as batch:
        for row in rows:
            batch.put(row, CELL)
    assert [row for row, _ in table.rows(rows)] == rows


def test_a_scan_finds_what_moved_and_split(world: World, connect: Connect) -> None:
    table = connect(world.meta).table("t")
    assert [row for row, _ in table.scan()] == [b"a", b"c", b"f", b"m", b"t"]
    world.meta.splits.insert(2, b"k")
    world.meta.own_ids = {b"f": 2, b"k": 2}
    world.assign(world.two, world.one, world.two, world.one, world.one, world.two)
    assert [row for row, _ in table.scan()] == [b"a", b"c", b"f", b"k", b"m", b"t"]
    assert [row for row, _ in table.scan(reverse=True)] == [b"t", b"m", b"k", b"f", b"c", b"a"]


# -- servers, hbase:meta and the master -----------------------------------------------------------------


def test_meta_is_looked_for_where_it_went(world: World, connect: Connect) -> None:
    table = connect(*world.servers).table("t")
    table.row(b"d")
    new = FakeServer(splits=world.meta.splits, elsewhere=world.meta.elsewhere)
    with new:
        old, world.meta = world.meta, new
        world.servers = (new, world.one, world.two)
        new.answer = world.answer
        world.tell()
        old.close()
        world.assign(world.one, world.one, world.one, world.two, world.one)
        assert table.row(b"d") == CELL
        assert len(new.of(Method.SCAN)) == 1


def test_a_cluster_that_recovers_is_waited_for(world: World, connect: Connect) -> None:
    table = connect(world.one).table("t")
    for server in world.servers:
        server.registry = PleaseHoldException("hbase:meta is not served yet")
    threading.Timer(0.3, world.tell).start()
    assert table.row(b"d") == CELL


@pytest.mark.parametrize("missing", ["master", "meta"])
def test_a_registry_without_master_or_meta(world: World, connect: Connect, missing: str) -> None:
    """Reads and writes go on while no master is there."""
    for server in world.servers:
        server.registry = {**server.registry, missing: ""}
    connection = connect(world.one, operation_timeout_s=0.5)
    table = connection.table("t")
    if missing == "master":
        assert table.row(b"d") == CELL
    with pytest.raises(RetriesExhaustedException) as caught:
        connection.admin.list_tables() if missing == "master" else table.row(b"d")
    said = {"master": "no master is active", "meta": "hbase:meta is not served"}[missing]
    assert any(said in str(cause) for cause in caught.value.causes)


def test_servers_that_were_learned_are_asked(world: World, connect: Connect) -> None:
    """The one that was named at first may be gone."""
    with FakeServer(registry=world.one.registry) as named:
        connection = connect(named)
        table = connection.table("t")
        assert table.row(b"d") == CELL
    world.meta.answer = lambda request: ["a"] if request.method == Method.ADMIN else world.answer(request)
    assert connection.admin.list_tables() == ["a"]
    world.meta.drop()
    world.one.close()
    assert connection.admin.list_tables() == ["a"]


def test_a_server_of_another_cluster_is_not_believed(world: World, connect: Connect) -> None:
    """Ports are given away: a server that was learned may be somebody else's now."""
    with FakeServer(registry=world.one.registry) as named:
        table = connect(named, operation_timeout_s=1).table("t")
        assert table.row(b"d") == CELL
        for server in world.servers:
            server.registry = {**server.registry, "cluster_id": "other"}
        world.meta.close()
        world.assign(*[world.one] * 5)
        world.two.answer = lambda request: Close
        with pytest.raises(RetriesExhaustedException):
            table.row(b"d")
        assert world.one.of(Method.REGISTRY)
        assert not world.one.of(Method.SCAN)


def test_a_change_goes_to_the_next_master_with_its_number(world: World, connect: Connect) -> None:
    first, second = world.one, world.two
    world.tell(master=first)
    connection = connect(world.meta)

    def die(request: Request) -> Any:
        first.registry = second.registry = world.meta.registry = PleaseHoldException("no master is active")
        threading.Timer(0.3, world.tell, [second]).start()
        return Close

    first.answer = die
    second.answer = lambda request: None
    connection.enable_table("t")
    ((name, _, number),) = [request.arguments for request in first.of(Method.ADMIN)]
    assert name == "enable_table"
    assert [request.arguments[2] for request in second.of(Method.ADMIN)] == [number]


def test_a_master_that_stands_by_is_asked_no_more(world: World, connect: Connect) -> None:
    world.tell(master=world.one)
    connection = connect(world.meta)

    def stand_by(request: Request) -> Any:
        world.tell(master=world.two)
        raise PleaseHoldException("this master stands by")

    world.one.answer = stand_by
    world.two.answer = lambda request: ["a"]
    assert connection.admin.list_tables() == ["a"]


def test_a_stopped_server_is_given_up_after_some_silence(world: World, connect: Connect) -> None:
    """Its connections are open, but nobody is there; the region is soon elsewhere."""
    table = connect(world.meta, keepalive_interval_s=0.2, keepalive_timeout_s=0.6).table("t")
    assert table.row(b"d") == CELL
    world.two.answer = lambda request: Silence
    world.two.answers_pings = False
    world.assign(*[world.one] * 5)
    assert table.row(b"d") == CELL


# -- Arrow -----------------------------------------------------------------------------------------------


@pytest.fixture
def sink(world: World) -> ArrowSink:
    return ArrowSink(world)


def data(keys: list[bytes], **columns: Any) -> pa.Table:
    return pa.table({"key": keys, "f:q": [b"v-" + key for key in keys], **columns})


def test_an_upload_is_cut_by_region(sink: ArrowSink, world: World, connect: Connect) -> None:
    table = connect(world.meta).table("t")
    keys = [b"z", b"a", b"d", b"c", b"f", b"m", b"s", b"t"]
    assert table.put_arrow(data(keys), row_key="key") == 8
    assert sink.rows(world.one) == {key: b"v-" + key for key in (b"a", b"f", b"z", b"t")}
    assert sink.rows(world.two) == {key: b"v-" + key for key in (b"c", b"d", b"m", b"s")}
    assert sink.loads(world.one) == [
        [],
        [b"a", b"f", b"t", b"z"],
    ]  # first without rows: are the columns right?


def test_an_upload_follows_what_moved(sink: ArrowSink, world: World, connect: Connect) -> None:
    table = connect(world.meta).table("t")
    keys = [b"a", b"d", b"f", b"m", b"z"]
    table.put_arrow(data(keys), row_key="key")
    world.assign(world.one, world.one, world.one, world.two, world.two)
    assert table.put_arrow(data(keys), row_key="key") == 5
    assert sink.rows(world.one).keys() | sink.rows(world.two).keys() == set(keys)
    assert sink.loads(world.two)[-1] == [b"m", b"z"] or sink.loads(world.two)[-1] == [b"z"]


@pytest.mark.parametrize(("timestamp", "again"), [(None, False), (7, True), ("ts", True), ("ts?", False)])
def test_an_upload_that_was_cut_off_is_repeated_where_that_changes_nothing(
    sink: ArrowSink, world: World, connect: Connect, timestamp: int | str | None, again: bool
) -> None:
    stamps = pa.array([1, None if timestamp == "ts?" else 2], pa.int64())
    named = "ts" if timestamp == "ts?" else timestamp
    columns = {} if named != "ts" else {"ts": stamps}
    sink.cut_off(world.two, 1)
    table = connect(world.meta).table("t")
    if again:
        assert table.put_arrow(data([b"a", b"d"], **columns), row_key="key", timestamp=named) == 2
    else:
        with pytest.raises(ConnectionLostException):
            table.put_arrow(data([b"a", b"d"], **columns), row_key="key", timestamp=named)


def test_wrong_columns_are_refused_before_anything_is_sent(
    sink: ArrowSink, world: World, connect: Connect
) -> None:
    sink.refuse(IllegalArgumentException("no such family"))
    with pytest.raises(IllegalArgumentException, match="no such family"):
        connect(world.meta).table("t").put_arrow(data([b"a", b"d"]), row_key="key")
    assert sink.loads(world.two) == []


@pytest.mark.parametrize(
    ("key", "message"),
    [(None, "row key is null"), (b"", "Row length is 0"), (b"k" * (MAX_ROW_LENGTH + 1), "Row length is > ")],
)
def test_row_keys_are_checked_before_anything_is_sent(
    sink: ArrowSink, world: World, connect: Connect, key: bytes | None, message: str
) -> None:
    rows = pa.table({"key": pa.array([b"a", b"d", key], pa.binary()), "f:q": ["1", "2", "3"]})
    with pytest.raises(IllegalArgumentException, match=f"data row 2: .*{message}"):
        connect(world.meta).table("t").put_arrow(rows, row_key="key")
    assert sink.loads(world.two) == []
