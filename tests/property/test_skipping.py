"""Files that a read passes over by key range, Bloom filter or time range hold nothing it should have seen.

Reads are made twice, as they are and with every short cut taken out; both must show the same. Tombstones
matter most: one that stands in a file without any other trace of its row or time must not be passed over.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from hyperbase import ColumnFamilyDescriptor, Connection, Delete, Get, Put, Scan
from regionserver.region import scanner
from regionserver.region.reads import ReadPlan
from regionserver.storage.store_file_reader import StoreFileReader
from tests.support.engine import Bench, memory_connection, minor_compact, regions_of

EPISODES = 30
FILES = 5
READS = 60
ROWS = [b"r%02d" % number for number in range(12)]
QUALIFIERS = [b"", b"a", b"b"]


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    opened = memory_connection()
    yield opened
    opened.close()


def always(*_: Any) -> bool:
    return True


@pytest.fixture
def without_skipping(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], Any]:
    """Call something with every short cut taken out."""

    def run(call: Callable[[], Any]) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(StoreFileReader, "may_contain", always)
            patch.setattr(StoreFileReader, "may_contain_cell", always)
            patch.setattr(ReadPlan, "needs_file", always)
            patch.setattr(scanner, "_overlaps", lambda reader, low, high: reader.block_count > 0)
            return call()

    return run


def fill(bench: Bench, r: random.Random) -> None:
    """Files that hold few rows and stamps each, some of them nothing but tombstones."""
    for _ in range(FILES):
        rows = r.sample(ROWS, r.choice((1, 2, 5)))
        only_deletes = r.random() < 0.4
        base = r.randrange(1, 60)
        for row in rows:
            stamp = base + r.randrange(5)
            family, qualifier = r.choice(("f", "g")), r.choice(QUALIFIERS)
            column = family.encode() + b":" + qualifier
            kind = (
                r.choice(("version", "column", "family", "family version", "row")) if only_deletes else "put"
            )
            if kind == "put":
                bench.table.put(Put(row, timestamp=stamp).add(column, b"%d" % stamp))
            elif kind == "version":
                bench.table.delete(Delete(row).add_column(column, stamp))
            elif kind == "column":
                bench.table.delete(Delete(row).add_columns(column, stamp))
            elif kind == "family":
                bench.table.delete(Delete(row).add_family(family, stamp))
            elif kind == "family version":
                bench.table.delete(Delete(row).add_family_version(family, stamp))
            else:
                bench.table.delete(Delete(row, stamp))
        bench.flush()
        if r.random() < 0.15:
            minor_compact(bench.connection, bench.name)


def query(r: random.Random) -> dict[str, Any]:
    options: dict[str, Any] = {"versions": r.choice((1, 3))}
    if r.random() < 0.6:
        low = r.randrange(60)
        options["time_range"] = (low, low + r.choice((1, 3, 10, 100)))
    if r.random() < 0.5:
        options["columns"] = r.sample([b"f", b"f:", b"f:a", b"g:a", b"g:b"], r.choice((1, 2)))
    return options


@pytest.mark.parametrize("bloom", ["NONE", "ROW", "ROWCOL"])
@pytest.mark.parametrize("keep", ["FALSE", "TRUE"])
def test_reads_show_the_same_with_and_without_skipping(
    connection: Connection, without_skipping: Callable[[Callable[[], Any]], Any], bloom: str, keep: str
) -> None:
    shown = 0
    for seed in range(EPISODES):
        r = random.Random(f"{bloom} {keep} {seed}")
        families = [
            ColumnFamilyDescriptor(name, max_versions=3, bloom_filter_type=bloom, keep_deleted_cells=keep)
            for name in ("f", "g")
        ]
        bench = Bench(connection, *families, splits=r.choice((None, [b"r06"])))
        fill(bench, r)
        for number in range(READS):
            options = query(r)
            where = f"{bloom} {keep} seed {seed} read {number}: {options}"
            get = Get(r.choice([*ROWS, b"none"]), **options)
            found = bench.table.get(get)
            assert found == without_skipping(partial(bench.table.get, get)), where
            if number % 6 == 0:
                start = r.choice((b"", *ROWS))
                scan = Scan(start, reverse=r.random() < 0.5, **options)
                rows = bench.results(scan)
                assert rows == without_skipping(partial(bench.results, scan)), where
                shown += len(rows)
        bench.connection.delete_table(bench.name, disable=True)
    assert shown > 50  # or nothing was tested


@pytest.mark.parametrize("bloom", ["NONE", "ROW", "ROWCOL"])
@pytest.mark.parametrize("kind", ["version", "column", "family", "family version", "row"])
def test_a_file_with_nothing_but_one_tombstone_is_not_passed_over(
    connection: Connection, bloom: str, kind: str
) -> None:
    family = ColumnFamilyDescriptor("f", max_versions=3, bloom_filter_type=bloom)
    bench = Bench(connection, family)
    bench.table.put(b"r", {b"f:q": b"v"}, timestamp=10)
    bench.flush()
    later = {"version": 10, "family version": 10}.get(kind, 1000)  # far outside the reads' time range
    delete = {
        "version": lambda: Delete(b"r").add_column(b"f:q", later),
        "column": lambda: Delete(b"r").add_columns(b"f:q", later),
        "family": lambda: Delete(b"r").add_family("f", later),
        "family version": lambda: Delete(b"r").add_family_version("f", later),
        "row": lambda: Delete(b"r", later),
    }[kind]()
    bench.table.delete(delete)
    bench.flush()
    files = [
        len(readers)
        for region in regions_of(connection, bench.name)
        for readers in region.store_files.values()
    ]
    assert files == [2]

    for options in (
        {},
        {"columns": [b"f:q"]},
        {"time_range": (5, 15)},
        {"timestamp": 10, "columns": [b"f:q"]},
    ):
        assert not bench.table.get(Get(b"r", **options)), options
        assert bench.rows(**options) == [], options
        assert bench.rows(reverse=True, **options) == [], options


def test_what_can_be_skipped_is_skipped(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(connection)
    for number in range(4):
        bench.table.put(b"row%d" % number, {b"f:q": b"v"}, timestamp=100 * number + 1)
        bench.flush()
    read: list[str] = []
    block = StoreFileReader.block

    def noted(self: StoreFileReader, index: int, cache: bool = True, *, load: bool = True) -> Any:
        read.append(self.path)
        return block(self, index, cache, load=load)

    monkeypatch.setattr(StoreFileReader, "block", noted)
    assert bench.table.row(b"row2") == {b"f:q": b"v"}
    assert len(set(read)) == 1  # by key range and Bloom filter
    read.clear()
    assert bench.rows(time_range=(100, 200)) == [b"row1"]
    assert len(set(read)) == 1  # by time range
    read.clear()
    assert bench.rows(start=b"row3") == [b"row3"]
    assert len(set(read)) == 1  # by key range
