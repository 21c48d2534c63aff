"""The clock jumps back: timestamps within a region do not, for any client, also across a restart."""

from __future__ import annotations

import random

import pytest

import hyperbase
from hyperbase import (
    Append,
    ColumnFamilyDescriptor,
    Connection,
    Delete,
    Increment,
    Put,
    Table,
    TableDescriptor,
)
from hyperbase.common.config import ServerConfig
from hyperbase.embedded.backend import EmbeddedBackend
from hyperbase.embedded.store import EmbeddedStore, make_config
from regionserver.storage.memory_filesystem import MemoryFileSystem
from tests.support.engine import Clock
from tests.support.standalone import ServerThread

HOUR_MS = 3_600_000
SEED = 20260720


def _serve(fs: MemoryFileSystem, clock: Clock) -> ServerThread:
    def open_store(config: ServerConfig) -> EmbeddedBackend:
        store = EmbeddedStore(fs, make_config({}), clock=clock)
        return EmbeddedBackend(store, store.close)

    return ServerThread(open_store=open_store).start()


def _crash(thread: ServerThread, fs: MemoryFileSystem) -> MemoryFileSystem:
    """What a killed process leaves; the thread ends, and its disk with it."""
    backend = thread.server._backend
    assert backend is not None
    backend.store.crash()
    backend.store.close = lambda: None  # type: ignore[method-assign]
    left = fs.after_kill()
    thread.stop()
    return left


def _stamp(table: Table, row: bytes, column: bytes = b"f:q") -> int:
    """The timestamp of what a row shows."""
    return int(table.row(row, include_timestamp=True)[column][1])


def _write(table: Table, row: bytes, number: int) -> tuple[bytes, bytes]:
    """One mutation of the row, of some kind; returns the column and the value it must show."""
    value = b"%d" % number
    kind = number % 5
    if kind == 0:
        table.put(row, {b"f:q": value})
    elif kind == 1:
        assert table.run_batch([Put(row).add(b"f:q", value)]) == [None]
    elif kind == 2:  # a delete and a put at once: the put must not vanish behind the marker
        table.delete(row)
        table.put(row, {b"f:q": value})
    elif kind == 3:
        before = table.row(row).get(b"f:a", b"")
        table.append(Append(row, {b"f:a": value}))
        return b"f:a", before + value
    else:
        before = int.from_bytes(table.row(row).get(b"f:n", b""), "big")
        table.increment(Increment(row, {b"f:n": 1}))
        return b"f:n", (before + 1).to_bytes(8, "big")
    return b"f:q", value


@pytest.mark.parametrize("flushed", [False, True], ids=["in the log", "in files"])
@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "killed"])
def test_timestamps_never_go_back(crash: bool, flushed: bool) -> None:
    chance = random.Random(SEED)
    clock, fs = Clock(), MemoryFileSystem()
    newest = 0
    number = 0
    for round_ in range(4):
        thread = _serve(fs, clock)
        try:
            connection: Connection = hyperbase.connect(thread.url)
            if not round_:
                connection.admin.create_table(TableDescriptor("t", [ColumnFamilyDescriptor("f")]))
            table = connection.table("t")
            for _ in range(40):
                number += 1
                clock.ahead_ms += chance.choice([0, 0, 5, -HOUR_MS, -50 * HOUR_MS, HOUR_MS // 2])
                column, value = _write(table, b"r", number)
                assert table.row(b"r")[column] == value, "hidden by what was written before"
                stamp = _stamp(table, b"r", column)
                assert stamp >= newest, f"write {number} is stamped {newest - stamp} ms before another"
                newest = stamp
            assert table.run_batch([Delete(b"r")]) == [None]
            assert table.row(b"r") == {}, "a delete is stamped before what it deletes"
            if flushed:
                connection.admin.flush("t")
            clock.ahead_ms -= 24 * HOUR_MS
            table.put(b"last", {b"f:q": b"before the restart"})
            newest = max(newest, _stamp(table, b"last"))
            connection.close()
        finally:
            if crash:
                fs = _crash(thread, fs)
            else:
                thread.stop()
        clock.ahead_ms -= HOUR_MS
