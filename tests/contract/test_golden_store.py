"""A store that an earlier version wrote, and that a crash left behind, still says everything it said.

``tests/golden/store-1.tar.gz`` was made once by ``tests/golden/make_store.py`` and is not made anew: the
expectations below are written by hand, so a change of format that loses something shows here.
"""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from typing import Any

import pytest

import hyperbase
from hyperbase import Connection, Scan
from hyperbase.cli.store_check import check
from hyperbase.common.errors import ReadOnlyException, TableNotEnabledException

ARCHIVE = Path(__file__).resolve().parents[1] / "golden" / "store-1.tar.gz"
MADE_MS = 1_735_689_600_000
FUTURE_MS = 4_102_444_800_000
COMPRESSIONS = ["NONE", "LZ4", "ZSTD", "SNAPPY", "LZO", "GZ", "BZIP2", "LZMA", "BROTLI"]
TABLES = ["altered", "bulk", "compressions", "log", "museum:closed", "odd", "split", "ttl", "versions"]

Versions = dict[bytes, dict[bytes, list[tuple[int, bytes]]]]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The golden store, unpacked."""
    directory = tmp_path / "store"
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(directory, filter="data")
    return directory


def contents(connection: Connection, table: str, **options: Any) -> Versions:
    """Every visible version of every cell: ``{row: {column: [(timestamp, value), newest first]}}``."""
    found: Versions = {}
    for result in connection.table(table).scan_results(Scan(versions="all", **options)):
        columns = found.setdefault(result.row, {})
        for cell in result.cells:
            columns.setdefault(cell.column, []).append((cell.timestamp, cell.value))
    return found


def latest(connection: Connection, table: str) -> dict[bytes, dict[bytes, bytes]]:
    return dict(connection.table(table).scan())


def expect_compressions(connection: Connection) -> None:
    descriptor = connection.admin.describe_table("compressions")
    assert [family.compression for family in descriptor.families] == COMPRESSIONS
    assert [family.bloom_filter_type for family in descriptor.families] == ["NONE", "ROW", "ROWCOL"] * 3
    wanted: Versions = {}
    for row in range(120):
        stamp = 1000 + row % 2
        wanted[b"row-%03d" % row] = columns = {}
        for n in range(9):
            columns[b"c%d:a" % n] = [(stamp, b"%d/%d " % (row, n) * 3)]
            columns[b"c%d:b" % n] = [(stamp, bytes([row, n]))]
    wanted[b"row-007"][b"c2:a"] = [(2000, b"written again")]
    assert contents(connection, "compressions") == wanted
    for key in (b"row-000", b"row-007", b"row-119"):
        assert connection.table("compressions").row(key) == {
            column: cells[0][1] for column, cells in wanted[key].items()
        }
    assert connection.table("compressions").row(b"row-120") == {}


def expect_versions(connection: Connection, *, compacted: bool = False) -> None:
    def cells(row: str, family: str, *stamps: int) -> dict[bytes, list[tuple[int, bytes]]]:
        return {f"{family}:q".encode(): [(stamp, f"{row}@{stamp}".encode()) for stamp in stamps]}

    # KEEP_DELETED_CELLS: once it compacts, deleted cells take the place of versions, as in HBase.
    k_version, k_family_version = ((40,), (30,)) if compacted else ((40, 20), (30, 20))
    assert contents(connection, "versions") == {
        b"column": cells("column", "v", 40) | cells("column", "k", 40, 30) | cells("column", "n", 40, 30),
        b"family": cells("family", "v", 40)
        | cells("family", "k", 40)
        | {b"n:q": [(40, b"family@40"), (25, b"newer than its marker")]},
        b"familyversion": cells("familyversion", "v", 30, 20, 10)
        | cells("familyversion", "k", *k_family_version)
        | cells("familyversion", "n", 30),
        b"version": cells("version", "v", 40, 20, 10)
        | cells("version", "k", *k_version)
        | cells("version", "n", 40),
        b"untouched": {b"v:q": [(50, b"from the log"), (40, b"untouched@40"), (30, b"untouched@30")]}
        | cells("untouched", "k", 40, 30)
        | cells("untouched", "n", 40, 30),
    }


def expect_markers(connection: Connection) -> None:
    """All four kinds of delete marker are there, from files and from the log."""
    raw = connection.table("versions").scan_results(Scan(raw=True, versions="all", columns=["v"]))
    markers = {
        (cell.row, cell.type.name, cell.timestamp)
        for result in raw
        for cell in result.cells
        if cell.type.name != "PUT"
    }
    assert markers == {
        (b"column", "DELETE_COLUMN", 20),
        (b"column", "DELETE_COLUMN", 30),
        (b"family", "DELETE_FAMILY", 30),
        (b"familyversion", "DELETE_FAMILY_VERSION", 40),
        (b"version", "DELETE", 30),
        (b"whole", "DELETE_FAMILY", 40),
    }


def expect_ttl(connection: Connection) -> None:
    assert contents(connection, "ttl") == {
        b"alive": {name: [(FUTURE_MS, b"alive")] for name in (b"ever:q", b"hour:q", b"least:q")},
        b"alive-cell": {b"ever:q": [(FUTURE_MS, b"alive")]},
        b"gone": {b"ever:q": [(MADE_MS, b"gone")], b"least:q": [(MADE_MS, b"gone")]},
    }


def expect_split(connection: Connection) -> None:
    wanted = {
        b"row-%03d" % row: {b"f:n": b"%d" % row, b"g:square": b"%d" % (row * row)} for row in range(200)
    }
    for row in (0, 60, 110, 160):
        wanted[b"row-%03d" % row][b"f:n"] = b"%d again" % row
    for row in (30, 120):
        wanted[b"row-%03d" % row][b"f:n"] = b"from the log"
    assert latest(connection, "split") == wanted
    assert list(connection.table("split").scan(reverse=True)) == sorted(wanted.items(), reverse=True)
    regions = connection.admin.regions("split")
    assert [region.start_key for region in regions] == [b"", b"row-025", b"row-050", b"row-150"]
    for key in (b"row-024", b"row-025", b"row-099", b"row-100", b"row-149", b"row-150"):
        assert connection.table("split").row(key) == wanted[key]


def expect_altered(connection: Connection) -> None:
    assert contents(connection, "altered") == {b"r": {b"new:q": [(1, b"new")], b"stays:q": [(1, b"seen")]}}


def expect_bulk(connection: Connection) -> None:
    keys = [b"a", *(b"row-%03d" % row for row in range(100))]
    wanted: Versions = {key: {b"f:q": [(5, b"loaded")]} for key in keys}
    assert contents(connection, "bulk") == wanted | {b"b": {b"f:q": [(5, b"after")]}}


def expect_odd(connection: Connection) -> None:
    every_byte = bytes(range(256))
    found = contents(connection, "odd")
    wanted: Versions = {
        b"\x00": {b"f:": [(1, b"")], "ü:ß".encode(): [(1, "€".encode())]},
        every_byte: {b"f:" + every_byte: [(1, every_byte)]},
        b"k" * 65_536: {b"f:q": [(1, b"longest")]},
        b"large": {b"f:value": [(1, b"0123456789abcdef" * 10_000)]},
        b"wide": {b"f:%04d" % n: [(1, b"%d" % n)] for n in range(2500)},
        b"\xff\xff": {b"f:q": [(2**63 - 2, b"last")]},
    }
    assert list(found) == list(wanted)  # the order too
    assert found == wanted


def expect_log(connection: Connection) -> None:
    table = connection.table("log")
    found = contents(connection, "log", columns=["f:a", "f:b", "g"], stop=b"s")
    wanted: Versions = {}
    for row in range(50):
        wanted[b"row-%02d" % row] = {
            b"f:a": [(stamp, b"%d@%d" % (row, stamp)) for stamp in (2, 1)],
            b"f:b": [(2, b"b"), (1, b"b")],
            b"g:c": [(2, b"c"), (1, b"c")],
        }
    del wanted[b"row-10"]
    wanted[b"row-11"][b"f:a"] = [(2, b"11@2")]
    wanted[b"row-12"][b"f:a"] = [(1, b"12@1")]
    assert found == wanted
    assert table.row(b"counter") == {b"f:n": (42).to_bytes(8, "big")}
    assert table.row(b"text") == {b"f:t": b"wide column"}
    assert table.row(b"ttl", include_timestamp=True) == {b"f:q": (b"alive", FUTURE_MS)}
    assert table.row(b"both", include_timestamp=True) == {b"f:q": (b"put", 7)}


def expect_everything(connection: Connection, *, compacted: bool = False) -> None:
    assert connection.admin.list_tables() == TABLES
    assert connection.admin.list_namespaces() == ["default", "hbase", "museum"]
    assert connection.admin.describe_namespace("museum").configuration == {"opened": "1753"}
    expect_compressions(connection)
    expect_versions(connection, compacted=compacted)
    expect_ttl(connection)
    expect_split(connection)
    expect_altered(connection)
    expect_bulk(connection)
    expect_odd(connection)
    expect_log(connection)


def digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_it_is_read_without_changing_a_byte(store: Path) -> None:
    before = digests(store)
    with hyperbase.connect(store, read_only=True) as connection:
        expect_everything(connection)
        expect_markers(connection)
        assert not connection.admin.is_table_enabled("museum:closed")
        with pytest.raises(TableNotEnabledException):
            connection.table("museum:closed").row(b"mummy")
        with pytest.raises(ReadOnlyException):
            connection.table("log").put(b"r", {b"f:q": b"v"})
    assert digests(store) == before


def test_its_files_are_sound(store: Path) -> None:
    result = check(str(store))
    assert result.problems == []
    assert result.table_count == len(TABLES)
    assert result.files.record_count > 0


def test_it_is_recovered_written_compacted_and_reopened(store: Path) -> None:
    with hyperbase.connect(store) as connection:
        expect_everything(connection)
        expect_markers(connection)
        connection.enable_table("museum:closed")
        assert contents(connection, "museum:closed") == {b"mummy": {b"f:q": [(5, b"asleep")]}}
        for name in TABLES:
            table, family = connection.table(name), next(iter(connection.table(name).families()))
            table.put(b"zz-new", {family + b":new": b"written"})
            assert table.row(b"zz-new") == {family + b":new": b"written"}
            table.delete(b"zz-new")
    with hyperbase.connect(store) as connection:
        expect_everything(connection)
        for name in TABLES:
            connection.admin.major_compact(name)
        expect_everything(connection, compacted=True)
    assert check(str(store)).problems == []
    with hyperbase.connect(store) as connection:
        expect_everything(connection, compacted=True)
