"""The stores under test behind one small interface: same rows, same durability, same process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import hyperbase

Rows = Sequence[tuple[bytes, dict[bytes, bytes]]]


class Peer(Protocol):
    """A store of rows of columns."""

    name: str

    def put_batch(self, rows: Rows) -> None:
        """Write the rows durably, with one sync."""

    def row(self, key: bytes) -> dict[bytes, bytes]: ...

    def scan(self) -> int:
        """Read everything as Python objects; returns the cells seen."""

    def flush(self) -> None: ...

    def compact(self) -> None: ...

    def close(self) -> None: ...


class Hyperbase:
    """The embedded store."""

    name = "hyperbase"

    def __init__(self, directory: Path, compression: str = "LZ4", **settings: Any) -> None:
        self.db = hyperbase.connect(directory, **settings)
        if not self.db.admin.table_exists("bench"):
            self.db.create_table("bench", {"cf": {"max_versions": 1, "compression": compression}})
        self.table = self.db.table("bench")

    def put_batch(self, rows: Rows) -> None:
        with self.table.batch() as batch:
            for key, data in rows:
                batch.put(key, data)

    def row(self, key: bytes) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = self.table.row(key)
        return found

    def scan(self) -> int:
        return sum(len(data) for _, data in self.table.scan())

    def flush(self) -> None:
        self.db.admin.flush("bench")

    def compact(self) -> None:
        self.db.admin.major_compact("bench")

    def close(self) -> None:
        self.db.close()


class RocksDB:
    """RocksDB through rocksdict: one key per cell, ``row + column``."""

    name = "rocksdb"

    def __init__(self, directory: Path) -> None:
        from rocksdict import DBCompressionType, Options, Rdict, WriteOptions

        options = Options(raw_mode=True)
        options.set_compression_type(DBCompressionType.lz4())
        self._db = Rdict(str(directory), options)
        self._sync = WriteOptions()
        self._sync.sync = True

    def put_batch(self, rows: Rows) -> None:
        from rocksdict import WriteBatch

        batch = WriteBatch(raw_mode=True)
        for key, data in rows:
            for column, value in data.items():
                batch.put(key + column, value)
        self._db.write(batch, write_opt=self._sync)

    def row(self, key: bytes) -> dict[bytes, bytes]:
        columns = COLUMNS
        values = self._db.get([key + column for column in columns])
        return dict(zip(columns, values, strict=True))

    def scan(self) -> int:
        return sum(1 for _ in self._db.items())

    def flush(self) -> None:
        self._db.flush()

    def compact(self) -> None:
        self._db.compact_range(None, None)

    def close(self) -> None:
        self._db.close()


class SQLite:
    """SQLite with a row per HBase row: blobs in ten columns, WAL mode, synchronous=FULL."""

    name = "sqlite"

    def __init__(self, directory: Path) -> None:
        self._db = sqlite3.connect(directory.with_suffix(".db"), isolation_level=None)
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=full")
        columns = ", ".join(f"c{i} blob" for i in range(len(COLUMNS)))
        self._db.execute(f"create table if not exists t (k blob primary key, {columns}) without rowid")
        self._insert = f"insert or replace into t values ({', '.join('?' * (len(COLUMNS) + 1))})"

    def put_batch(self, rows: Rows) -> None:
        self._db.execute("begin")
        self._db.executemany(self._insert, ((key, *data.values()) for key, data in rows))
        self._db.execute("commit")

    def row(self, key: bytes) -> dict[bytes, bytes]:
        found = self._db.execute("select * from t where k = ?", (key,)).fetchone()
        return dict(zip(COLUMNS, found[1:], strict=True))

    def scan(self) -> int:
        return sum(len(row) - 1 for row in self._db.execute("select * from t order by k"))

    def flush(self) -> None:
        self._db.execute("pragma wal_checkpoint(full)")

    def compact(self) -> None:
        """Nothing to do: pages are written in place."""

    def close(self) -> None:
        self._db.close()


COLUMNS = tuple(b"cf:c%02d" % index for index in range(10))


def make_rows(numbers: Iterable[int], payload: bytes) -> Rows:
    """Rows of 10 x 100 B under 16-byte keys, half random, half compressible, cut from ``payload``."""
    rows = []
    for number in numbers:
        data = {}
        for index, column in enumerate(COLUMNS):
            offset = (number * 37 + index * 11) % (len(payload) - 50)
            data[column] = payload[offset : offset + 50] + b"%050d" % number
        rows.append((b"%016d" % (number * 7_919 % 10**15), data))
    return rows
