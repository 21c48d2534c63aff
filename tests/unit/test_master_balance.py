"""The balancer at work, and servers that are decommissioned, in a cluster of one process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest

from hyperbase.common.cluster_status import RegionPlace
from hyperbase.common.descriptors import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.common.errors import (
    ConstraintException,
    DoNotRetryIOException,
    HBaseIOException,
    IllegalArgumentException,
    NotBalancedException,
    NotServingRegionException,
    UnknownRegionException,
)
from hyperbase.common.region_info import META_REGION, RegionState
from hyperbase.common.wire.admin_codec import decode_admin_call, encode_admin_arguments
from master import procedures
from master.balance import Balance, LoadServer, OffloadServers
from tests.support.master_world import Killed, RegionServer, World, wait_for

TABLE = TableDescriptor("t", [ColumnFamilyDescriptor(b"f")])
KEYS = [b"%02d" % number for number in range(1, 12)]
ROWS = {b"%02dx" % number: b"%d" % number for number in range(12)}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Two servers with twelve regions, rows in memory."""
    world = World(monkeypatch, 2)
    world.start_master()
    backend(world).create_table(TABLE, KEYS)
    for row, value in ROWS.items():
        world.put("t", row, value)
    yield world
    world.kill_master()


def backend(world: World) -> Any:
    assert world.master is not None
    return world.master.backend


def spread(world: World) -> list[int]:
    """Regions of the table on each living server, fewest first."""
    return sorted(sum(r.info.table == "t" for r in s.engine.regions.values()) for s in world.alive())


def rows_are_there(world: World) -> None:
    assert {row: world.get("t", row) for row in ROWS} == ROWS


def test_a_new_server_gets_regions_and_nothing_is_lost(world: World) -> None:
    RegionServer(world, 9)
    dry = backend(world).balance(True)
    assert len(dry) == 4
    assert spread(world) == [0, 6, 6]
    done = backend(world).balance()
    assert done == dry
    assert all(line.startswith("move region ") and "on average" in line for line in done)
    assert spread(world) == [4, 4, 4]
    rows_are_there(world)
    assert backend(world).balance() == []


def test_a_balancer_that_is_off_does_nothing(world: World) -> None:
    RegionServer(world, 9)
    backend(world).switch("balancer", False)
    with pytest.raises(NotBalancedException, match="the balancer is off"):
        backend(world).balance()
    backend(world).run_balancer()
    assert spread(world) == [0, 6, 6]
    backend(world).switch("balancer", True)
    backend(world).run_balancer()
    assert spread(world) == [4, 4, 4]


def test_the_balancer_waits_for_regions_in_transition_unless_it_is_forced(world: World) -> None:
    RegionServer(world, 9)
    node = world.master.core.catalog.nodes()[0]  # type: ignore[union-attr]
    node.state = RegionState.CLOSING
    with pytest.raises(NotBalancedException, match=r"1 region\(s\) are in transition"):
        backend(world).balance()
    assert len(backend(world).balance(True, True)) >= 3
    node.state = RegionState.OPEN


def test_a_server_that_does_not_tell_what_it_carries_keeps_the_balancer_from_running(world: World) -> None:
    world.alive()[0].refuse = lambda command: HBaseIOException("busy") if command == "report" else None
    with pytest.raises(NotBalancedException, match="does not say what it carries"):
        backend(world).balance()


def test_a_move_that_fails_is_told_and_the_others_go_on(world: World) -> None:
    RegionServer(world, 9)
    (line, *_) = backend(world).balance(True)
    region = next(region for region in world.table_regions("t") if region.info.encoded_name in line)
    (server,) = world.owners(region.id16)
    close = server.close_regions

    def close_regions(order: Any, ids: Any) -> list[Any]:
        full = HBaseIOException("the disk is full")
        return [full if id16 == region.id16 else close(order, [id16])[0] for id16 in ids]

    server.close_regions = close_regions  # type: ignore[method-assign]
    sentences = backend(world).balance()
    assert len(sentences) == 5
    assert "failed: the disk is full" in sentences[-1]
    assert region.info.encoded_name in sentences[-1]
    assert spread(world) == [3, 4, 5]
    rows_are_there(world)


def over_the_wire(world: World, name: str, *arguments: Any) -> Any:
    """What a client's admin call gets."""
    method, values = decode_admin_call(name, encode_admin_arguments(name, arguments))
    answer = msgpack.packb(method.result.encode(getattr(backend(world), name)(*values)))
    return method.result.decode(msgpack.unpackb(answer))


def test_regions_are_moved_closed_and_opened_as_clients_ask(world: World) -> None:
    one, other = (str(server.name) for server in world.alive())
    assert over_the_wire(world, "servers") == [one, other]
    place = over_the_wire(world, "region_states", "t")[0]
    assert place == RegionPlace(place.region, "OPEN", place.server)
    assert place.region == backend(world).regions("t")[0]
    name, target = place.region.encoded_name, other if place.server == one else one
    over_the_wire(world, "move", name, target)
    assert over_the_wire(world, "region_states", "t")[0].server == target
    over_the_wire(world, "move", name, "")
    assert over_the_wire(world, "region_states", "t")[0].server == place.server
    over_the_wire(world, "unassign", name)
    assert over_the_wire(world, "region_states", "t")[0] == RegionPlace(place.region, "CLOSED")
    over_the_wire(world, "assign", name)
    assert over_the_wire(world, "region_states", "t")[0].state == "OPEN"
    assert over_the_wire(world, "balance", True, False) == []
    assert over_the_wire(world, "procedures") == []
    assert over_the_wire(world, "decommissioned") == []
    rows_are_there(world)
    backend(world).disable_table("t")
    for call in ("assign", "move"):
        with pytest.raises(DoNotRetryIOException, match="disabled"):
            over_the_wire(world, call, name, *([""] if call == "move" else []))


def test_meta_can_be_moved_but_not_be_closed(world: World) -> None:
    name, owner = META_REGION.encoded_name, meta_server(world)
    over_the_wire(world, "move", name, "")
    assert meta_server(world) is not owner
    over_the_wire(world, "move", name, str(owner.name))
    assert meta_server(world) is owner
    over_the_wire(world, "assign", name)
    with pytest.raises(ConstraintException):
        over_the_wire(world, "unassign", name)
    assert over_the_wire(world, "region_states", "hbase:meta")[0].server == str(owner.name)
    rows_are_there(world)


def test_what_is_under_way_is_told(world: World) -> None:
    server = world.alive()[0]
    server.refuse = lambda command: NotServingRegionException("wait") if command == "close_regions" else None
    region = next(region for region in world.table_regions("t") if world.owners(region.id16) == [server])
    threading.Thread(target=backend(world).move, args=(region.info.encoded_name,), daemon=True).start()
    wait_for(lambda: bool(backend(world).procedures()))
    (found,) = over_the_wire(world, "procedures")
    assert (found.kind, found.step) == ("move_region", "unassign")
    assert region.info.encoded_name in found.about
    server.refuse = lambda command: None
    wait_for(lambda: not backend(world).procedures())


# -- decommission ----------------------------------------------------------------------------------------


def meta_server(world: World) -> RegionServer:
    (owner,) = world.owners(META_REGION.id16)
    return owner


def test_a_decommissioned_server_gives_everything_away_hbase_meta_too(world: World) -> None:
    RegionServer(world, 9)
    leaving = meta_server(world)
    backend(world).decommission([str(leaving.name)], True)
    assert not leaving.engine.regions
    assert meta_server(world) is not leaving
    assert backend(world).decommissioned() == [str(leaving.name)]
    rows_are_there(world)
    assert backend(world).balance() == [] or not leaving.engine.regions
    backend(world).create_table(TableDescriptor("u", [ColumnFamilyDescriptor(b"f")]), KEYS)
    assert not leaving.engine.regions


def test_without_offloading_a_server_keeps_what_it_has_and_gets_nothing_more(world: World) -> None:
    keeping = world.alive()[0]
    held = set(keeping.engine.regions)
    backend(world).decommission([keeping.name.address])
    backend(world).create_table(TableDescriptor("u", [ColumnFamilyDescriptor(b"f")]), KEYS)
    assert set(keeping.engine.regions) == held
    assert backend(world).balance(True) == []


def test_the_next_master_knows_of_it_and_so_it_is_when_the_server_comes_back(world: World) -> None:
    leaving = world.alive()[0]
    backend(world).decommission([f"{leaving.name.host},{leaving.name.port}"], True)
    leaving.kill()
    again = RegionServer(world, leaving.name.port)
    assert again.name.address == leaving.name.address
    master = world.start_master()
    wait_for(lambda: not master.core.executor.running())
    assert backend(world).decommissioned() == [str(again.name)]
    assert not again.engine.regions
    again.kill()
    wait_for(lambda: str(again.name) not in backend(world).servers())
    assert backend(world).decommissioned() == [f"{again.name.host},{again.name.port}"]
    backend(world).recommission(str(again.name))
    assert backend(world).decommissioned() == []
    assert world.start_master().core.servers.draining == []


def test_a_server_that_is_taken_back_gets_the_regions_that_are_named(world: World) -> None:
    leaving = world.alive()[0]
    backend(world).decommission([str(leaving.name)], True)
    names = [info.encoded_name for info in backend(world).regions("t")][:3]
    with pytest.raises(UnknownRegionException):
        backend(world).recommission(str(leaving.name), ["nope"])
    assert backend(world).decommissioned() == [str(leaving.name)]
    backend(world).recommission(str(leaving.name), names)
    assert sorted(r.info.encoded_name for r in leaving.engine.regions.values()) == sorted(names)
    rows_are_there(world)
    backend(world).balance()
    assert spread(world) == [6, 6]


def test_the_last_server_cannot_be_spared(world: World) -> None:
    one, other = world.alive()
    with pytest.raises(IllegalArgumentException, match="no living server"):
        backend(world).decommission(["nowhere,1,1"])
    with pytest.raises(DoNotRetryIOException, match="there is no server that may have regions"):
        backend(world).decommission([str(one.name), str(other.name)])
    backend(world).decommission([str(one.name)])
    with pytest.raises(DoNotRetryIOException, match="there is no server that may have regions"):
        backend(world).decommission([str(other.name)])


def offload(world: World) -> None:
    backend(world).decommission([str(meta_server(world).name)], True)


def take_back(world: World) -> None:
    leaving = world.alive()[0]
    backend(world).decommission([str(leaving.name)], True)
    backend(world).recommission(
        str(leaving.name), [info.encoded_name for info in backend(world).regions("t")]
    )


POINTS = [
    (ask, f"{kind.kind}.{step}.{where}")
    for kind, ask in (
        (Balance, lambda world: backend(world).balance()),
        (OffloadServers, offload),
        (LoadServer, take_back),
    )
    for step in kind.steps
    for where in ("before", "after")
] + [(lambda world: backend(world).balance(), f"move_region.{step}.after") for step in ("unassign", "assign")]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("ask", "point"), POINTS, ids=[point for _, point in POINTS])
def test_the_master_is_killed_and_the_next_one_goes_on(
    monkeypatch: pytest.MonkeyPatch, world: World, ask: Callable[[World], None], point: str
) -> None:
    RegionServer(world, 9)
    reached = threading.Event()

    def fault_point(name: str) -> None:
        if name == point and not reached.is_set():
            reached.set()
            assert world.coordination is not None
            world.coordination.held = False
            raise Killed

    monkeypatch.setattr(procedures, "fault_point", fault_point)
    threading.Thread(target=ask, args=(world,), daemon=True).start()
    wait_for(reached.is_set, point)
    master = world.start_master()
    wait_for(lambda: not master.core.executor.running(), lambda: master.backend.procedures())
    draining = master.core.servers.draining
    for server in world.alive():
        assert not server.engine.regions or server.name.address not in draining
    assert sum(spread(world)) == 12
    rows_are_there(world)
    assert point.startswith("offload") == bool(draining)


def test_meta_that_cannot_be_closed_stays_where_it_is(world: World) -> None:
    owner = meta_server(world)
    owner.close_regions = lambda order, ids: [HBaseIOException("the disk is full")]  # type: ignore[method-assign]
    with pytest.raises(HBaseIOException, match="the disk is full"):
        backend(world).decommission([str(owner.name)], True)
    assert meta_server(world) is owner
    world.put("t", b"00x", b"again")
    backend(world).create_table(TableDescriptor("u", [ColumnFamilyDescriptor(b"f")]))
