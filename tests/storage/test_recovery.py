"""The write-ahead log, and a small store, on every storage: ``kill -9`` loses nothing acknowledged."""

from __future__ import annotations

import subprocess

import pytest

from hyperbase import ColumnFamilyDescriptor, Connection, TableDescriptor
from hyperbase.common.errors import StoreFailedException
from regionserver.storage.filesystem import FileSystem
from regionserver.storage.wal import LogRecovery, WriteAheadLog
from regionserver.storage.wal_format import segment_name
from tests.support.engine import memory_connection
from tests.support.storage_backends import StorageBackend, writer_process

REGION = b"r" * 16


def recovered(fs: FileSystem, directory: str) -> tuple[list[int], LogRecovery]:
    """The sequence ids in a log that is sealed with the reading, and what is known of its segments."""
    recovery = LogRecovery(fs, directory, seal=True)
    records = list(recovery.records())
    for record in records:
        assert record.payload == b"payload %d" % record.sequence_id
    return [record.sequence_id for record in records], recovery


def write(log: WriteAheadLog, first: int, count: int) -> None:
    for number in range(first, first + count):
        log.sync(log.append(REGION, number, b"payload %d" % number))


# Four threads, so that groups hold more than one record; small segments, so that they are rolled.
WAL_WRITER = """
import itertools, os, sys, threading
from regionserver.storage.opening import open_filesystem
from regionserver.storage.wal import WriteAheadLog
fs = open_filesystem(sys.argv[1])
lock = fs.lock("WALs/server/LOCK")
log = WriteAheadLog(fs, "WALs/server", 1, segment_bytes=4096)
turn, numbers = threading.Lock(), itertools.count(1)
def work():
    while True:
        with turn:
            number = next(numbers)
            position = log.append(b"r" * 16, number, b"payload %d" % number)
        log.sync(position)
        os.write(1, b"synced %d\\n" % number)
for _ in range(4):
    threading.Thread(target=work).start()
"""


def test_a_killed_log_is_recovered_whole_and_archived(shared: StorageBackend) -> None:
    with writer_process(WAL_WRITER, shared.root) as process:
        numbers = synced(process, 200)
        process.kill()
        assert process.stdout is not None
        numbers += [int(line.split()[1]) for line in process.stdout if line[-1] == "\n"]
    fs = shared.open()
    assert fs.fence_log("WALs/server", "WALs/aside")
    found, recovery = recovered(fs, "WALs/aside")
    assert found == list(range(1, len(found) + 1))
    assert set(numbers) <= set(found)
    assert len(recovery.segments) > 2
    again, _ = recovered(fs, "WALs/aside")
    assert again == found
    fs.make_directory("WALs/next")
    following = WriteAheadLog(
        fs, "WALs/next", 1, closed_segments=recovery.segments, archive_directory="oldWALs/server"
    )
    assert len(following.archive_flushed(lambda region: found[-1])) == len(recovery.segments)
    following.close()
    assert not [name for name in fs.list("WALs/aside") if name.startswith("0")]
    assert len(fs.list("oldWALs/server")) >= len(recovery.segments)


def synced(process: subprocess.Popen[str], count: int) -> list[int]:
    assert process.stdout is not None
    numbers = [int(process.stdout.readline().split()[1]) for _ in range(count)]
    return numbers


def test_a_torn_record_ends_the_log_for_good(backend: StorageBackend) -> None:
    fs = backend.open()
    fs.make_directory("WALs")
    log = WriteAheadLog(fs, "WALs", 1)
    write(log, 1, 5)
    log.close()
    whole = fs.read(f"WALs/{segment_name(1)}")
    fs.make_directory("torn")
    for cut in (len(whole) - 45, len(whole) - 60):  # inside the trailer, inside the last record
        path = f"torn/{segment_name(1)}"
        torn = fs.open_log(path, 0)
        torn.write([whole[:cut]])
        torn.sync()
        if backend.name in ("local", "memory"):
            torn.close()
        other = backend.open()
        found = recovered(other, "torn")[0]
        assert found in ([1, 2, 3, 4], [1, 2, 3, 4, 5])
        assert other.exists(path + ".sealed")
        assert recovered(other, "torn")[0] == found
        other.delete_tree("torn")
        fs.make_directory("torn")


def test_a_writer_whose_log_is_recovered_acknowledges_nothing_more(fencing: StorageBackend) -> None:
    fs = fencing.open()
    fs.make_directory("WALs")
    log = WriteAheadLog(fs, "WALs", 1)
    write(log, 1, 3)
    found, _ = recovered(fencing.open(), "WALs")
    assert found == [1, 2, 3]
    with pytest.raises(StoreFailedException):
        write(log, 4, 1)
    with pytest.raises(StoreFailedException):
        log.append(REGION, 5, b"payload 5")
    log.close()
    assert recovered(fencing.open(), "WALs")[0] == found


# A store: puts of two threads, flushes and compactions among them.
STORE_WRITER = """
import os, sys, threading
from hyperbase import ColumnFamilyDescriptor, TableDescriptor
from regionserver.storage.opening import open_filesystem
from tests.support.engine import memory_connection
connection = memory_connection(open_filesystem(sys.argv[1]), wal_segment_bytes=1 << 16)
connection.admin.create_table(TableDescriptor("t", [ColumnFamilyDescriptor(b"f")]))
table = connection.table("t")
def work(name):
    for number in range(1_000_000):
        table.put(b"%s%06d" % (name, number), {b"f:n": b"%d" % number, b"f:fill": b"x" * 300})
        os.write(1, b"put %s %d\\n" % (name, number))
for name in (b"a", b"b"):
    threading.Thread(target=work, args=(name,), daemon=True).start()
for line in sys.stdin:
    getattr(connection.admin, line.strip())("t")
    os.write(1, b"done %s\\n" % line.strip().encode())
"""


def acknowledged(lines: list[str]) -> dict[bytes, bytes]:
    """The rows of the puts that were acknowledged, with their value."""
    rows = {}
    for line in lines:
        if line.startswith("put ") and line[-1] == "\n":
            _, name, number = line.split()
            rows[b"%s%06d" % (name.encode(), int(number))] = number.encode()
    return rows


def rows_of(connection: Connection) -> dict[bytes, bytes]:
    return {row: result[b"f:n"] for row, result in connection.table("t").scan()}


def test_a_killed_store_opens_with_everything_acknowledged(shared: StorageBackend) -> None:
    lines: list[str] = []
    with writer_process(STORE_WRITER, shared.root) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for command in ("flush", "flush", "major_compact", ""):
            puts = 0
            while puts < 20:
                lines.append(process.stdout.readline())
                assert lines[-1], "the writer died"
                puts += lines[-1].startswith("put")
            if command:
                process.stdin.write(command + "\n")
                process.stdin.flush()
                while not lines[-1].startswith("done"):
                    lines.append(process.stdout.readline())
                    assert lines[-1], "the writer died"
        process.kill()
        lines += process.stdout
    wanted = acknowledged(lines)
    assert len(wanted) >= 80
    for _ in range(2):
        with memory_connection(shared.open()) as connection:
            found = rows_of(connection)
            assert {row: found.get(row) for row in wanted} == wanted
            assert len(found) <= len(wanted) + 2  # what was not answered any more
            connection.admin.flush("t")


def test_a_store_that_another_opened_acknowledges_nothing_more(fencing: StorageBackend) -> None:
    first = memory_connection(fencing.open())
    first.admin.create_table(TableDescriptor("t", [ColumnFamilyDescriptor(b"f")]))
    table = first.table("t")
    table.put(b"before", {b"f:n": b"1"})
    with memory_connection(fencing.open()) as second:
        assert rows_of(second) == {b"before": b"1"}
        with pytest.raises(StoreFailedException):
            table.put(b"after", {b"f:n": b"2"})
        second.table("t").put(b"own", {b"f:n": b"3"})
        assert rows_of(second) == {b"before": b"1", b"own": b"3"}
    first.close()
    with memory_connection(fencing.open()) as third:
        assert rows_of(third) == {b"before": b"1", b"own": b"3"}
