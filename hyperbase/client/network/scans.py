"""Scans over blocking sockets: one stream at a time, read with credit, reopened where it broke off."""

from __future__ import annotations

import time
from collections.abc import Iterator

from hyperbase.client.network.commands import Call
from hyperbase.client.network.driver import BlockingDriver
from hyperbase.client.network.locator import Locator
from hyperbase.client.network.regions import Place
from hyperbase.client.network.retries import Retries
from hyperbase.client.network.scan_cursor import ScanCursor, credit_to_grant, pause_after
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.model import Result, Scan
from hyperbase.common.wire.messages import END, Method

_SCAN = int(Method.SCAN)


def scan_chunks(driver: BlockingDriver, locator: Locator, table: str, scan: Scan) -> Iterator[list[Result]]:
    """The Results of a scan in chunks. A generator: closing it frees the scanner."""
    cursor = ScanCursor(scan)
    retries = Retries(driver.config, f"scan of {table}")
    while not cursor.finished:
        place: Place | None = None
        try:
            place = driver.run(locator.find(table, cursor.place, retries))
            if place is None:
                return
            yield from _region_chunks(driver, cursor, place, retries)
        except HBaseIOException as error:
            locator.failed(place, error)
            time.sleep(pause_after(error, retries))


def _region_chunks(
    driver: BlockingDriver, cursor: ScanCursor, place: Place, retries: Retries
) -> Iterator[list[Result]]:
    """What one region has."""
    credit = driver.config.scan_credit_chunks
    timeout_s = driver.config.operation_timeout_s
    arguments = (place.id16, cursor.request(), credit)
    stream = driver.open_stream(Call(place.where(), _SCAN, arguments, retries.deadline))
    try:
        owed = 0
        while True:
            kind, payload = stream.next_part(time.monotonic() + timeout_s)
            chunk, stopped = payload if kind == END else (payload, False)
            results = [] if chunk is None else cursor.take(chunk)
            if kind == END:
                cursor.region_done(place, bool(stopped))
            else:
                owed += 1
                grant = credit_to_grant(owed, credit)
                if grant:
                    stream.grant(grant)
                    owed = 0
            if results:
                yield results
            retries.succeeded()  # the time that the caller took is not the server's
            if kind == END or cursor.finished:
                return
    finally:
        stream.close()
