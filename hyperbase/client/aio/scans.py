"""Scans on an event loop: one stream at a time, read with credit, reopened where it broke off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from hyperbase.client.aio.driver import AsyncDriver
from hyperbase.client.network.commands import Call
from hyperbase.client.network.locator import Locator
from hyperbase.client.network.regions import Place
from hyperbase.client.network.retries import Retries
from hyperbase.client.network.scan_cursor import ScanCursor, credit_to_grant, pause_after
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.model import Result, Scan
from hyperbase.common.wire.messages import END, Method

_SCAN = int(Method.SCAN)


async def scan_chunks(
    driver: AsyncDriver, locator: Locator, table: str, scan: Scan
) -> AsyncGenerator[list[Result], None]:
    """The Results of a scan in chunks. Closing the generator frees the scanner."""
    cursor = ScanCursor(scan)
    retries = Retries(driver.config, f"scan of {table}")
    while not cursor.finished:
        place: Place | None = None
        try:
            place = await driver.run(locator.find(table, cursor.place, retries))
            if place is None:
                return
            async with aclosing(_region_chunks(driver, cursor, place, retries)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except HBaseIOException as error:
            locator.failed(place, error)
            await asyncio.sleep(pause_after(error, retries))


async def _region_chunks(
    driver: AsyncDriver, cursor: ScanCursor, place: Place, retries: Retries
) -> AsyncGenerator[list[Result], None]:
    """What one region has."""
    credit = driver.config.scan_credit_chunks
    arguments = (place.id16, cursor.request(), credit)
    stream = await driver.open_stream(Call(place.where(), _SCAN, arguments, None))
    try:
        owed = 0
        while True:
            kind, payload = await stream.next_part(driver.config.operation_timeout_s)
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
