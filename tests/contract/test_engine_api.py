"""What later servers need of the engine: nonces, observers, rows in one record, commits without waiting."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from hyperbase.common.descriptors import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.common.errors import DoNotRetryIOException, OperationConflictException
from hyperbase.common.model import CheckAndMutate, Delete, Durability, Get, Increment, Put, Scan
from hyperbase.embedded.backend import EmbeddedBackend
from hyperbase.embedded.store import EmbeddedStore, make_config
from regionserver.region.mutations import mutate_rows, submit_mutation
from regionserver.region.region import Region
from regionserver.storage.memory_filesystem import MemoryFileSystem

CLIENT = b"client-1"


def open_store(fs: MemoryFileSystem) -> EmbeddedBackend:
    store = EmbeddedStore(fs, make_config({}), background=False)
    return EmbeddedBackend(store, store.close)


@pytest.fixture
def backend() -> EmbeddedBackend:
    backend = open_store(MemoryFileSystem())
    backend.create_table(TableDescriptor("t", [ColumnFamilyDescriptor(b"f", max_versions=3)]))
    return backend


def region_of(backend: EmbeddedBackend, row: bytes = b"a") -> Region:
    return backend.store.entry("t").region_of(row)


def value(backend: EmbeddedBackend, row: bytes = b"a") -> bytes | None:
    return backend.table("t").get(Get(row)).value(b"f:q")


def increment(backend: EmbeddedBackend, number: int, oldest: int = 0) -> int:
    commit = submit_mutation(region_of(backend), Increment(b"a", {b"f:q": 1}), (CLIENT, number, oldest))
    return int.from_bytes(commit.wait().value(b"f:q"), "big")


@pytest.mark.parametrize("between", ["nothing", "flush", "crash", "reopen", "split", "merge"])
def test_a_retried_increment_is_applied_once(backend: EmbeddedBackend, between: str) -> None:
    assert increment(backend, 7) == 1
    if between == "flush":
        backend.flush("t")
    elif between == "crash":
        fs = backend.store.fs
        assert isinstance(fs, MemoryFileSystem)
        backend.store.crash()
        backend = open_store(fs.after_crash())
    elif between == "reopen":
        fs = backend.store.fs
        backend.close()
        assert isinstance(fs, MemoryFileSystem)
        backend = open_store(fs)
    elif between in ("split", "merge"):
        backend.split("t", b"m")
        if between == "merge":
            low, high = backend.regions("t")
            backend.merge_regions(low.encoded_name, high.encoded_name)
    assert increment(backend, 7) == 1  # the retry gets the first answer
    assert increment(backend, 8, oldest=8) == 2
    with pytest.raises(OperationConflictException):
        increment(backend, 7, oldest=8)
    assert value(backend) == (2).to_bytes(8, "big")


def test_a_retried_put_does_not_overwrite_a_later_one(backend: EmbeddedBackend) -> None:
    region = region_of(backend)
    submit_mutation(region, Put(b"a").add(b"f:q", b"old"), (CLIENT, 1, 0)).wait()
    submit_mutation(region, Put(b"a").add(b"f:q", b"new"), (CLIENT, 2, 0)).wait()
    submit_mutation(region, Put(b"a").add(b"f:q", b"old"), (CLIENT, 1, 0)).wait()
    assert value(backend) == b"new"


def test_a_retried_newest_version_delete_removes_one(backend: EmbeddedBackend) -> None:
    region = region_of(backend)
    for stamp in (1, 2):
        submit_mutation(region, Put(b"a").add(b"f:q", b"v%d" % stamp, stamp)).wait()
    for _ in range(2):
        submit_mutation(region, Delete(b"a").add_column(b"f:q"), (CLIENT, 1, 0)).wait()
    assert value(backend) == b"v1"


class Recorder:
    """An observer that keeps what it is told, vetoes and adds."""

    def __init__(self) -> None:
        self.committed: list[tuple[bytes, int]] = []
        self.replayed: list[tuple[bytes, int]] = []

    def before(self, region: Region, row: bytes, cells: Sequence[Any]) -> Sequence[Any]:
        if row == b"forbidden":
            raise DoNotRetryIOException("not this row")
        return [(b"f", b"seen", None, 4, b"1", 0)] if row == b"a" else []

    def after(self, region: Region, edits: Sequence[tuple[bytes, Any]], replayed: bool) -> None:
        if not region.info.is_meta:
            (self.replayed if replayed else self.committed).extend((row, edit[0]) for row, edit in edits)

    def bulk_loaded(self, region: Region, sequence_id: int, row_count: int) -> None:
        self.committed.append((b"bulk", sequence_id))


def test_observers_see_commits_in_order_and_replays(backend: EmbeddedBackend) -> None:
    recorder = Recorder()
    backend.store.engine.observers = (recorder,)
    table = backend.table("t")
    table.put_rows([(b"a", {b"f:q": b"1"}), (b"b", {b"f:q": b"2"})], None, Durability.USE_DEFAULT)
    with pytest.raises(DoNotRetryIOException):
        table.put(Put(b"forbidden").add(b"f:q", b"x"))
    assert [row for row, _ in recorder.committed] == [b"a", b"b"]
    ids = [number for _, number in recorder.committed]
    assert ids == sorted(set(ids))
    assert table.get(Get(b"a")).to_dict() == {b"f:q": b"1", b"f:seen": b"1"}
    assert not table.get(Get(b"forbidden"))

    fs = backend.store.fs
    assert isinstance(fs, MemoryFileSystem)
    backend.store.crash()
    again = Recorder()
    EmbeddedStore(fs.after_crash(), make_config({}), background=False, observers=[again])
    assert again.replayed == recorder.committed


def test_mutate_rows_is_all_or_nothing(backend: EmbeddedBackend) -> None:
    region = region_of(backend)
    both = [Put(b"a").add(b"f:q", b"1"), Put(b"b").add(b"f:q", b"2")]
    records = backend.store.engine.wal.metrics.appends  # type: ignore[union-attr]
    condition = CheckAndMutate(b"a").if_not_exists(b"f:q")
    assert mutate_rows(region, both, [condition]).wait().success
    assert backend.store.engine.wal.metrics.appends == records + 1  # type: ignore[union-attr]
    assert not mutate_rows(region, [Delete(b"a"), Delete(b"b")], [condition]).wait().success
    assert (value(backend, b"a"), value(backend, b"b")) == (b"1", b"2")


def test_a_commit_can_be_awaited_by_callback(backend: EmbeddedBackend) -> None:
    done = threading.Event()
    commit = submit_mutation(region_of(backend), Put(b"a").add(b"f:q", b"1"))
    assert value(backend) is None  # not durable yet, so not visible
    commit.add_done_callback(lambda _: done.set())
    assert done.wait(10)
    assert commit.done
    assert value(backend) == b"1"


@pytest.mark.parametrize("durability", [Durability.SKIP_WAL, Durability.ASYNC_WAL])
def test_weaker_durability_is_visible_at_once(backend: EmbeddedBackend, durability: Durability) -> None:
    table = backend.table("t")
    for number in range(20):
        table.put_rows([(b"a", {b"f:q": b"%d" % number})], None, durability)
        assert value(backend) == b"%d" % number
        table.put_rows([(b"b", {b"f:q": b"%d" % number})], None, Durability.SYNC_WAL)


@pytest.mark.parametrize("flushed", [False, True])
def test_a_chunk_has_a_size_that_hidden_rows_take_of(backend: EmbeddedBackend, flushed: bool) -> None:
    """Whoever reads on an event loop stops after a while, whether it found something or not."""
    region = region_of(backend)
    for number in range(1000):
        submit_mutation(region, Put(b"r%03d" % number).add(b"f:q", b"v"), None).wait()
    if flushed:
        backend.flush("t")
    for number in range(999):
        submit_mutation(region, Delete(b"r%03d" % number), None).wait()
    scanner = region.open_scanner(Scan(limit=1))
    chunks = [scanner.next_chunk(1, 64 * 1024)]
    while chunks[-1] is not None:
        chunks.append(scanner.next_chunk(1, 64 * 1024))
    scanner.close()
    assert [[result.row for result in chunk or ()] for chunk in chunks] == [[], [], [], [b"r999"], []]
