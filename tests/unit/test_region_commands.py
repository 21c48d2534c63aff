"""COMMAND: what a master has a region server do, and which masters and orders it obeys."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from hyperbase.common.authorization import allow_all
from hyperbase.common.catalog import META_DESCRIPTOR, region_directory
from hyperbase.common.errors import (
    HBaseIOException,
    IllegalArgumentException,
    NotServingRegionException,
    StaleMasterException,
)
from hyperbase.common.model import CheckAndMutate, Delete, Get, Put
from hyperbase.common.region_info import META_REGION, RegionInfo
from hyperbase.common.wire.command_codec import (
    COMMANDS,
    OpenRegion,
    Order,
    ServerReport,
    decode_command,
    encode_command,
)
from hyperbase.common.wire.messages import Method, Priority
from regionserver.region.manifest import ManifestStore
from regionserver.region.region import Region
from regionserver.server.orders import Orders
from regionserver.server.region_commands import RegionCommands
from regionserver.server.region_service import priority_of
from regionserver.server.work import Completions
from regionserver.storage.memory_filesystem import MemoryFileSystem
from tests.support.cluster_engines import OTHER, REGION, TABLE, ServerEngine, put, rows_of
from tests.support.waiting import wait_for

META = OpenRegion(META_REGION, META_DESCRIPTOR)


class Server:
    """An engine and its commands; ``tell`` is what a master does, with a number of its own each time."""

    def __init__(self, fs: MemoryFileSystem | None = None, name: str = "one", epoch: int = 0) -> None:
        self.fs = fs or MemoryFileSystem()
        self.holder = ServerEngine(self.fs, name, max_file_size_bytes=2000)
        self.engine = self.holder.engine
        self.number = 0
        self.orders = Orders(epoch)
        self._loop = asyncio.new_event_loop()
        self.commands = RegionCommands(
            self.engine,
            f"{name},1,1",
            self.orders,
            Completions(self._loop),
            allow_all,
            limit=100,
            shut_down=lambda: None,
        )

    def prepare(self, order: Order, name: str, *arguments: Any) -> Any:
        """What arrives is accepted; calling what comes back carries it out."""
        sent = msgpack.unpackb(
            msgpack.packb(encode_command(order, name, arguments)), use_list=False, strict_map_key=False
        )
        order, name, values, encode = decode_command(sent)
        self.orders.obey(order)
        work = self.commands._prepare(name, order, values)

        def carry_out() -> Any:
            answer = msgpack.unpackb(msgpack.packb(encode(work())), use_list=False, strict_map_key=False)
            return COMMANDS[name].result.decode(answer)

        return carry_out

    def tell(self, name: str, *arguments: Any, order: Order | None = None) -> Any:
        self.number += 1
        return self.prepare(order or Order(7, self.number), name, *arguments)()

    def open(self, *infos: RegionInfo, logs: tuple[str, ...] = ()) -> list[Any]:
        found: list[Any] = self.tell("open_regions", [OpenRegion(info, TABLE, logs) for info in infos])
        return found

    def region(self, info: RegionInfo = REGION) -> Region:
        return self.engine.regions[info.id16]

    def close(self) -> None:
        self.commands.stop(wait=True)
        self._loop.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_every_command_is_carried_out_by_somebody(server: Server) -> None:
    known = {*server.commands._work, "open_regions", "close_regions", "write_meta", "report", "shut_down"}
    assert known == set(COMMANDS)


def test_commands_wait_behind_no_user() -> None:
    arguments = encode_command(Order(1, 1), "report", [])
    assert priority_of(Method.COMMAND, arguments) == Priority.SERVER


def test_regions_are_opened_written_closed_and_opened_again(server: Server) -> None:
    assert server.open(REGION, OTHER) == [1, 1]
    put(server.region(), b"a", b"b")
    assert server.open(REGION) == [1]  # open already
    assert server.tell("close_regions", [REGION.id16, OTHER.id16]) == [None, None]
    assert server.engine.regions == {}
    assert server.tell("close_regions", [REGION.id16]) == [None]  # closed already
    assert server.open(REGION) == [3]
    assert rows_of(server.region()) == [b"a", b"b"]


def test_a_region_is_opened_with_the_logs_of_the_dead(server: Server) -> None:
    dead = ServerEngine(server.fs, "dead")
    put(dead.open(), b"a", b"b")
    log = dead.set_log_aside()
    missing, opened = (
        server.open(OTHER, logs=("WALs/no,1,1-splitting",)),
        server.open(REGION, logs=(log,)),
    )
    assert isinstance(missing[0], HBaseIOException)
    assert opened == [3]
    assert rows_of(server.region()) == [b"a", b"b"]


def test_a_master_that_was_replaced_is_not_obeyed() -> None:
    server = Server(epoch=5)
    with pytest.raises(StaleMasterException, match="epoch 4"):
        server.tell("report", order=Order(4, 100))
    server.tell("report", order=Order(5, 1))
    server.tell("report", order=Order(9, 1))
    with pytest.raises(StaleMasterException):
        server.tell("report", order=Order(5, 2))
    assert server.orders.epoch == 9
    server.close()


def test_an_order_that_is_not_newer_than_the_last_for_a_region_is_refused(server: Server) -> None:
    region = [OpenRegion(REGION, TABLE)]
    assert server.tell("open_regions", region, order=Order(7, 10)) == [1]
    for number in (10, 9):
        (outcome,) = server.tell("close_regions", [REGION.id16], order=Order(7, number))
        assert isinstance(outcome, StaleMasterException)
    assert server.region()
    assert server.tell("open_regions", [OpenRegion(OTHER, TABLE)], order=Order(7, 5)) == [1]
    assert server.tell("close_regions", [REGION.id16], order=Order(8, 1)) == [None]


def test_an_order_that_is_overtaken_while_it_waits_is_refused(server: Server) -> None:
    opening_it = server.prepare(Order(7, 1), "open_regions", [OpenRegion(REGION, TABLE)])
    closing_it = server.prepare(Order(7, 2), "close_regions", [REGION.id16])
    assert closing_it() == [None]
    (outcome,) = opening_it()
    assert isinstance(outcome, StaleMasterException)
    assert server.engine.regions == {}


def test_what_an_older_master_has_waiting_is_not_begun(server: Server) -> None:
    server.tell("open_regions", [META])
    opening_it = server.prepare(Order(7, 5), "open_regions", [OpenRegion(REGION, TABLE)])
    writing = server.prepare(Order(7, 6), "write_meta", [Put(b"r").add(b"info:q", b"v")], [])
    server.tell("report", order=Order(8, 1))
    (outcome,) = opening_it()
    assert isinstance(outcome, StaleMasterException)
    with pytest.raises(StaleMasterException):
        writing()


def test_opening_and_closing_of_one_region_take_turns(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Event(), threading.Event()
    original = server.engine.open_region

    def slow(*arguments: Any, **options: Any) -> Region:
        began.set()
        go_on.wait(30)
        return original(*arguments, **options)

    monkeypatch.setattr(server.engine, "open_region", slow)
    outcomes: dict[str, Any] = {}

    def carry_out(name: str, work: Any) -> threading.Thread:
        thread = threading.Thread(target=lambda: outcomes.update({name: work()}))
        thread.start()
        return thread

    opening_it = server.prepare(Order(7, 1), "open_regions", [OpenRegion(REGION, TABLE)])
    first = carry_out("open", opening_it)
    assert began.wait(30)
    closing_it = server.prepare(Order(7, 2), "close_regions", [REGION.id16])
    second = carry_out("close", closing_it)
    wait_for(lambda: server.orders._turns[REGION.id16].locked())
    assert not outcomes
    go_on.set()
    first.join()
    second.join()
    assert outcomes == {"open": [1], "close": [None]}
    assert server.engine.regions == {}


def test_meta_is_a_region_that_is_written_under_conditions(server: Server) -> None:
    with pytest.raises(NotServingRegionException):
        server.tell("write_meta", [Put(b"r").add(b"info:q", b"v")], [])
    assert server.tell("open_regions", [META]) == [1]
    assert server.region(META_REGION).directory == region_directory(META_REGION)
    absent = CheckAndMutate(b"r").if_not_exists(b"info:q")
    two = [Put(b"r").add(b"info:q", b"v"), Put(b"s").add(b"info:q", b"w")]
    assert server.tell("write_meta", two, [absent]) is True
    assert server.tell("write_meta", [Delete(b"s").add_family(b"info")], [absent]) is False
    assert server.region(META_REGION).get(Get(b"s")).value(b"info:q") == b"w"


def test_a_new_masters_first_report_waits_for_writes_of_the_old_one(server: Server) -> None:
    ended = threading.Event()
    with server.orders.writing(Order(7, 1)):
        new = server.prepare(Order(8, 1), "report")
        thread = threading.Thread(target=lambda: (new(), ended.set()))
        thread.start()
        with server.orders.writing(Order(8, 2)):
            pass
        assert not ended.is_set()
    thread.join(30)
    assert ended.is_set()


def test_what_a_server_reports(server: Server) -> None:
    server.open(REGION, OTHER)
    put(server.region(), *[b"a%04d" % number for number in range(300)])
    server.tell("flush_regions", [REGION.id16])
    report: ServerReport = server.tell("report")
    assert report.server == "one,1,1"
    held, other = report.regions
    assert (held.info, other.info) == (REGION, OTHER)
    assert held.open_sequence_id == 1
    assert held.last_order == Order(7, 1)
    assert held.wants_split
    assert not held.has_references
    assert not other.wants_split
    assert held.status.store_file_count == 2
    assert report.metrics["regionCount"] == 2
    assert report.clock_ms > 10**12
    assert report.max_memory_bytes > 0


def test_maintenance_of_regions_and_those_that_are_not_here(server: Server) -> None:
    server.open(REGION)
    for row in (b"a", b"b", b"c"):
        put(server.region(), row)
        flushed, missing = server.tell("flush_regions", [REGION.id16, OTHER.id16])
        assert flushed is None
        assert isinstance(missing, NotServingRegionException)
    outcomes = server.tell("compact_regions", [REGION.id16, OTHER.id16], True)
    assert outcomes[0] is None
    assert isinstance(outcomes[1], NotServingRegionException)
    newest = ManifestStore(server.fs, region_directory(REGION)).newest()
    assert newest is not None
    assert [len(entries) for entries in newest.stores.values()] == [1, 1]
    assert server.tell("split_point", REGION.id16) in (b"a", b"b", b"c")
    with pytest.raises(NotServingRegionException):
        server.tell("split_point", OTHER.id16)
    assert server.tell("compaction_states", [REGION.id16, OTHER.id16]) == ["NONE", "NONE"]
    rows_of(server.region())
    assert server.tell("clear_block_cache", [REGION.id16, OTHER.id16]) > 0
    server.tell("switch_compactions", False)
    assert not server.engine.compactions_enabled
    before = len(server.fs.list("WALs/one,1,1"))
    put(server.region(), b"d")
    server.tell("roll_wal")
    assert len(server.fs.list("WALs/one,1,1")) == before + 1


def test_malformed_commands_are_refused(server: Server) -> None:
    with pytest.raises(IllegalArgumentException, match="twice"):
        server.open(REGION, REGION)
    for arguments in (
        None,
        (),
        ((1, 1), "no_such", ()),
        (("1", 1), "report", ()),
        ((1, 1), "roll_wal", (1,)),
    ):
        with pytest.raises(IllegalArgumentException):
            decode_command(arguments)
