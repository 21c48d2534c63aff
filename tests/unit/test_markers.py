"""Marker records: written at every turn of a region's life, passed over by replay, never in the way."""

from __future__ import annotations

from collections.abc import Iterator

import msgpack
import pyarrow as pa
import pytest

from hyperbase import Connection
from hyperbase.cli.inspect_commands import _wal_line
from hyperbase.common.errors import StoreFormatException
from regionserver.region.markers import Marker
from regionserver.storage.memory_filesystem import MemoryFileSystem
from regionserver.storage.wal import describe_log, read_logs
from regionserver.storage.wal_format import EDIT, MARKER
from tests.support.engine import memory_connection, regions_of, store_of


@pytest.fixture
def disk() -> MemoryFileSystem:
    return MemoryFileSystem()


@pytest.fixture
def db(disk: MemoryFileSystem) -> Iterator[Connection]:
    connection = memory_connection(disk)
    connection.create_table("t", {"f": {}})
    yield connection
    connection.close()


def markers(disk: MemoryFileSystem, directory: str = "WALs") -> list[Marker]:
    """Every marker in the log's files, those of user tables only."""
    found = [Marker.decode(record.payload) for record in read_logs(disk, directory) if record.kind == MARKER]
    return [marker for marker in found if not marker.region.startswith(b"hbase:")]


def sync(connection: Connection) -> None:
    wal = store_of(connection).engine.wal
    assert wal is not None
    wal.sync(wal.appended_position)


def test_a_marker_reads_back() -> None:
    marker = Marker("split", b"t,,17.ab.", 40, {"at": b"m", "daughters": [b"t,,18.c.", b"t,m,18.d."]})
    assert Marker.decode(marker.encode()) == marker
    assert str(marker) == "split t,,17.ab. at 40: at=m daughters=[t,,18.c., t,m,18.d.]"
    assert str(Marker("close", b"t\xff", 1, {})) == r"close t\xFF at 1"


@pytest.mark.parametrize(
    "payload", [b"", b"\xc1", b"\x93\x01", msgpack.packb(3), msgpack.packb({}), msgpack.packb({"version": 2})]
)
def test_what_is_no_marker_is_refused(payload: bytes) -> None:
    with pytest.raises(StoreFormatException, match="marker of"):
        Marker.decode(payload)


def test_every_turn_leaves_a_marker(db: Connection, disk: MemoryFileSystem) -> None:
    for row in (b"a", b"b", b"c", b"d"):
        db.table("t").put(row, {b"f:q": row})
    db.admin.flush("t")
    db.admin.split("t", b"c")
    first, second = db.admin.regions("t")
    db.admin.merge_regions(first.encoded_name, second.encoded_name)
    (merged,) = db.admin.regions("t")
    sync(db)
    told = markers(disk)
    events = " ".join(marker.event for marker in told)
    assert events == "open flush close open open split close close open merge merge"
    opened, flushed, closed, split = told[0], told[1], told[2], told[5]
    assert opened.region == flushed.region == closed.region == split.region
    assert flushed.sequence_id == flushed.details["flushed"] == 4
    assert len(flushed.details["files"]) == 1
    assert split.details == {"at": b"c", "daughters": [first.region_name, second.region_name]}
    assert [marker.details["into"] for marker in told[-2:]] == [merged.region_name] * 2
    assert {marker.region for marker in told[-2:]} == {first.region_name, second.region_name}


def test_markers_never_hold_back_the_archive(db: Connection, disk: MemoryFileSystem) -> None:
    engine = store_of(db).engine
    assert engine.wal is not None
    db.create_table("idle", {"f": {}})  # one marker, and no edit ever
    db.table("t").put(b"r", {b"f:q": b"v"})
    engine.wal.roll()
    for region in list(engine.regions.values()):
        engine.flush(region)
    assert [segment.closed for segment in engine.wal.segments()] == [False]
    assert any(name.endswith(".wal") for name in disk.list("oldWALs"))


def test_a_bulk_load_leaves_one(
    db: Connection, disk: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regionserver.region.arrow_load.FILE_BYTES", 1)
    db.table("t").put_arrow(pa.table({"row": ["a", "b"], "q": ["1", "2"]}), family="f")
    sync(db)
    marker = markers(disk)[-1]
    assert (marker.event, marker.details["loaded"]) == ("bulk", 1)
    assert len(marker.details["files"]) == 1


def test_replay_passes_over_markers(db: Connection, disk: MemoryFileSystem) -> None:
    db.table("t").put(b"r", {b"f:q": b"v"})
    db.admin.flush("t")
    db.table("t").put(b"s", {b"f:q": b"w"})
    assert {record.kind for record in read_logs(disk, "WALs")} == {EDIT, MARKER}
    store_of(db).crash()
    db._backend = None
    db.open()
    assert dict(db.table("t").scan()) == {b"r": {b"f:q": b"v"}, b"s": {b"f:q": b"w"}}


def test_a_marker_that_cannot_be_written_stops_nothing(db: Connection) -> None:
    wal = store_of(db).engine.wal
    assert wal is not None
    db.table("t").put(b"r", {b"f:q": b"v"})
    (region,) = regions_of(db, "t")

    def refuse(*_: object, **__: object) -> int:
        raise StoreFormatException("no room")

    append, wal.append = wal.append, refuse  # type: ignore[method-assign]
    try:
        assert store_of(db).engine.flush(region)
    finally:
        wal.append = append  # type: ignore[method-assign]
    assert db.table("t").row(b"r") == {b"f:q": b"v"}


def test_the_log_command_shows_them(db: Connection, disk: MemoryFileSystem) -> None:
    db.table("t").put(b"r", {b"f:q": b"v"})
    (name,) = [name for name in disk.list("WALs") if name.endswith(".wal")]
    lines = [_wal_line(fact) for fact in describe_log(disk, f"WALs/{name}")]
    assert any("  marker  " in line and "open t,," in line for line in lines)
    assert any("  edit  " in line for line in lines)
