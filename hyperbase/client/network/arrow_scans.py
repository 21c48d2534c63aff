"""Arrow scans over blocking sockets."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from hyperbase.client.arrow_layout import Column, columns_of_cells
from hyperbase.client.network.arrow_reads import ArrowPart, ArrowRequest, find_columns
from hyperbase.client.network.commands import Call
from hyperbase.client.network.driver import BlockingDriver
from hyperbase.client.network.locator import Locator
from hyperbase.client.network.regions import Place
from hyperbase.client.network.retries import Retries
from hyperbase.client.network.scan_cursor import ScanCursor, credit_to_grant, pause_after
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.model import Scan
from hyperbase.common.wire.messages import END, Method

_ARROW_SCAN = int(Method.ARROW_SCAN)


def scan_arrow(
    driver: BlockingDriver,
    locator: Locator,
    table: str,
    scan: Scan,
    layout: str,
    types: Mapping[bytes, str],
    columns: Sequence[bytes] | None,
) -> pa.RecordBatchReader:
    """See ``Table.scan_arrow``."""
    driver.run(locator.regions(table, Retries(driver.config, table)))
    request = ArrowRequest(scan, layout, types, columns)
    if request.must_find:
        request.found(_find(driver, locator, table, request.scan))
    batches = iter(()) if request.empty else _batches(driver, locator, table, request)
    return pa.RecordBatchReader.from_batches(request.schema, batches)


def _find(driver: BlockingDriver, locator: Locator, table: str, scan: Scan) -> set[Column]:
    """The columns that a scan shows: one more pass over its range."""
    if scan.limit is None:
        retries = Retries(driver.config, f"scan of {table}", limited=False)
        return driver.run(find_columns(locator, table, scan, retries))
    found: set[Column] = set()
    for batch in _batches(driver, locator, table, ArrowRequest(scan, "cells", {}, None)):
        found |= columns_of_cells(batch)
    return found


def _batches(
    driver: BlockingDriver, locator: Locator, table: str, request: ArrowRequest
) -> Iterator[pa.RecordBatch]:
    cursor = ScanCursor(request.scan)
    retries = Retries(driver.config, f"scan of {table}")
    while not cursor.finished:
        place: Place | None = None
        try:
            place = driver.run(locator.find(table, cursor.place, retries))
            if place is None:
                return
            yield from _region_batches(driver, cursor, request, place, retries)
        except HBaseIOException as error:
            locator.failed(place, error)
            time.sleep(pause_after(error, retries))


def _region_batches(
    driver: BlockingDriver, cursor: ScanCursor, request: ArrowRequest, place: Place, retries: Retries
) -> Iterator[pa.RecordBatch]:
    credit = driver.config.scan_credit_chunks
    arguments = request.arguments(place.id16, cursor, credit)
    stream = driver.open_stream(Call(place.where(), _ARROW_SCAN, arguments, retries.deadline))
    part = ArrowPart()
    owed = 0
    try:
        while not cursor.finished:
            kind, payload = stream.next_part(None)  # one part may take long: the keep-alive counts
            if kind == END:
                cursor.region_done(place, False)
                return
            batches = part.take(payload, cursor)
            owed += 1
            grant = credit_to_grant(owed, credit)
            if grant:
                stream.grant(grant)
                owed = 0
            yield from map(request.typed, batches)
            retries.succeeded()  # the time that the caller took is not the server's
            if cursor.region_exhausted:
                cursor.region_done(place, False)
                return
    finally:
        stream.close()
