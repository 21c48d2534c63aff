"""Arrow scans and uploads on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Any

import pyarrow as pa

from hyperbase.client.aio.driver import AsyncDriver
from hyperbase.client.aio.parts import PartStream
from hyperbase.client.arrow_layout import Column, columns_of_cells
from hyperbase.client.network.arrow_reads import ArrowPart, ArrowRequest, find_columns
from hyperbase.client.network.arrow_writes import SERVERS_AT_A_TIME, Part, messages_of, placed, rounds_of
from hyperbase.client.network.commands import Call
from hyperbase.client.network.locator import Locator
from hyperbase.client.network.regions import Place
from hyperbase.client.network.retries import Retries
from hyperbase.client.network.scan_cursor import ScanCursor, credit_to_grant, pause_after
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.model import Scan
from hyperbase.common.wire.messages import END, Method

_ARROW_SCAN, _ARROW_PUT = int(Method.ARROW_SCAN), int(Method.ARROW_PUT)


async def scan_arrow(
    driver: AsyncDriver, locator: Locator, table: str, request: ArrowRequest
) -> AsyncGenerator[pa.RecordBatch, None]:
    """The record batches of a scan."""
    await prepare(driver, locator, table, request)
    if not request.empty:
        async with aclosing(_batches(driver, locator, table, request)) as batches:
            async for batch in batches:
                yield batch


async def prepare(driver: AsyncDriver, locator: Locator, table: str, request: ArrowRequest) -> None:
    """Look that the table is there, and find the columns when they were not named."""
    await driver.run(locator.regions(table, Retries(driver.config, table)))
    if request.must_find:
        request.must_find = False
        request.found(await _find(driver, locator, table, request.scan))


async def _find(driver: AsyncDriver, locator: Locator, table: str, scan: Scan) -> set[Column]:
    if scan.limit is None:
        retries = Retries(driver.config, f"scan of {table}", limited=False)
        return await driver.run(find_columns(locator, table, scan, retries))
    found: set[Column] = set()
    async for batch in _batches(driver, locator, table, ArrowRequest(scan, "cells", {}, None)):
        found |= columns_of_cells(batch)
    return found


async def _batches(
    driver: AsyncDriver, locator: Locator, table: str, request: ArrowRequest
) -> AsyncGenerator[pa.RecordBatch, None]:
    cursor = ScanCursor(request.scan)
    retries = Retries(driver.config, f"scan of {table}")
    while not cursor.finished:
        place: Place | None = None
        try:
            place = await driver.run(locator.find(table, cursor.place, retries))
            if place is None:
                return
            async with aclosing(_region_batches(driver, cursor, request, place, retries)) as batches:
                async for batch in batches:
                    yield batch
        except HBaseIOException as error:
            locator.failed(place, error)
            await asyncio.sleep(pause_after(error, retries))


async def _region_batches(
    driver: AsyncDriver, cursor: ScanCursor, request: ArrowRequest, place: Place, retries: Retries
) -> AsyncGenerator[pa.RecordBatch, None]:
    credit = driver.config.scan_credit_chunks
    arguments = request.arguments(place.id16, cursor, credit)
    stream = await driver.open_stream(Call(place.where(), _ARROW_SCAN, arguments, None))
    part = ArrowPart()
    owed = 0
    try:
        while not cursor.finished:
            kind, payload = await stream.next_part(None)  # one part may take long: the keep-alive counts
            if kind == END:
                cursor.region_done(place, False)
                return
            batches = part.take(payload, cursor)
            owed += 1
            grant = credit_to_grant(owed, credit)
            if grant:
                stream.grant(grant)
                owed = 0
            for batch in batches:
                yield request.typed(batch)
            retries.succeeded()  # the time that the caller took is not the server's
            if cursor.region_exhausted:
                cursor.region_done(place, False)
                return
    finally:
        stream.close()


async def put_arrow(
    driver: AsyncDriver,
    locator: Locator,
    table: str,
    data: Any,
    row_key: str,
    timestamp: int | str | None,
    family: bytes | None,
) -> int:
    """Upload; see ``hyperbase.client.network.arrow_puts``. The input is read in a thread: it may wait."""
    arguments = (table, row_key, timestamp, family)
    await driver.run(locator.regions(table, Retries(driver.config, f"put_arrow into {table}")))
    stream, credit = await _open_put(driver, locator, table, arguments)
    if locator.one_process:
        return await _upload(stream, credit, data, data.schema)
    await _upload(stream, credit, (), data.schema)  # a look at the columns
    loaded = 0
    rounds = rounds_of(data, row_key, timestamp)
    while (part := await asyncio.to_thread(next, rounds, None)) is not None:
        retries = Retries(driver.config, f"put_arrow into {table}")
        while not part.done:
            trouble: HBaseIOException | None
            try:
                parts = await driver.run(placed(locator, table, part, retries))
            except HBaseIOException as error:
                trouble = error
            else:
                outcomes = await _send_all(driver, parts, arguments, data.schema)
                trouble = part.take(locator, parts, outcomes)
            if trouble is not None:
                await asyncio.sleep(retries.after(trouble))
        loaded += part.loaded
    return loaded


async def _send_all(
    driver: AsyncDriver, parts: Sequence[Part], arguments: Any, schema: pa.Schema
) -> list[int | HBaseIOException]:
    """The rows that each part had loaded, or its error."""
    room = asyncio.Semaphore(SERVERS_AT_A_TIME)

    async def send(part: Part) -> int | HBaseIOException:
        async with room:
            try:
                stream, credit = await _begin_put(driver, part.address, arguments)
                part.begun = True
                return await _upload(stream, credit, part.batches, schema)
            except HBaseIOException as error:
                return error

    return list(await asyncio.gather(*map(send, parts)))


async def _upload(
    stream: PartStream, credit: int, batches: Iterable[pa.RecordBatch], schema: pa.Schema
) -> int:
    """Send everything; returns how many rows were loaded."""
    try:
        messages = messages_of(batches, schema)
        while (message := await asyncio.to_thread(next, messages, None)) is not None:
            while not credit:
                kind, payload = await stream.next_part(None)
                if kind == END:
                    return int(payload)
                credit += payload
            stream.send_data(message)
            credit -= 1
        stream.send_data(None)
        while True:
            kind, payload = await stream.next_part(None)
            if kind == END:
                return int(payload)
    finally:
        stream.close()


async def _open_put(
    driver: AsyncDriver, locator: Locator, table: str, arguments: tuple[Any, ...]
) -> tuple[PartStream, int]:
    retries = Retries(driver.config, f"put_arrow into {table}")
    while True:
        place: Place | None = None
        try:
            place = await driver.run(locator.find(table, lambda regions: regions.places[0], retries))
            assert place is not None
            return await _begin_put(driver, place.where(), arguments)
        except HBaseIOException as error:
            locator.failed(place, error)
            await asyncio.sleep(retries.after(error))


async def _begin_put(driver: AsyncDriver, address: str, arguments: tuple[Any, ...]) -> tuple[PartStream, int]:
    stream = await driver.open_stream(Call(address, _ARROW_PUT, arguments, None))
    try:
        _, credit = await stream.next_part(driver.config.operation_timeout_s)
        return stream, int(credit)
    except BaseException:
        stream.close()
        raise
