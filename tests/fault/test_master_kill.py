"""A master, a region server, or both, killed at every step of every procedure: it ends whole."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hyperbase import Connection
from hyperbase.common.catalog import region_directory
from hyperbase.common.descriptors import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.common.errors import ConnectionLostException, HBaseIOException, MasterNotRunningException
from hyperbase.common.region_info import META_REGION, RegionState
from hyperbase.common.wire.command_codec import NO_ORDER
from hyperbase.embedded.backend import EmbeddedBackend
from hyperbase.embedded.store import EmbeddedStore
from master import procedures, region_procedures, server_crash, table_procedures
from master.janitor import Janitor
from master.procedures import Procedure
from regionserver.region.manifest import ManifestStore
from tests.support.master_world import Killed, RegionServer, World, wait_for

FAMILY = ColumnFamilyDescriptor(b"f", max_versions=3)
TABLE = TableDescriptor("t", [FAMILY])
KEYS = [b"g", b"p"]
ROWS = {b"%c%02d" % (97 + number % 26, number): b"%d" % number for number in range(52)}


class Change:
    """One kind of change: how it is asked for, and what holds afterwards."""

    def __init__(
        self,
        kind: type[Procedure],
        ask: Callable[[World], None],
        holds: Callable[[World], None],
        prepare: Callable[[World], None] = lambda world: None,
    ) -> None:
        self.kind, self.ask, self.holds, self.prepare = kind, ask, holds, prepare


def backend(world: World) -> Any:
    assert world.master is not None
    return world.master.backend


def rows_are_there(world: World) -> None:
    assert {row: world.get("t", row) for row in ROWS} == ROWS


def rows_are_gone(world: World) -> None:
    assert all(world.get("t", row) is None for row in ROWS)


def regions(count: int) -> Callable[[World], None]:
    def look(world: World) -> None:
        infos = backend(world).regions("t")
        assert len(infos) == count
        assert [info.end_key for info in infos[:-1]] == [info.start_key for info in infos[1:]]
        rows_are_there(world)

    return look


def disabled(world: World) -> None:
    assert not backend(world).is_table_enabled("t")
    assert not list(world.table_regions("t"))
    backend(world).enable_table("t")
    rows_are_there(world)


def made(world: World) -> None:
    assert backend(world).is_table_enabled("new")
    world.put("new", b"a", b"v")
    assert world.get("new", b"a") == b"v"
    rows_are_there(world)


def altered(world: World) -> None:
    assert backend(world).describe_table("t").family_names == (b"f", b"g")
    assert all(region.descriptor.family_names == (b"f", b"g") for region in world.table_regions("t"))
    rows_are_there(world)


def dropped(world: World) -> None:
    assert backend(world).list_tables() == []
    wait_for(lambda: not Janitor(world.master.core).run() and not world.fs.list("data/default/t"))  # type: ignore[union-attr]
    backend(world).create_table(TABLE)
    rows_are_gone(world)


def disable(world: World) -> None:
    backend(world).disable_table("t")


def names(world: World) -> list[str]:
    return [info.encoded_name for info in backend(world).regions("t")]


def kill_owner(world: World) -> None:
    """The server of hbase:meta, and of a region: its death is the change."""
    world.owners(META_REGION.id16)[0].kill()


CHANGES = {
    "create": Change(
        table_procedures.CreateTable,
        lambda world: backend(world).create_table(TableDescriptor("new", [FAMILY]), KEYS),
        made,
    ),
    "disable": Change(table_procedures.DisableTable, disable, disabled),
    "enable": Change(
        table_procedures.EnableTable, lambda world: backend(world).enable_table("t"), rows_are_there, disable
    ),
    "drop": Change(
        table_procedures.DropTable, lambda world: backend(world).drop_table("t"), dropped, disable
    ),
    "truncate": Change(
        table_procedures.TruncateTable,
        lambda world: backend(world).truncate_table("t", True),
        rows_are_gone,
        disable,
    ),
    "alter": Change(
        table_procedures.AlterTable,
        lambda world: backend(world).alter_table(
            TableDescriptor("t", [FAMILY, ColumnFamilyDescriptor(b"g")])
        ),
        altered,
    ),
    "split": Change(
        region_procedures.SplitRegion, lambda world: backend(world).split(names(world)[0], b"c"), regions(4)
    ),
    "merge": Change(
        region_procedures.MergeRegions,
        lambda world: backend(world).merge_regions(*names(world)[:2]),
        regions(2),
    ),
    "move": Change(
        region_procedures.MoveRegion, lambda world: backend(world).move(names(world)[0]), regions(3)
    ),
    "server crash": Change(server_crash.ServerCrash, kill_owner, regions(3)),
}
POINTS = [
    (name, f"{change.kind.kind}.{step}.{where}")
    for name, change in CHANGES.items()
    for step in change.kind.steps
    for where in ("before", "after")
]


def at_point(monkeypatch: pytest.MonkeyPatch, point: str, act: Callable[[], None]) -> threading.Event:
    """``act`` when the point is passed for the first time."""
    passed = threading.Event()

    def fault_point(name: str) -> None:
        if name == point and not passed.is_set():
            passed.set()
            act()

    monkeypatch.setattr(procedures, "fault_point", fault_point)
    return passed


Prepared = Callable[[Change], World]


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Prepared]:
    """A cluster with data in files and in logs, before the change."""
    worlds: list[World] = []

    def prepare(change: Change) -> World:
        world = World(monkeypatch)
        worlds.append(world)
        _fill(world, change)
        return world

    yield prepare
    for world in worlds:
        world.close()


def _fill(world: World, change: Change) -> None:
    world.start_master()
    backend(world).create_table(TABLE, KEYS)
    for number, (row, value) in enumerate(ROWS.items()):
        world.put("t", row, b"old")
        world.put("t", row, value)
        if number == len(ROWS) // 2:
            backend(world).flush("t")
    change.prepare(world)


def ask(world: World, change: Change) -> threading.Thread:
    """Ask for the change; who asks may never hear of it."""

    def run() -> None:
        with contextlib.suppress(HBaseIOException, AttributeError, AssertionError):  # its master died
            change.ask(world)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def settled(world: World) -> None:
    """No procedure is under way, each region is served by one server, nothing is left over."""
    master = world.master
    assert master is not None
    wait_for(lambda: not master.core.executor.running(), lambda: master.backend.procedures())
    catalog = master.core.catalog
    for node in catalog.nodes():
        if catalog.wanted_open(node.info.table):
            owners = world.owners(node.info.id16)
            assert [node.server] == [owner.name for owner in owners], node
            assert node.state is RegionState.OPEN
    held = [id16 for server in world.alive() for id16 in server.engine.regions]
    assert sorted(held) == sorted(set(held))
    known = {node.info.id16 for node in catalog.nodes()} | {META_REGION.id16}
    assert set(held) <= known
    logs = {str(server.name) for server in world.alive()}
    assert set(world.fs.list("WALs")) == logs
    while Janitor(master.core).run():
        pass
    for node in catalog.nodes():
        manifest = ManifestStore(world.fs, region_directory(node.info)).newest()
        assert manifest is not None
        assert all(world.fs.exists(entry.path) for entry in manifest.files())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("name", "point"), POINTS, ids=[point for _, point in POINTS])
def test_the_master_is_killed(
    monkeypatch: pytest.MonkeyPatch, prepared: Prepared, name: str, point: str
) -> None:
    change = CHANGES[name]
    world = prepared(change)

    def die() -> None:
        assert world.coordination is not None
        world.coordination.held = False
        raise Killed

    passed = at_point(monkeypatch, point, die)
    thread = ask(world, change)
    wait_for(passed.is_set, point)
    world.start_master()
    settled(world)
    change.holds(world)
    thread.join(0.1)


@pytest.mark.parametrize(("name", "point"), POINTS, ids=[point for _, point in POINTS])
def test_a_region_server_is_killed(
    monkeypatch: pytest.MonkeyPatch, prepared: Prepared, name: str, point: str
) -> None:
    """The one that has the change's regions, or the data of the table."""
    change = CHANGES[name]
    world = prepared(change)

    def die() -> None:
        victims = {server.name: server for region in [b"a"] for server in _owners_of(world, region)}
        for victim in list(victims.values()) or world.alive()[:1]:
            victim.kill()
        RegionServer(world, 9)

    passed = at_point(monkeypatch, point, die)
    thread = ask(world, change)
    wait_for(passed.is_set, point)
    thread.join(30)
    assert not thread.is_alive()
    settled(world)
    change.holds(world)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("name", "point"), POINTS, ids=[point for _, point in POINTS])
def test_everybody_is_killed(
    monkeypatch: pytest.MonkeyPatch, prepared: Prepared, name: str, point: str
) -> None:
    """Master and all region servers; others start."""
    change = CHANGES[name]
    world = prepared(change)

    def die() -> None:
        assert world.coordination is not None
        world.coordination.held = False
        raise Killed

    passed = at_point(monkeypatch, point, die)
    ask(world, change)
    wait_for(passed.is_set, point)
    for server in world.alive():
        server.kill()
    for number in range(2):
        RegionServer(world, number + 20)
    world.start_master()
    settled(world)
    change.holds(world)


def _owners_of(world: World, row: bytes) -> list[RegionServer]:
    return [
        server
        for server in world.alive()
        for region in list(server.engine.regions.values())
        if region.info.table == "t" and region.info.contains(row)
    ]


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "killed"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("point", ["", "server_crash.seal.after", "server_crash.assign.before"])
def test_a_store_in_one_process_becomes_a_cluster(
    monkeypatch: pytest.MonkeyPatch, closed: bool, point: str
) -> None:
    """What it had in its log only is served, a disabled table's too."""
    world = World(monkeypatch, server_count=0)
    store = EmbeddedStore(world.fs, world.config, background=False)
    connection = Connection(lambda: EmbeddedBackend(store, store.close))
    for name in ("t", "off"):
        connection.admin.create_table(TableDescriptor(name, [FAMILY]), splits=KEYS)
        table = connection.table(name)
        for row, value in ROWS.items():
            table.put(row, {b"f:q": value})
    connection.admin.flush("t")
    connection.table("t").put(b"a00", {b"f:q": b"newer"})
    connection.admin.disable_table("off")
    if closed:
        connection.close()
    else:
        store.crash()
        EmbeddedStore(world.fs, world.config, background=False).crash()  # what it replayed is sealed now
    for number in range(3):
        RegionServer(world, number + 1)
    if point:

        def die() -> None:
            assert world.coordination is not None
            world.coordination.held = False
            raise Killed

        passed = at_point(monkeypatch, point, die)
        with contextlib.suppress(HBaseIOException):
            world.start_master()
        wait_for(passed.is_set, point)
    world.start_master()
    settled(world)
    assert {row: world.get("t", row) for row in ROWS} == {**ROWS, b"a00": b"newer"}
    assert not backend(world).is_table_enabled("off")
    backend(world).enable_table("off")
    assert {row: world.get("off", row) for row in ROWS} == ROWS
    world.close()


def test_a_replaced_master_commands_nothing(prepared: Prepared) -> None:
    world = prepared(CHANGES["move"])
    old = world.master
    assert old is not None
    told: list[str] = []
    old._on_end = told.append
    world.master = None  # it lives on, and believes that it is active
    world.coordination = None
    world.start_master()
    with pytest.raises(HBaseIOException, match="another master"):
        old.core.servers.command(world.alive()[0].name, "report")
    assert told
    assert all(server.epoch == world.epoch for server in world.alive())
    assert all(order != NO_ORDER for server in world.alive() for order in server.orders.values())
    old.abandon()


def test_the_server_of_meta_dies_while_a_master_starts(prepared: Prepared) -> None:
    """Its regions are known only when hbase:meta was read: its log is kept for them."""
    world = prepared(CHANGES["server crash"])
    (owner,) = world.owners(META_REGION.id16)
    assert {region.info.table for region in owner.engine.regions.values()} == {"t", META_REGION.table}
    world.kill_master()

    def die(command: str) -> HBaseIOException:
        """It answers nothing, and its znode goes when the new master waits for it already."""
        if command == "open_regions":
            owner.kill()
        return ConnectionLostException("no answer")

    owner.refuse = die
    world.start_master()
    settled(world)
    rows_are_there(world)


def test_a_master_whose_log_fails_gives_way(prepared: Prepared) -> None:
    """Nobody knows whether what it was writing is in the log: whoever asked shall ask the next master."""
    world = prepared(CHANGES["split"])
    master = world.master
    assert master is not None
    told: list[str] = []
    master.core.store._on_failure = told.append
    wal = master.core.store._engine.wal
    assert wal is not None
    wal._poison(OSError(errno.ENOSPC, "no space left"))
    with pytest.raises(MasterNotRunningException, match="no space left"):
        backend(world).split(names(world)[0], b"c")
    assert told
    world.start_master()
    backend(world).split(names(world)[0], b"c")
    settled(world)
    regions(4)(world)


def test_a_replaced_master_removes_no_directory_that_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch, prepared: Prepared
) -> None:
    """It was stopped in the middle of its janitor's work, and its successor has split a region meanwhile."""
    world = prepared(CHANGES["split"])
    old = world.master
    assert old is not None
    monkeypatch.setattr(old, "_clean", lambda: None)

    def be_replaced(*_: object) -> int:
        assert world.coordination is not None
        world.coordination.held = False
        world.master = world.coordination = None
        world.start_master()
        backend(world).split(names(world)[0], b"c")
        return 0

    janitor = Janitor(old.core)
    monkeypatch.setattr(janitor, "_forget_parents", be_replaced)
    with pytest.raises(MasterNotRunningException):
        janitor.run()
    settled(world)
    regions(4)(world)
    old.abandon()


def test_what_a_replaced_master_writes_down_is_not_acknowledged(prepared: Prepared) -> None:
    world = prepared(CHANGES["split"])
    old, coordination = world.master, world.coordination
    assert old is not None
    assert coordination is not None
    world.master = world.coordination = None
    world.start_master()
    coordination.held = False
    with pytest.raises(MasterNotRunningException):
        old.core.store.set_switch("balancer", False)
    assert backend(world).switch("balancer", None)
    old.abandon()
