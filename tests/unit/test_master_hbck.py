"""hbck in the active master: what it finds in a cluster of one process, and what it mends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from hyperbase.common.catalog import region_directory
from hyperbase.common.descriptors import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.inconsistency import Inconsistency
from hyperbase.common.region_info import META_REGION, RegionInfo, RegionState
from hyperbase.common.wire.admin_codec import decode_admin_call, encode_admin_arguments
from master import hbck_cluster
from regionserver.region.manifest import Manifest, ManifestStore
from regionserver.region.region import Region
from regionserver.region.table_files import forget_descriptor, read_descriptor
from tests.support.master_world import RegionServer, World

TABLE = TableDescriptor("t", [ColumnFamilyDescriptor(b"f")])
ROWS = {b"a": b"1", b"h": b"2", b"x": b"3"}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Two servers, a table of three regions, rows in memory; nothing is cleaned by itself."""
    monkeypatch.setattr(hbck_cluster, "PAUSE_S", 0.0)
    world = World(monkeypatch, 2)
    world.start_master()
    backend(world).switch("cleaner_chore", False)
    backend(world).create_table(TABLE, [b"g", b"p"])
    for row, value in ROWS.items():
        world.put("t", row, value)
    yield world
    world.kill_master()


def backend(world: World) -> Any:
    assert world.master is not None
    return world.master.backend


def hbck(world: World, repair: bool = False) -> list[Inconsistency]:
    """As a client gets it."""
    method, values = decode_admin_call("hbck", encode_admin_arguments("hbck", [repair]))
    answer = msgpack.packb(method.result.encode(backend(world).hbck(*values)))
    found: list[Inconsistency] = method.result.decode(msgpack.unpackb(answer))
    return found


def kinds(findings: list[Inconsistency]) -> list[str]:
    return sorted(finding.kind for finding in findings)


def sound_again(world: World) -> None:
    assert hbck(world) == []
    assert {row: world.get("t", row) for row in ROWS} == ROWS


def first(world: World) -> tuple[Region, RegionServer, RegionServer]:
    """A region, its server and the other one."""
    region = world.region_of("t", b"a")
    (owner,) = world.owners(region.id16)
    (other,) = (server for server in world.alive() if server is not owner)
    return region, owner, other


def open_behind_the_masters_back(server: RegionServer, info: RegionInfo) -> Region:
    region = server.engine.open_region(info, TABLE, region_directory(info), serve=False)
    server.engine.serve_region(region)
    return region


def test_a_cluster_at_work_is_consistent(world: World) -> None:
    assert hbck(world) == []
    backend(world).split("t", b"c")
    backend(world).merge_regions(*(info.encoded_name for info in backend(world).regions("t")[2:4]))
    backend(world).move(backend(world).regions("t")[0].encoded_name)
    assert hbck(world, repair=True) == []
    backend(world).disable_table("t")
    assert hbck(world) == []


def test_a_region_that_its_server_lost_is_opened_again(world: World) -> None:
    region, owner, _ = first(world)
    owner.engine.close_region(region)
    assert kinds(hbck(world)) == ["not_served"]
    (finding,) = hbck(world, repair=True)
    assert finding.repaired.startswith("had region ")
    sound_again(world)


def test_a_region_that_was_unassigned_or_failed_to_open_is_opened(world: World) -> None:
    region, _, _ = first(world)
    name = region.info.encoded_name
    backend(world).unassign(name)
    assert kinds(hbck(world)) == ["not_served"]
    node = world.master.core.catalog.node(name)  # type: ignore[union-attr]
    assert node is not None
    world.master.core.catalog.set_states([node], RegionState.FAILED_OPEN)  # type: ignore[union-attr]
    (finding,) = hbck(world, repair=True)
    assert finding.repaired
    sound_again(world)


def test_a_region_on_a_second_server_is_closed_there(world: World) -> None:
    region, owner, other = first(world)
    owner.engine.flush(region)
    open_behind_the_masters_back(other, region.info)
    assert kinds(hbck(world)) == ["double_assignment"]
    (finding,) = hbck(world, repair=True)
    assert finding.server == str(other.name)
    assert finding.repaired == f"had {other.name} flush and close the region"
    assert world.owners(region.id16) == [owner]


def test_a_region_on_the_wrong_server_goes_back(world: World) -> None:
    region, owner, other = first(world)
    owner.engine.close_region(region)
    open_behind_the_masters_back(other, region.info)
    assert kinds(hbck(world)) == ["wrong_server"]
    findings = hbck(world, repair=True)
    assert kinds(findings) == ["not_served", "wrong_server"]  # the second came to light by the first
    assert all(finding.repaired for finding in findings)
    sound_again(world)


def test_regions_that_should_be_nowhere_are_closed(world: World) -> None:
    region, owner, _ = first(world)
    backend(world).disable_table("t")
    open_behind_the_masters_back(owner, region.info)
    stranger = RegionInfo("t", b"", b"", 1)
    open_behind_the_masters_back(owner, stranger)
    found = hbck(world)
    assert kinds(found) == ["orphan_directory", "served_though_disabled", "unknown_region"]
    assert all(finding.repaired for finding in hbck(world, repair=True))
    assert hbck(world) == []
    backend(world).enable_table("t")
    sound_again(world)


def test_empty_leftovers_go_and_those_with_files_stay(world: World) -> None:
    empty, full = RegionInfo("t", b"", b"", 1), RegionInfo("t", b"", b"", 2)
    for info in (empty, full):
        ManifestStore(world.fs, region_directory(info)).write(Manifest(1, region=info))
    world.fs.create_if_absent(f"{region_directory(full)}/f/0000000001-0000000001.arrow", b"data")
    findings = hbck(world, repair=True)
    assert {finding.about: bool(finding.repaired) for finding in findings} == {
        region_directory(empty): True,
        region_directory(full): False,
    }
    assert not world.fs.exists(region_directory(empty))
    assert kinds(hbck(world, repair=True)) == ["orphan_directory"]


def test_a_copy_of_a_schema_is_written_again(world: World) -> None:
    forget_descriptor(world.fs, "t")
    (finding,) = hbck(world, repair=True)
    assert finding.kind == "schema_copy"
    assert read_descriptor(world.fs, "t") == TABLE
    sound_again(world)


def test_zookeeper_is_told_where_hbase_meta_is(world: World) -> None:
    (owner,) = world.owners(META_REGION.id16)
    (other,) = (server for server in world.alive() if server is not owner)
    assert world.coordination is not None
    world.coordination.set_meta_location(other.name)
    assert kinds(hbck(world)) == ["wrong_meta_place"]
    assert hbck(world, repair=True)[0].repaired
    sound_again(world)


def test_what_cannot_be_mended_is_told_and_stays(world: World) -> None:
    region, owner, _ = first(world)
    owner.engine.flush(region)
    (path,) = [entry.path for entry in region.manifest.files()]
    world.fs.delete(path)
    (finding,) = hbck(world, repair=True)
    assert (finding.kind, finding.about, finding.repaired) == ("missing_file", path, "")


def test_a_repair_that_fails_is_a_finding_still(world: World) -> None:
    region, owner, other = first(world)
    owner.engine.flush(region)
    open_behind_the_masters_back(other, region.info)
    other.refuse = lambda command: HBaseIOException("busy") if command == "close_regions" else None
    (finding,) = hbck(world, repair=True)
    assert (finding.kind, finding.repaired) == ("double_assignment", "")


def test_what_procedures_have_in_hand_is_left_to_them(world: World) -> None:
    region, owner, _ = first(world)
    core = world.master.core  # type: ignore[union-attr]
    assert core.locks.try_acquire([("t", region.info.encoded_name)], 4711)
    owner.engine.close_region(region)
    assert hbck(world, repair=True) == []
    core.locks.release(4711)
    assert kinds(hbck(world)) == ["not_served"]


def test_without_hbase_meta_nothing_can_be_said(world: World) -> None:
    (owner,) = world.owners(META_REGION.id16)
    catalog = world.master.core.catalog  # type: ignore[union-attr]
    catalog.meta.server = None
    with pytest.raises(HBaseIOException, match="hbase:meta is not served"):
        backend(world).hbck()
    catalog.meta.server = owner.name
