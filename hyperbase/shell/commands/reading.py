"""get, scan, count, get_counter, get_splits."""

from __future__ import annotations

import struct
import time
from typing import Any

from hyperbase.common.model import Get, Scan
from hyperbase.common.names import to_string_binary
from hyperbase.shell.errors import ArgumentError
from hyperbase.shell.queries import cell_printer, get_request, ignored_options, scan_request
from hyperbase.shell.registry import command
from hyperbase.shell.session import Session
from hyperbase.shell.strings import text_of
from hyperbase.shell.values import integer, to_bytes


@command(
    "get",
    "dml",
    [
        "get 't1', 'r1'",
        "get 't1', 'r1', 'c1'",
        "get 't1', 'r1', ['c1:a', 'c2']",
        "get 'ns1:t1', 'r1', {COLUMN => 'c1', VERSIONS => 3}",
        "get 't1', 'r1', {COLUMN => 'c1:n:toLong', TIMERANGE => [1303668804000, 1303668904000]}",
        "get 't1', 'r1', {TIMESTAMP => 1303668804000}",
        "get 't1', 'r1', {FILTER => \"ValueFilter(=, 'binary:abc')\"}",
        "get 't1', 'r1', {COLUMN => 'c1', FORMATTER => 'toString', MAXLENGTH => 60}",
    ],
    on_table=True,
    stoppable=True,
)
def get(session: Session, table: object, row: object, *arguments: Any) -> None:
    """Print one row, or some of its columns: one line for each cell.

    Options: COLUMN or COLUMNS, VERSIONS (with a column), TIMESTAMP, TIMERANGE => [from, to), FILTER,
    FORMATTER, FORMATTER_CLASS, MAXLENGTH. How a column's values are decoded: help 'converters'.
    """
    request, options, columns = get_request(row, arguments)
    printer = cell_printer(session, session.table_name(table), options, columns)
    result = session.table(table).get(request)
    formatter = session.formatter
    formatter.header(["COLUMN", "CELL"])
    for cell in result.cells:
        text = printer.cell(cell.column, cell.timestamp, cell.type, cell.value)
        formatter.row([printer.column(cell.column), text])
    formatter.footer(1 if result else 0)


@command(
    "scan",
    "dml",
    [
        "scan 't1'",
        "scan 'hbase:meta', {COLUMNS => 'info:regioninfo'}",
        "scan 't1', {COLUMNS => ['c1', 'c2:n:toInt'], LIMIT => 10, STARTROW => 'abc', STOPROW => 'abd'}",
        "scan 't1', {ROWPREFIXFILTER => 'user1', FILTER => \"ValueFilter(=, 'substring:x')\"}",
        "scan 't1', {TIMERANGE => [1303668804000, 1303668904000], VERSIONS => 5}",
        "scan 't1', {REVERSED => true, LIMIT => 1}",
        "scan 't1', {RAW => true, VERSIONS => 10}",
        "scan 't1', {COLUMNS => ['c1'], FORMATTER => 'toString', MAXLENGTH => 60, ALL_METRICS => true}",
    ],
    on_table=True,
    stoppable=True,
)
def scan(session: Session, table: object, options: Any = None) -> None:
    """Print the rows of a table in the order of their keys, one line for each cell, as they arrive.

    Options: COLUMNS, LIMIT (rows), STARTROW, STOPROW (not included), ROWPREFIXFILTER, TIMESTAMP, TIMERANGE,
    VERSIONS, FILTER, REVERSED, RAW (delete markers and what they hide), BATCH (cells of a result),
    CACHE_BLOCKS, MAX_RESULT_SIZE, FORMATTER, FORMATTER_CLASS, MAXLENGTH, ALL_METRICS, METRICS => ['NAME'].
    CACHE, READ_TYPE, ISOLATION_LEVEL, CONSISTENCY and REGION_REPLICA_ID are accepted and change nothing here.
    """
    options = _options(options)
    name = session.table_name(table)
    request = scan_request(session, name, options)
    ignored_options(session, options)
    formatter, printer = session.formatter, request.printer
    rows = cells = size = 0
    started = time.perf_counter()
    printed = False
    for result in session.table(table).scan_results(request.scan):
        if not printed:
            formatter.header(["ROW", "COLUMN+CELL"])
            printed = True
        rows += 1
        cells += len(result)
        key = printer.row(result.row)
        types = result.types or ()
        for index, (column, stamp, value) in enumerate(
            zip(result.names, result.timestamp_list(), result.values, strict=True)
        ):
            size += len(result.row) + len(column) + len(value)
            kind = types[index] if types else 4
            formatter.row(
                [key, f"column={printer.column(column)}, {printer.cell(column, stamp, kind, value)}"]
            )
    if not printed:
        formatter.header(["ROW", "COLUMN+CELL"])
    formatter.footer(rows)
    if request.metrics is not None:
        _scan_metrics(
            session,
            request.metrics,
            {
                "BYTES_IN_RESULTS": size,
                "CELLS_IN_RESULTS": cells,
                "MILLIS_BETWEEN_NEXTS": round((time.perf_counter() - started) * 1000),
                "REGIONS_SCANNED": _regions_scanned(session, name, request.scan),
                "ROWS_IN_RESULTS": rows,
            },
        )


def _options(options: Any) -> dict[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise ArgumentError("Arguments should be a Hash")
    return options


def _scan_metrics(session: Session, wanted: Any, metrics: dict[str, int]) -> None:
    session.say()
    session.formatter.header(["METRIC", "VALUE"])
    for name, value in metrics.items():
        if not wanted or name in wanted:
            session.formatter.row([name, str(value)])


def _regions_scanned(session: Session, table: str, scan: Scan) -> int:
    low, high = (scan.stop, scan.start) if scan.reverse else (scan.start, scan.stop)
    return sum(
        (not high or region.start_key <= high) and (not region.end_key or region.end_key > low)
        for region in session.admin.regions(table)
    )


@command(
    "count",
    "dml",
    [
        "count 'ns1:t1'",
        "count 't1', INTERVAL => 100000",
        "count 't1', CACHE => 1000",
        "count 't1', FILTER => \"QualifierFilter (>=, 'binary:xyz')\", COLUMNS => ['c1', 'c2']",
        "count 't1', STARTROW => 'abc', STOPROW => 'xyz'",
    ],
    on_table=True,
    stoppable=True,
)
def count(session: Session, table: object, options: Any = None) -> int:
    """Count the rows of a table, or of a part of it, and say every 1000 rows how far it is.

    Options: INTERVAL (rows between two such lines), COLUMNS, FILTER, STARTROW, STOPROW, ROWPREFIXFILTER,
    TIMERANGE. CACHE is accepted and changes nothing here.
    """
    options = {"INTERVAL": options} if isinstance(options, int) else _options(options)
    interval = integer(options.get("INTERVAL") or 1000, "INTERVAL")
    # Whole rows are read in bulk; a filter, cell by cell, pays where it saves a transfer.
    chosen = options if session.local else {"FILTER": "FirstKeyOnlyFilter()", **options}
    request = scan_request(session, session.table_name(table), chosen)
    ignored_options(session, options, ["INTERVAL"])
    rows = 0
    for result in session.table(table).scan_results(request.scan):
        rows += 1
        if interval > 0 and rows % interval == 0:
            session.formatter.padded(f"Current count: {rows}, row: {to_string_binary(result.row)}")
            session.out.flush()
    session.formatter.footer(rows)
    return rows


@command("get_counter", "dml", ["get_counter 'ns1:t1', 'r1', 'c1:hits'"], on_table=True, stoppable=True)
def get_counter(session: Session, table: object, row: object, column: object, unused: object = None) -> None:
    """Print the value of a counter, a cell that incr keeps as 8 bytes."""
    result = session.table(table).get(Get(to_bytes(row), [to_bytes(column)]))
    if not result:
        session.say("No counter found at specified coordinates")
        return
    value = result.values[0]
    if len(value) < 8:
        raise ArgumentError(f"offset (0) + length (8) exceed the capacity of the array: {len(value)}")
    session.say(f"COUNTER VALUE = {struct.unpack_from('>q', value)[0]}")


@command("get_splits", "dml", ["get_splits 'ns1:t1'"], on_table=True, stoppable=True)
def get_splits(session: Session, table: object) -> list[str]:
    """Print how many regions a table has, and the keys that part them."""
    regions = session.admin.regions(session.table_name(table))
    session.say(f"Total number of splits = {len(regions)}")
    keys = [region.start_key for region in regions if region.start_key]
    for key in keys:
        session.say(to_string_binary(key))
    return [text_of(key) for key in keys]
