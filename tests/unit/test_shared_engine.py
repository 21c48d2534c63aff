"""Engines of several servers on one root: logs of their own, regions that go from one to the next."""

from __future__ import annotations

import errno

import pytest

from hyperbase.common.catalog import META_DESCRIPTOR, META_DIRECTORY, region_directory
from hyperbase.common.errors import (
    DamagedWALException,
    HBaseIOException,
    LeaseSuspendedException,
    StoreFailedException,
    StoreFormatException,
)
from hyperbase.common.region_info import META_REGION, RegionInfo
from hyperbase.embedded.store import EmbeddedStore, make_config
from regionserver.region.manifest import ManifestStore
from regionserver.region.opening import Opening, open_regions
from regionserver.region.region import Region
from regionserver.region.split_policy import has_references, split_point, wants_split
from regionserver.storage.memory_filesystem import MemoryFileSystem
from tests.support.cluster_engines import OTHER, REGION, TABLE, ServerEngine, put, rows_of

ROWS = [b"a%04d" % number for number in range(200)]


class Owner:
    """Says whether the server may commit."""

    def __init__(self) -> None:
        self.suspended = False
        self.asked = 0
        self.after = 10**9  # so many questions later it is suspended

    def __call__(self) -> None:
        self.asked += 1
        if self.suspended or self.asked > self.after:
            raise LeaseSuspendedException("not now")


def files_of(fs: MemoryFileSystem, info: RegionInfo) -> set[str]:
    found = set()
    for name in fs.list(region_directory(info)):
        found |= {
            f"{region_directory(info)}/{name}/{file}" for file in fs.list(f"{region_directory(info)}/{name}")
        }
    return found


def test_each_server_logs_and_archives_in_directories_of_its_own() -> None:
    fs = MemoryFileSystem()
    one, two = ServerEngine(fs, "one"), ServerEngine(fs, "two")
    put(one.open(), b"a")
    put(two.open(OTHER), b"n")
    one.engine.close()
    two.engine.close()
    assert fs.list("WALs/one,1,1") == fs.list("WALs/two,1,1") == []
    assert len(fs.list("oldWALs/one,1,1")) == len(fs.list("oldWALs/two,1,1")) == 1
    assert rows_of(ServerEngine(fs, "three").open()) == [b"a"]


def test_a_log_directory_that_was_set_aside_is_not_made_again() -> None:
    fs = MemoryFileSystem()
    server = ServerEngine(fs, "one")
    region = server.open()
    put(region, b"a")
    fs.delete_tree(server.log)
    wal = server.engine.wal
    assert wal is not None
    with pytest.raises(StoreFailedException, match="no longer this log's own"):
        wal.roll()
    assert wal.taken
    assert fs.list(server.log) == []


def test_a_region_is_served_when_what_was_replayed_is_in_files() -> None:
    fs = MemoryFileSystem()
    dead = ServerEngine(fs, "dead")
    region = dead.open()
    put(region, *ROWS)
    epoch = region.manifest.epoch
    log = dead.set_log_aside()
    heir = ServerEngine(fs, "heir")
    flushed = []

    def step(name: str, number: int) -> None:
        newest = ManifestStore(fs, region_directory(REGION)).newest()
        flushed.append(newest.flushed_sequence_id if newest else 0)
        if REGION.id16 in heir.engine.regions:
            assert flushed[-1] == len(ROWS)

    fs.step_hook = step
    opened = heir.open(logs=(log,))
    fs.step_hook = None
    assert 0 in flushed
    assert opened.manifest.epoch == epoch + 1
    assert opened.manifest.flushed_sequence_id == len(ROWS)
    assert opened.manifest.open_sequence_id == len(ROWS) + 1
    assert rows_of(opened) == ROWS
    assert heir.engine.memstore_bytes == 0
    assert heir.engine.replayed_rows == len(ROWS)
    fs.delete_tree(log)
    put(opened, b"b")
    heir.engine.abandon()
    again = ServerEngine(fs, "again")
    assert rows_of(again.open(logs=(heir.set_log_aside(),))) == [*ROWS, b"b"]


def test_one_pass_over_a_log_serves_many_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = MemoryFileSystem()
    dead = ServerEngine(fs, "dead")
    put(dead.open(REGION), b"a")
    put(dead.open(OTHER), b"n")
    log = dead.set_log_aside()
    heir = ServerEngine(fs, "heir")
    read: list[str] = []
    fs.read_fault = lambda path, offset: read.append(path)
    regions = heir.try_to_open(REGION, OTHER, logs=(log,))
    fs.read_fault = None
    assert [rows_of(region) for region in regions if isinstance(region, Region)] == [[b"a"], [b"n"]]
    assert len([path for path in read if path.endswith(".wal")]) <= 2  # header and records, once


def test_a_region_is_opened_with_both_logs_when_its_last_owner_died_while_it_opened_it() -> None:
    fs = MemoryFileSystem()
    first = ServerEngine(fs, "first")
    put(first.open(), b"a")
    one = first.set_log_aside()
    second = ServerEngine(fs, "second")
    put(second.open(OTHER), b"n")
    second.engine.open_region(REGION, TABLE, region_directory(REGION), serve=False)
    two = second.set_log_aside()
    third = ServerEngine(fs, "third")
    assert rows_of(third.open(logs=(one, two))) == [b"a"]
    assert rows_of(third.open(OTHER, logs=(one, two))) == [b"n"]


def test_logs_in_the_wrong_order_are_not_replayed_over_each_other() -> None:
    fs = MemoryFileSystem()
    first = ServerEngine(fs, "first")
    put(first.open(), b"a")
    one = first.set_log_aside()
    second = ServerEngine(fs, "second")
    region = second.engine.open_region(REGION, TABLE, region_directory(REGION))
    region.next_sequence_id = 2
    region.go_online(persist=False)  # as if edits had been taken before the replay was flushed
    put(region, b"b")
    two = second.set_log_aside()
    (outcome,) = ServerEngine(fs, "third").try_to_open(REGION, logs=(two, one))
    assert isinstance(outcome, DamagedWALException)


def test_a_missing_log_is_an_error_that_names_it_and_nothing_stays_in_memory() -> None:
    fs = MemoryFileSystem()
    dead = ServerEngine(fs, "dead")
    put(dead.open(), *ROWS)
    log = dead.set_log_aside()
    heir = ServerEngine(fs, "heir")
    (outcome,) = heir.try_to_open(REGION, logs=(log, "WALs/gone,1,1-splitting"))
    assert isinstance(outcome, HBaseIOException)
    assert "WALs/gone,1,1-splitting is missing" in str(outcome)
    assert heir.engine.regions == {}
    assert heir.engine.memstore_bytes == 0
    assert rows_of(heir.open(logs=(log,))) == ROWS


def test_a_log_without_its_end_is_not_replayed() -> None:
    fs = MemoryFileSystem()
    dead = ServerEngine(fs, "dead")
    put(dead.open(), b"a")
    (outcome,) = ServerEngine(fs, "heir").try_to_open(REGION, logs=(dead.set_log_aside(seal=False),))
    assert "is not sealed" in str(outcome)


def test_one_region_that_cannot_be_opened_does_not_keep_the_others() -> None:
    fs = MemoryFileSystem()
    dead = ServerEngine(fs, "dead")
    put(dead.open(REGION), b"a")
    put(dead.open(OTHER), b"n")
    log = dead.set_log_aside()
    heir = ServerEngine(fs, "heir")

    def step(name: str, number: int) -> None:
        if name.startswith("writer") and heir.engine.memstore_bytes:
            fs.step_hook = None
            raise OSError(errno.ENOSPC, "full")

    fs.step_hook = step
    failed, opened = heir.try_to_open(REGION, OTHER, logs=(log,))
    assert isinstance(failed, HBaseIOException)
    assert failed.errno == errno.ENOSPC
    assert isinstance(opened, Region)
    assert set(heir.engine.regions) == {OTHER.id16}
    assert heir.engine.memstore_bytes == 0
    assert rows_of(heir.open(REGION, logs=(log,))) == [b"a"]


def test_a_replay_that_exceeds_memory_is_flushed_in_between() -> None:
    fs = MemoryFileSystem()
    dead = ServerEngine(fs, "dead")
    region = dead.open()
    for row in ROWS:
        put(region, row, value=bytes(2000))
    log = dead.set_log_aside()
    heir = ServerEngine(fs, "heir", memstore_limit_bytes=100_000, memstore_flush_size_bytes=100_000)
    opened = heir.open(logs=(log,))
    assert heir.engine.counters["flush_num_ops"] > 3
    assert rows_of(opened) == ROWS
    assert opened.manifest.open_sequence_id == len(ROWS) + 1


def test_nothing_is_deleted_and_what_others_deleted_is_forgotten() -> None:
    fs = MemoryFileSystem()
    server = ServerEngine(fs, "one")
    region = server.open()
    for row in (b"a", b"b", b"c"):
        put(region, row)
        server.engine.flush(region)
    before = files_of(fs, REGION)
    server.engine.compact(region, major=True)
    assert before < files_of(fs, REGION)
    released = region.manifest.released
    assert len(released) == 6
    fs.delete(released[0])
    put(region, b"d")
    server.engine.flush(region)
    assert region.manifest.released == released[1:]


def test_a_suspended_server_commits_nothing_until_it_is_the_owner_again() -> None:
    fs, owner = MemoryFileSystem(), Owner()
    server = ServerEngine(fs, "one", owner)
    region = server.open()
    put(region, b"a")
    server.engine.flush(region)
    put(region, b"b")
    before = files_of(fs, REGION)
    owner.suspended = True
    for act in (
        lambda: server.engine.flush(region),
        lambda: server.engine.close_region(region),
        lambda: server.engine.compact(region, major=True),
    ):
        with pytest.raises(LeaseSuspendedException):
            act()
    assert files_of(fs, REGION) == before
    assert not region.closed
    owner.suspended = False
    server.engine.compact(region, major=True)
    assert rows_of(region) == [b"a", b"b"]
    assert region.memstore_bytes == 0


def test_what_was_written_when_the_lease_ran_out_is_taken_back() -> None:
    fs, owner = MemoryFileSystem(), Owner()
    server = ServerEngine(fs, "one", owner)
    region = server.open()
    put(region, b"a")
    before = files_of(fs, REGION)
    owner.after = owner.asked + 1  # the flush begins, and may not end
    with pytest.raises(LeaseSuspendedException):
        server.engine.flush(region)
    assert files_of(fs, REGION) == before
    owner.after = 10**9
    server.engine.flush(region)
    put(region, b"b")
    server.engine.flush(region)
    before = files_of(fs, REGION)
    owner.after = owner.asked + 1
    with pytest.raises(LeaseSuspendedException):
        server.engine.compact(region, major=True)
    assert files_of(fs, REGION) == before
    assert rows_of(region) == [b"a", b"b"]


def test_a_region_that_has_outgrown_its_limit_says_so() -> None:
    fs = MemoryFileSystem()
    server = ServerEngine(fs, "one", max_file_size_bytes=1000)
    region = server.open()
    assert not wants_split(region)
    put(region, *ROWS)
    server.engine.flush(region)
    assert wants_split(region)
    assert not has_references(region)
    assert split_point(region) in ROWS
    assert region.id16 in server.engine.regions


def test_a_cluster_that_has_not_ended_cleanly_is_not_opened_as_a_store() -> None:
    fs = MemoryFileSystem()
    server = ServerEngine(fs, "one")
    (meta,) = open_regions(server.engine, [Opening(META_REGION, META_DESCRIPTOR, META_DIRECTORY)])
    assert isinstance(meta, Region)
    put(server.open(), b"a")
    fs.create_if_absent("hyperbase.json", b'{"format": 1, "cluster_id": "x"}')
    with pytest.raises(StoreFormatException, match="has not ended cleanly: WALs/one,1,1 may hold"):
        EmbeddedStore(fs, make_config({}))
    server.engine.close()
    EmbeddedStore(fs, make_config({})).close()
