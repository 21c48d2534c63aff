"""Arrow uploads over blocking sockets; ``arrow_writes`` says what goes where.

To a single process: until the server says that it takes data nothing has been read from the input, and a
failure is tried again. After that it is the caller's: what was loaded stays, and only the caller can give the
data once more.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from hyperbase.client.network.arrow_writes import SERVERS_AT_A_TIME, Part, messages_of, placed, rounds_of
from hyperbase.client.network.commands import Call
from hyperbase.client.network.driver import BlockingDriver, Stream
from hyperbase.client.network.locator import Locator
from hyperbase.client.network.regions import Place
from hyperbase.client.network.retries import Retries
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.wire.messages import END, Method

_ARROW_PUT = int(Method.ARROW_PUT)


def put_arrow(
    driver: BlockingDriver,
    locator: Locator,
    table: str,
    data: Any,
    row_key: str,
    timestamp: int | str | None,
    family: bytes | None,
) -> int:
    """See ``Table.put_arrow``."""
    arguments = (table, row_key, timestamp, family)
    driver.run(locator.regions(table, Retries(driver.config, f"put_arrow into {table}")))
    if locator.one_process:
        stream, credit = _open(driver, locator, table, arguments)
        return _upload(stream, credit, data, data.schema)
    # Without rows: a server says what is wrong with the columns before any row is loaded.
    _upload(*_open(driver, locator, table, arguments), (), data.schema)
    loaded = 0
    for part in rounds_of(data, row_key, timestamp):
        retries = Retries(driver.config, f"put_arrow into {table}")
        while not part.done:
            trouble: HBaseIOException | None
            try:
                parts = driver.run(placed(locator, table, part, retries))
            except HBaseIOException as error:
                trouble = error
            else:
                outcomes = _send_all(driver, parts, arguments, data.schema, retries)
                trouble = part.take(locator, parts, outcomes)
            if trouble is not None:
                time.sleep(retries.after(trouble))
        loaded += part.loaded
    return loaded


def _send_all(
    driver: BlockingDriver, parts: Sequence[Part], arguments: Any, schema: pa.Schema, retries: Retries
) -> list[int | HBaseIOException]:
    """The rows that each part had loaded, or its error."""

    def send(part: Part) -> int | HBaseIOException:
        try:
            stream, credit = _begin(driver, part.address, arguments, retries.deadline)
            part.begun = True
            return _upload(stream, credit, part.batches, schema)
        except HBaseIOException as error:
            return error

    if len(parts) == 1:
        return [send(parts[0])]
    with ThreadPoolExecutor(min(len(parts), SERVERS_AT_A_TIME), "hyperbase-put-arrow") as threads:
        return list(threads.map(send, parts))


def _upload(stream: Stream, credit: int, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> int:
    """Send everything; returns how many rows were loaded."""
    try:
        for message in messages_of(batches, schema):
            while not credit:
                kind, payload = stream.next_part(None)
                if kind == END:
                    return int(payload)
                credit += payload
            stream.send_data(message)
            credit -= 1
        stream.send_data(None)
        while True:
            kind, payload = stream.next_part(None)
            if kind == END:
                return int(payload)
    finally:
        stream.close()


def _open(
    driver: BlockingDriver, locator: Locator, table: str, arguments: tuple[Any, ...]
) -> tuple[Stream, int]:
    """The call at the server of the first region, and how many messages may be sent."""
    retries = Retries(driver.config, f"put_arrow into {table}")
    while True:
        place: Place | None = None
        try:
            place = driver.run(locator.find(table, lambda regions: regions.places[0], retries))
            assert place is not None
            return _begin(driver, place.where(), arguments, retries.deadline)
        except HBaseIOException as error:
            locator.failed(place, error)
            time.sleep(retries.after(error))


def _begin(
    driver: BlockingDriver, address: str, arguments: tuple[Any, ...], deadline: float | None
) -> tuple[Stream, int]:
    stream = driver.open_stream(Call(address, _ARROW_PUT, arguments, deadline))
    try:
        _, credit = stream.next_part(deadline)
        return stream, int(credit)
    except BaseException:
        stream.close()
        raise
