"""Arrow uploads over blocking sockets.

Until the server says that it takes data nothing has been read from the input, and a failure is tried again.
After that it is the caller's: what was loaded stays, and only the caller can give the data once more.
"""

from __future__ import annotations

import time
from typing import Any

from hyperbase.client.network.arrow_writes import messages_of
from hyperbase.client.network.commands import Call
from hyperbase.client.network.driver import BlockingDriver, Stream
from hyperbase.client.network.locator import Locator, Regions
from hyperbase.client.network.retries import Retries, may_have_moved
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
    stream, credit = _open(driver, locator, table, (table, row_key, timestamp, family))
    try:
        for message in messages_of(data, data.schema):
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
    """The call, and how many messages may be sent."""
    retries = Retries(driver.config, f"put_arrow into {table}")
    while True:
        regions: Regions | None = None
        stream: Stream | None = None
        try:
            regions = driver.run(locator.regions(table, retries))
            address = regions.places[0].where()
            stream = driver.open_stream(Call(address, _ARROW_PUT, arguments, retries.deadline))
            _, credit = stream.next_part(retries.deadline)
            return stream, int(credit)
        except HBaseIOException as error:
            if stream is not None:
                stream.close()
            pause = retries.after(error)
            if may_have_moved(error):
                locator.forget(table, regions)
            time.sleep(pause)
