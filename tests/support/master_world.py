"""A cluster in one process and in memory: a real active master, and region servers that are engines.

What is not real is the network, ZooKeeper and time: commands are calls, a znode is a name in a set. Masters
and servers can be killed at any moment; whoever was killed does nothing more, as far as others can see.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from hyperbase.common.catalog import region_directory
from hyperbase.common.cluster_status import RegionStatus
from hyperbase.common.config import StoreConfig
from hyperbase.common.errors import (
    ConnectionLostException,
    HBaseIOException,
    LeaseLostException,
    NotServingRegionException,
    StaleMasterException,
)
from hyperbase.common.model import Get, Mutation, Put, Result, Scan
from hyperbase.common.region_info import META_REGION, RegionState
from hyperbase.common.server_name import ServerName
from hyperbase.common.wire.command_codec import (
    COMMANDS,
    HeldRegion,
    Order,
    ServerReport,
    decode_command,
    encode_command,
)
from hyperbase.common.zookeeper.coordination import RemovedServer
from hyperbase.common.zookeeper.znodes import MetaLocation
from hyperbase.embedded.regions import split_point
from hyperbase.embedded.store import make_config
from master import active, servers
from master.active import ActiveMaster
from regionserver.region.engine import Engine
from regionserver.region.mutations import mutate_rows, submit_mutation
from regionserver.region.region import Region
from regionserver.storage.memory_filesystem import MemoryFileSystem

CONFIG = make_config(
    {
        "wal_segment_bytes": 2**20,
        "compaction_min_files": 100,
        "compaction_max_files": 100,
        "blocking_store_files": 200,
        "janitor_interval_s": 0.05,
    }
)
WAIT_S = 30.0


class Killed(BaseException):
    """The process is dead: no handler of its own stops this."""


def wait_for(condition: Callable[[], bool], what: Callable[[], object] | str = "") -> None:
    """Look again and again, until a deadline."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.002)


class RegionServer:
    """A server: an engine, and the commands it obeys."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.name = ServerName("rs", number, next(world.startcodes))
        self.killed = False
        self.epoch = 0
        self.orders: dict[bytes, Order] = {}
        self.refuse: Callable[[str], HBaseIOException | None] = lambda command: None
        self._lock = threading.Lock()
        directory = f"WALs/{self.name}"
        world.fs.make_directory(directory)
        self._log_lock = world.fs.lock(f"{directory}/LOCK")
        self.engine = Engine(
            world.fs,
            CONFIG,
            wal_directory=directory,
            archive_directory=f"oldWALs/{self.name}",
            deletes_files=False,
            check_owner=self._check_alive,
            background=False,
        )
        self.engine.start()
        world.register(self)

    def _check_alive(self) -> None:
        if self.killed:
            raise LeaseLostException("killed")

    def kill(self) -> None:
        """As kill -9: its log stays as it is, its znode goes."""
        self.killed = True
        self.engine.abandon()
        self._log_lock.release()
        self.world.unregister(self.name)

    def command(self, order: Order, name: str, arguments: Sequence[Any]) -> Any:
        """What the wire does: encode, decode, carry out, encode, decode."""
        got, name, values, encode = decode_command(encode_command(order, name, arguments))
        if self.killed:
            raise ConnectionLostException(f"{self.name} is dead")
        if got.epoch < self.epoch:
            raise StaleMasterException(f"epoch {got.epoch} is over: {self.epoch}")
        self.epoch = got.epoch
        refusal = self.refuse(name)
        if refusal is not None:
            raise refusal
        with self._lock:
            result = getattr(self, name)(got, *values)
        if self.killed:
            raise ConnectionLostException(f"{self.name} died before it answered")
        return COMMANDS[name].result.decode(encode(result))

    def scan_meta(self) -> list[Result]:
        if self.killed:
            raise ConnectionLostException(f"{self.name} is dead")
        region = self._region(META_REGION.id16)
        scanner, rows = region.open_scanner(Scan()), []
        while (chunk := scanner.next_chunk()) is not None:
            rows += chunk
        scanner.close()
        return rows

    # -- commands

    def report(self, order: Order) -> ServerReport:
        regions = [
            HeldRegion(
                region.info,
                RegionStatus(region.info.region_name),
                region.manifest.open_sequence_id,
                self.orders.get(region.id16, Order(0, 0)),
            )
            for region in self.engine.regions.values()
        ]
        return ServerReport(str(self.name), tuple(regions), time.time_ns() // 1_000_000)

    def open_regions(self, order: Order, wanted: Sequence[Any]) -> list[Any]:
        return [self._open(order, one) for one in wanted]

    def _open(self, order: Order, wanted: Any) -> Any:
        held = self.engine.regions.get(wanted.info.id16)
        if held is not None:
            return held.manifest.open_sequence_id
        try:
            region = self.engine.open_region(
                wanted.info, wanted.descriptor, region_directory(wanted.info), serve=False
            )
            try:
                for log in wanted.logs:
                    self.engine.replay_log([region], directory=log, seal=False)
                self.engine.serve_region(region)
            except BaseException:
                self.engine.give_up_region(region)
                raise
        except HBaseIOException as error:
            return error
        self.orders[region.id16] = order
        self.world.check_single_owner(region.id16)
        return region.manifest.open_sequence_id

    def close_regions(self, order: Order, ids: Sequence[bytes]) -> list[Any]:
        for id16 in ids:
            region = self.engine.regions.get(id16)
            if region is not None:
                self.engine.close_region(region)
        return [None] * len(ids)

    def flush_regions(self, order: Order, ids: Sequence[bytes]) -> list[Any]:
        for id16 in ids:
            self.engine.flush(self._region(id16))
        return [None] * len(ids)

    def split_point(self, order: Order, id16: bytes) -> bytes:
        self.engine.flush(self._region(id16))
        return split_point(self._region(id16)) or b""

    def write_meta(self, order: Order, mutations: Sequence[Mutation], conditions: Sequence[Any]) -> bool:
        outcome = mutate_rows(self._region(META_REGION.id16), mutations, conditions).wait()
        return bool(outcome.success)

    def _region(self, id16: bytes) -> Region:
        region = self.engine.regions.get(id16)
        if region is None:
            raise NotServingRegionException(f"{self.name} does not serve {id16.hex()}")
        return region


class FakeLink:
    """Calls instead of sockets."""

    def __init__(self, server: RegionServer) -> None:
        self._server = server

    def command(
        self, order: Order, name: str, arguments: Sequence[Any], timeout_s: float | None = None
    ) -> Any:
        return self._server.command(order, name, arguments)

    def scan_meta(self) -> list[Result]:
        return self._server.scan_meta()

    def close(self) -> None:
        pass


class Coordination:
    """One master's ZooKeeper session."""

    def __init__(self, world: World, epoch: int) -> None:
        self._world = world
        self.session = SimpleNamespace(timeout_s=30.0)
        self.held = True
        self.master_lease = SimpleNamespace(czxid=epoch, wait=self._wait, check=lambda: self._wait(0))

    def _wait(self, seconds: float) -> None:
        if not self.held:
            raise LeaseLostException("another master is active")

    def publish_cluster_id(self, cluster_id: str) -> bool:
        return False

    def set_cluster_up(self, since: str) -> None:
        pass

    def cluster_is_up(self) -> bool:
        return True

    def cluster_id(self) -> str:
        return "world"

    def backup_masters(self) -> list[ServerName]:
        return []

    def watch_servers(self, listener: Callable[[list[ServerName]], None]) -> Any:
        self._world.listeners.append(listener)
        listener(self._world.registered())
        return SimpleNamespace(close=lambda: None)

    def remove_znode_of(self, server: ServerName) -> RemovedServer:
        if server in self._world.registered():
            self._world.unregister(server)
        return RemovedServer(server, 0.0)

    def removed_servers(self) -> list[ServerName]:
        return []

    def forget_removed(self, server: ServerName) -> None:
        pass

    def set_meta_location(self, server: ServerName | None, state: RegionState = RegionState.OPEN) -> None:
        self._world.meta_place = None if server is None else MetaLocation(server, state)

    def meta_place(self) -> MetaLocation | None:
        return self._world.meta_place


class World:
    """The cluster; ``monkeypatch`` gives masters its links."""

    def __init__(self, monkeypatch: Any, server_count: int = 3, config: StoreConfig = CONFIG) -> None:
        self.fs = MemoryFileSystem()
        self.config = config
        self.startcodes = itertools.count(time.time_ns() // 1_000_000)  # the age of a server counts
        self.servers: dict[ServerName, RegionServer] = {}
        self.listeners: list[Callable[[list[ServerName]], None]] = []
        self.meta_place: MetaLocation | None = None
        self.epoch = 0
        self.master: ActiveMaster | None = None
        self.coordination: Coordination | None = None
        self._lock = threading.RLock()
        monkeypatch.setattr(servers, "Link", lambda name: FakeLink(self.servers[name]))
        monkeypatch.setattr(active, "SETTLE_S", 0.0)
        monkeypatch.setattr(active, "PROBE_S", 0.01)
        monkeypatch.setattr(active, "REPORT_S", 0.05)
        for number in range(server_count):
            RegionServer(self, number + 1)

    # -- ZooKeeper

    def register(self, server: RegionServer) -> None:
        with self._lock:
            self.servers[server.name] = server
        self.tell()

    def unregister(self, name: ServerName) -> None:
        with self._lock:
            self.servers[name].killed = True
        self.tell()

    def registered(self) -> list[ServerName]:
        with self._lock:
            return sorted(name for name, server in self.servers.items() if not server.killed)

    def tell(self) -> None:
        for listener in list(self.listeners):
            listener(self.registered())

    # -- masters

    def start_master(self) -> ActiveMaster:
        """A new active master; the one before is dead."""
        self.kill_master()
        self.epoch += 1
        self.coordination = Coordination(self, self.epoch)
        name = ServerName("master", 1, next(self.startcodes))
        self.master = ActiveMaster(name, self.fs, self.config, self.coordination, lambda why: None)  # type: ignore[arg-type]
        self.master.start()
        return self.master

    def kill_master(self) -> None:
        """As kill -9."""
        master, self.master = self.master, None
        if self.coordination is not None:
            self.coordination.held = False
        self.listeners.clear()
        if master is not None:
            master.abandon()

    def close(self) -> None:
        """The test is over: nothing of it goes on."""
        self.kill_master()
        for server in self.alive():
            server.killed = True
            server.engine.abandon()

    # -- data

    def alive(self) -> list[RegionServer]:
        return [server for server in self.servers.values() if not server.killed]

    def owners(self, id16: bytes) -> list[RegionServer]:
        return [server for server in self.alive() if id16 in server.engine.regions]

    def check_single_owner(self, id16: bytes) -> None:
        assert len(self.owners(id16)) <= 1, f"{id16.hex()} has several owners"

    def region_of(self, table: str, row: bytes) -> Region:
        """The open region of a row; waits for it."""
        found: list[Region] = []

        def look() -> bool:
            found[:] = [
                region
                for server in self.alive()
                for region in list(server.engine.regions.values())
                if region.info.table == table and region.info.contains(row) and not region.closed
            ]
            return bool(found)

        wait_for(look, f"no region of {table} has {row!r}")
        (region,) = found
        return region

    def put(self, table: str, row: bytes, value: bytes) -> None:
        """As a client: finds the region, tries again where it moved."""
        while True:
            region = self.region_of(table, row)
            try:
                submit_mutation(region, Put(row).add(b"f:q", value)).wait()
                return
            except NotServingRegionException:
                continue

    def get(self, table: str, row: bytes) -> bytes | None:
        while True:
            try:
                return self.region_of(table, row).get(Get(row)).value(b"f:q")
            except NotServingRegionException:
                continue

    def table_regions(self, table: str) -> Iterator[Region]:
        for server in self.alive():
            for region in list(server.engine.regions.values()):
                if region.info.table == table:
                    yield region
