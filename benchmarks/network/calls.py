"""The works as calls on a table: Hyperbase's ``Table`` and HappyBase's have the same methods.

Each maker returns a function without arguments that does one call and returns the operations it was: rows for
the works that count rows, 1 for the others. A row of the wrong width is an error, so that nobody is fast by
reading nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.network.data import BATCH, CELLS, COLUMNS, COUNTER, SCAN_CALL, Source

Call = Callable[[], int]


def batch_put(source: Source, read: Any, write: Any) -> Call:
    def call() -> int:
        batch = write.batch()
        for _ in range(BATCH):
            batch.put(*source.new_row())
        batch.send()
        return BATCH

    return call


def single_put(source: Source, read: Any, write: Any) -> Call:
    def call() -> int:
        write.put(*source.new_row())
        return 1

    return call


def get(source: Source, read: Any, write: Any) -> Call:
    def call() -> int:
        _expect(len(read.row(source.random_key())), CELLS)
        return 1

    return call


def multi_get(source: Source, read: Any, write: Any) -> Call:
    def call() -> int:
        keys = source.sorted_keys(BATCH)
        found = read.rows(keys)
        _expect(len(found), len(keys))
        for _, data in found:
            _expect(len(data), CELLS)
        return BATCH

    return call


def full_scan(source: Source, read: Any, write: Any) -> Call:
    scanner: Iterator[Any] | None = None

    def call() -> int:
        nonlocal scanner
        if scanner is None:
            scanner = iter(read.scan())
        seen = 0
        for _, data in scanner:
            _expect(len(data), CELLS)
            seen += 1
            if seen == SCAN_CALL:
                return seen
        scanner = None
        return seen

    return call


def scan_100(source: Source, read: Any, write: Any) -> Call:
    def call() -> int:
        seen = 0
        for _, data in read.scan(row_start=source.random_key(), limit=BATCH, batch_size=BATCH):
            _expect(len(data), CELLS)
            seen += 1
        if seen > BATCH:
            raise AssertionError(f"{seen} rows instead of at most {BATCH}")
        return 1

    return call


def increment(source: Source, read: Any, write: Any) -> Call:
    def call() -> int:
        write.counter_inc(source.counter_key(), COUNTER)
        return 1

    return call


def scan_arrow(source: Source, read: Any, write: Any) -> Call:
    """Wide record batches of all ten columns; counts rows."""
    return _arrow(lambda: read.scan_arrow(columns=list(COLUMNS), layout="wide"), 1)


def scan_arrow_cells(source: Source, read: Any, write: Any) -> Call:
    """Record batches with a row for each cell; counts rows of the table."""
    return _arrow(lambda: read.scan_arrow(layout="cells"), CELLS)


def _arrow(scan: Callable[[], Any], entries_per_row: int) -> Call:
    batches: Iterator[Any] | None = None
    left_over = 0

    def call() -> int:
        nonlocal batches, left_over
        if batches is None:
            batches = iter(scan())
        for batch in batches:
            rows, left_over = divmod(left_over + int(batch.num_rows), entries_per_row)
            return rows
        batches = None
        return 0

    return call


def _expect(found: int, wanted: int) -> None:
    if found != wanted:
        raise AssertionError(f"found {found} instead of {wanted}: is the table loaded?")


CALLS: dict[str, Callable[[Source, Any, Any], Call]] = {
    maker.__name__: maker
    for maker in (
        batch_put,
        single_put,
        get,
        multi_get,
        full_scan,
        scan_100,
        increment,
        scan_arrow,
        scan_arrow_cells,
    )
}
