"""Builders for tests of the engine through the public API: a store in memory, a clock that can be turned."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

from hyperbase import ColumnFamilyDescriptor, Connection, Result, Scan, Table, TableDescriptor
from hyperbase.embedded.backend import EmbeddedBackend
from hyperbase.embedded.store import EmbeddedStore, make_config
from regionserver.region.compaction_policy import CompactionRequest
from regionserver.region.region import Region
from regionserver.region.store_compaction import _compact_store, _file_views
from regionserver.storage.filesystem import FileSystem
from regionserver.storage.memory_filesystem import MemoryFileSystem

# Compactions only when a test asks for them.
QUIET: dict[str, Any] = {
    "compaction_min_files": 100,
    "compaction_max_files": 100,
    "blocking_store_files": 200,
    "block_cache_bytes": 8 * 2**20,
    "wal_segment_bytes": 2**19,
}
_numbers = itertools.count(1)


class Clock:
    """The wall clock, in milliseconds, that a test can move ahead."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms

    def advance(self, ms: int) -> None:
        self.ahead_ms += ms


def memory_connection(fs: FileSystem | None = None, clock: Any = None, **settings: Any) -> Connection:
    """A connection to a store in memory; closing and opening it again keeps what it holds."""
    disk = fs or MemoryFileSystem()
    config = make_config({**QUIET, **settings})
    ticking = clock or Clock()

    def opener() -> EmbeddedBackend:
        store = EmbeddedStore(disk, config, clock=ticking)
        return EmbeddedBackend(store, store.close)

    return Connection(opener)


def in_reach(connection: Connection) -> bool:
    """Whether the store behind a connection is in this process."""
    return hasattr(connection._backend, "store")


def store_of(connection: Connection) -> EmbeddedStore:
    """The embedded store behind a connection: it must be in this process."""
    assert in_reach(connection), "the store is in another process: such a test is not for a cluster"
    store: EmbeddedStore = connection._backend.store  # type: ignore[union-attr]
    return store


def regions_of(connection: Connection, table: str) -> tuple[Region, ...]:
    """The open regions of a table, in key order."""
    return store_of(connection).entry(table).regions


def minor_compact(connection: Connection, table: str) -> None:
    """Merge the files of every Store as a compaction of some of its files does: markers stay."""
    engine = store_of(connection).engine
    for region in regions_of(connection, table):
        for family in region.descriptor.family_names:
            files = sorted(_file_views(region, family), key=lambda file: file.sequence_id)
            if files:
                with region.compacting:
                    _compact_store(region, engine, family, CompactionRequest(tuple(files), False, "test"))


class Bench:
    """A fresh table, with the verbs that move its cells through the states a cell can be in."""

    def __init__(
        self,
        connection: Connection,
        *families: str | ColumnFamilyDescriptor,
        splits: Any = None,
        **options: Any,
    ) -> None:
        self.connection = connection
        self.name = f"t{next(_numbers)}"
        described = [
            family
            if isinstance(family, ColumnFamilyDescriptor)
            else ColumnFamilyDescriptor(family, **options)
            for family in families or ("f",)
        ]
        connection.admin.create_table(TableDescriptor(self.name, described), splits)

    @property
    def table(self) -> Table:
        return self.connection.table(self.name)

    def flush(self) -> None:
        self.connection.admin.flush(self.name)

    def minor(self) -> None:
        self.flush()
        minor_compact(self.connection, self.name)

    def major(self) -> None:
        self.flush()
        self.connection.admin.major_compact(self.name)

    def reopen(self) -> None:
        self.connection.close()
        self.connection.open()

    def crash(self) -> None:
        """Lose the process and its memory, then open the store again: the log is replayed."""
        backend: Any = self.connection._backend
        (getattr(backend, "crash", None) or backend.store.crash)()
        self.connection._backend = None
        self.connection.open()

    def alter(self, family: str = "f", **options: Any) -> None:
        """Replace a family of the schema."""
        admin = self.connection.admin
        descriptor = admin.describe_table(self.name)
        changed = ColumnFamilyDescriptor(family, **options)
        admin.alter_table(descriptor.with_family(changed, modify=True))

    def states(self, *, major: bool = True) -> Iterator[str]:
        """Go through the states that must not change what a read shows; yields the name of each."""
        yield "memstore"
        self.crash()
        yield "replayed"
        self.flush()
        yield "flushed"
        if in_reach(self.connection):
            self.minor()
            yield "minor compacted"
        self.reopen()
        yield "reopened"
        if major:
            self.major()
            yield "major compacted"
            self.reopen()
            yield "reopened after a major compaction"

    def versions(self, row: bytes = b"r", column: bytes = b"f:q", **options: Any) -> list[tuple[int, bytes]]:
        """``[(timestamp, value)]`` of a column, newest first, by a scan of the one row, raw or not."""
        options.setdefault("versions", "all")
        options.setdefault("columns", [column])
        scan = Scan(row, row, stop_inclusive=True, **options)
        return [(cell.timestamp, cell.value) for cell in self.cells(scan)]

    def cells(self, scan: Scan) -> list[Any]:
        return [cell for result in self.table.scan_results(scan) for cell in result.cells]

    def rows(self, scan: Scan | None = None, **options: Any) -> list[bytes]:
        return [result.row for result in self.results(scan, **options)]

    def results(self, scan: Scan | None = None, **options: Any) -> list[Result]:
        return list(self.table.scan_results(scan or Scan(**options)))
