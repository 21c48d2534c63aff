"""Hyperbase for asyncio programs: the same names, as coroutines and asynchronous iterators.

    async with hyperbase.aio.connect("hyperbase://127.0.0.1:16000") as db:
        table = db.table("t")
        await table.put(b"r1", {b"cf:a": b"1"})
        async for row, data in table.scan():
            print(row, data)

Any number of calls share one connection to each server. Works on asyncio's own event loop and on uvloop.
"""

from __future__ import annotations

from typing import Any

from hyperbase.client.aio.admin import Admin
from hyperbase.client.aio.batch import Batch
from hyperbase.client.aio.connection import Connecting, Connection
from hyperbase.client.aio.table import Table
from hyperbase.client.network.address import parse_source
from hyperbase.client.network.opening import client_config

__all__ = ["Admin", "Batch", "Connection", "Table", "connect"]


def connect(
    url: str,
    *,
    table_prefix: bytes | str | None = None,
    table_prefix_separator: bytes | str = b"_",
    **settings: Any,
) -> Connecting:
    """Connect to servers: ``await connect(…)``, or ``async with connect(…) as connection``.

    Args:
        url: ``hyperbase://host:port``, or several servers with commas between them; a cluster's
            ZooKeeper, ``zk://host:port,host:port/hyperbase``.
        table_prefix, table_prefix_separator: see ``hyperbase.Connection``.
        settings: fields of ``hyperbase.common.config.ClientConfig``.

    Raises:
        IllegalArgumentException: not such a URL, an unknown setting, or one out of range.
        ConnectException: no server, or no ZooKeeper, is there.
        PleaseHoldException: there is no cluster at ZooKeeper's root, or it does not serve yet.
    """
    connection = Connection(parse_source(url), client_config(settings), table_prefix, table_prefix_separator)
    return Connecting(connection)
