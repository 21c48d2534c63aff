"""Writes ``store-1.tar.gz``: a store of format 1 with one of everything, left behind by a crash.

    python -m tests.golden.make_store [FILE]

Made once for each format that was released, then kept for ever: ``tests/contract/test_golden_store.py``
says what every later version must read out of it. Cells have explicit timestamps, and the clock is a
counter, so two runs make stores of equal content. They differ in the log's salts and creation times and in
the cluster id.
"""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
import tempfile
from pathlib import Path

import pyarrow as pa

from hyperbase import (
    Append,
    ColumnFamilyDescriptor,
    Connection,
    Delete,
    Increment,
    NamespaceDescriptor,
    Put,
    RowMutations,
    TableDescriptor,
)
from hyperbase.embedded.backend import EmbeddedBackend
from hyperbase.embedded.store import EmbeddedStore, make_config
from regionserver.region import arrow_load
from regionserver.storage.local_filesystem import LocalFileSystem

FILE = Path(__file__).with_name("store-1.tar.gz")
MADE_MS = 1_735_689_600_000  # 2025-01-01: the store's clock while it was made
FUTURE_MS = 4_102_444_800_000  # 2100-01-01: what lives until then is alive when the test runs
COMPRESSIONS = ("NONE", "LZ4", "ZSTD", "SNAPPY", "LZO", "GZ", "BZIP2", "LZMA", "BROTLI")
SEGMENT_BYTES = 256 * 1024


class _Counter:
    """A clock that goes on by a millisecond each time somebody looks."""

    def __init__(self) -> None:
        self._now = MADE_MS

    def __call__(self) -> int:
        self._now += 1
        return self._now


def make_store(directory: Path) -> None:
    """Make the store in an empty directory and leave it as a killed process would."""
    store = EmbeddedStore(
        LocalFileSystem(str(directory)),
        make_config({"wal_segment_bytes": SEGMENT_BYTES, "wal_archive_ttl_s": 0}),
        root=str(directory),
        clock=_Counter(),
        background=False,
    )
    connection = Connection(lambda: EmbeddedBackend(store, lambda: None))
    for make in (_compressions, _versions, _ttl, _split, _disabled, _altered, _odd, _bulk):
        make(connection)
    _log_only(connection)
    store.crash()
    connection.close()


def _compressions(db: Connection) -> None:
    """Every compression and Bloom filter: family ``c<n>`` has compression ``n``. Compacted, then flushed."""
    blooms = ("NONE", "ROW", "ROWCOL")
    families = [
        ColumnFamilyDescriptor(b"c%d" % n, compression=name, bloom_filter_type=blooms[n % 3], block_size=4096)
        for n, name in enumerate(COMPRESSIONS)
    ]
    db.admin.create_table(TableDescriptor("compressions", families))
    table = db.table("compressions")
    for half in range(2):
        with table.batch(timestamp=1000 + half) as batch:
            for row in range(half, 120, 2):
                for n in range(len(COMPRESSIONS)):
                    data = {f"c{n}:a": f"{row}/{n} " * 3, f"c{n}:b": bytes([row, n])}
                    batch.put(f"row-{row:03d}", data)
        db.admin.flush("compressions")
    db.admin.major_compact("compressions")
    table.put("row-007", {"c2:a": "written again"}, timestamp=2000)
    db.admin.flush("compressions")


def _versions(db: Connection) -> None:
    """Versions, and markers of all four kinds, over several files that were never compacted."""
    three = ColumnFamilyDescriptor(b"v", max_versions=3)
    kept = ColumnFamilyDescriptor(b"k", max_versions=2, keep_deleted_cells="TRUE")
    new = ColumnFamilyDescriptor(b"n", max_versions=2, new_version_behavior=True)
    db.admin.create_table(TableDescriptor("versions", [three, kept, new]))
    table = db.table("versions")
    for stamp in (10, 20, 30, 40):
        for row in ("column", "family", "familyversion", "version", "whole", "untouched"):
            data = {f"{family}:q": f"{row}@{stamp}" for family in "vkn"}
            table.put(row, data, timestamp=stamp)
        db.admin.flush("versions")
    deletes = [Delete("column"), Delete("family"), Delete("familyversion"), Delete("version")]
    for family in ("v", "k", "n"):
        deletes[0].add_columns(f"{family}:q", 20)
        deletes[1].add_family(family, 30)
        deletes[2].add_family_version(family, 40)
        deletes[3].add_column(f"{family}:q", 30)
    for delete in (*deletes, Delete("whole", 40)):
        table.delete(delete)
    db.admin.flush("versions")
    table.put("family", {"v:q": "older than its marker", "n:q": "newer than its marker"}, timestamp=25)
    db.admin.flush("versions")


def _ttl(db: Connection) -> None:
    """Cells that lived when the store was made; those of 2025 have expired since."""
    hour = ColumnFamilyDescriptor(b"hour", time_to_live=3600)
    least = ColumnFamilyDescriptor(b"least", time_to_live=3600, min_versions=1, max_versions=5)
    ever = ColumnFamilyDescriptor(b"ever")
    db.admin.create_table(TableDescriptor("ttl", [hour, least, ever]))
    table = db.table("ttl")
    for stamp, name in ((MADE_MS, "gone"), (FUTURE_MS, "alive")):
        table.put(name, {"hour:q": name, "least:q": name, "ever:q": name}, timestamp=stamp)
        table.put(Put(f"{name}-cell", stamp, ttl_ms=60_000).add("ever:q", name))
    table.put("gone", {"least:q": "older"}, timestamp=MADE_MS - 1)
    db.admin.flush("ttl")


def _split(db: Connection) -> None:
    """Three splits and a merge; its regions still read halves of their parents' files."""
    db.create_table("split", {"f": {"max_versions": 1}, "g": {}}, splits=[b"row-150"])
    table = db.table("split")
    with table.batch(timestamp=1) as batch:
        for row in range(200):
            batch.put(f"row-{row:03d}", {"f:n": str(row), "g:square": str(row * row)})
    db.admin.flush("split")
    db.admin.split("split", b"row-050")
    db.admin.split("split", b"row-100")
    db.admin.split("split", b"row-025")
    regions = db.admin.regions("split")
    assert [region.start_key for region in regions] == [b"", b"row-025", b"row-050", b"row-100", b"row-150"]
    db.admin.merge_regions(regions[2].encoded_name, regions[3].encoded_name)
    for row in (0, 30, 60, 110, 160):
        table.put(f"row-{row:03d}", {"f:n": f"{row} again"}, timestamp=2)
    db.admin.flush("split")


def _disabled(db: Connection) -> None:
    db.admin.create_namespace(NamespaceDescriptor("museum", {"opened": "1753"}))
    db.create_table("museum:closed", {"f": {}})
    db.table("museum:closed").put("mummy", {"f:q": "asleep"}, timestamp=5)
    db.disable_table("museum:closed")


def _altered(db: Connection) -> None:
    """A family was dropped, one was added, settings were changed."""
    before = TableDescriptor("altered", [ColumnFamilyDescriptor(b"old"), ColumnFamilyDescriptor(b"stays")])
    db.admin.create_table(before)
    table = db.table("altered")
    table.put("r", {"old:q": "never seen again", "stays:q": "seen"}, timestamp=1)
    after = before.without_family(b"old").with_family(ColumnFamilyDescriptor(b"new", compression="ZSTD"))
    db.admin.alter_table(after)
    table.put("r", {"new:q": "new"}, timestamp=1)
    db.admin.flush("altered")


def _odd(db: Connection) -> None:
    """Keys and values at the edges: every byte, empty qualifiers and values, the longest row, large rows."""
    db.create_table("odd", {"f": {"max_versions": 1}, "ü": {}})
    table = db.table("odd")
    table.put(bytes(range(256)), {b"f:" + bytes(range(256)): bytes(range(256))}, timestamp=1)
    table.put(b"\x00", {b"f:": b"", "ü:ß": "€"}, timestamp=1)
    table.put(b"k" * 65_536, {b"f:q": b"longest"}, timestamp=1)
    table.put(b"large", {b"f:value": b"0123456789abcdef" * 10_000}, timestamp=1)
    table.put(b"wide", {b"f:%04d" % n: b"%d" % n for n in range(2500)}, timestamp=1)
    table.put(b"\xff\xff", {b"f:q": b"last"}, timestamp=2**63 - 2)
    db.admin.flush("odd")


def _bulk(db: Connection) -> None:
    """A bulk load between two puts, all of one timestamp: the last one written counts, file or log."""
    db.create_table("bulk", {"f": {"max_versions": 1}})
    table = db.table("bulk")
    for row in ("a", "b"):
        table.put(row, {"f:q": "before"}, timestamp=5)
    rows = [f"row-{row:03d}" for row in range(100)]
    data = pa.table({"row": ["a", "b", *rows], "q": ["loaded"] * 102})
    least, arrow_load.FILE_BYTES = arrow_load.FILE_BYTES, 1
    try:
        table.put_arrow(data, family="f", timestamp=5)
    finally:
        arrow_load.FILE_BYTES = least
    table.put("b", {"f:q": "after"}, timestamp=5)


def _log_only(db: Connection) -> None:
    """What stands in the log alone when the process dies: every kind of edit."""
    db.create_table("log", {"f": {"max_versions": 3}, "g": {}})
    table = db.table("log")
    for stamp in (1, 2):
        with table.batch(timestamp=stamp) as batch:
            for row in range(50):
                batch.put(f"row-{row:02d}", {"f:a": f"{row}@{stamp}", "f:b": "b", "g:c": "c"})
    table.delete("row-10", timestamp=2)
    table.delete("row-11", ["f:a"], timestamp=1)
    table.delete(Delete("row-12").add_column("f:a"))
    table.increment(Increment("counter", {"f:n": 40}))
    table.increment(Increment("counter", {"f:n": 2}))
    table.append(Append("text", {"f:t": "wide "}))
    table.append(Append("text", {"f:t": "column"}))
    table.put(Put("ttl", FUTURE_MS, ttl_ms=60_000).add("f:q", "alive"))
    table.put(Put("ttl", MADE_MS, ttl_ms=60_000).add("f:gone", "gone"))
    both = [Put("both", 7).add("f:q", "put"), Delete("both", 7).add_family("g")]
    table.put("both", {"g:q": "masked"}, timestamp=6)
    table.mutate_row(RowMutations("both", both))
    db.table("versions").put("untouched", {"v:q": "from the log"}, timestamp=50)
    db.table("versions").delete("column", ["v:q"], timestamp=30)
    db.table("split").put("row-030", {"f:n": "from the log"}, timestamp=3)
    db.table("split").put("row-120", {"f:n": "from the log"}, timestamp=3)


def pack(directory: Path) -> bytes:
    """The directory as a .tar.gz, without what differs from run to run."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(directory.rglob("*")):
            member = tarfile.TarInfo(str(path.relative_to(directory)))
            member.mode = 0o755 if path.is_dir() else 0o644
            if path.is_dir():
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            else:
                data = path.read_bytes()
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return gzip.compress(plain.getvalue(), 9, mtime=0)


def main() -> None:
    """Write the archive to the file named, or beside this module."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "store"
        root.mkdir()
        make_store(root)
        data = pack(root)
    target.write_bytes(data)
    print(f"{target}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
