"""The asyncio client has every name of the blocking one, as coroutines or asynchronous iterators."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

import hyperbase
from hyperbase import aio
from hyperbase.common.errors import StoreClosedException
from tests.support.fake_server import FakeServer

PAIRS = [
    (hyperbase.Table, aio.Table),
    (hyperbase.Batch, aio.Batch),
    (hyperbase.Admin, aio.Admin),
    (hyperbase.Connection, aio.Connection),
]
PLAIN = {"table", "admin", "is_open", "batch"}  # ask no server
RETURNS_A_READER = {"scan_arrow"}


def public(owner: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(owner) if not name.startswith("_")}


@pytest.mark.parametrize(("blocking", "waiting"), PAIRS, ids=lambda owner: owner.__name__)
def test_the_names_are_the_same(blocking: type, waiting: type) -> None:
    assert public(blocking) - public(waiting) <= {"table_class"}


@pytest.mark.parametrize(("blocking", "waiting"), PAIRS, ids=lambda owner: owner.__name__)
def test_arguments_are_the_same(blocking: Any, waiting: Any) -> None:
    for name in public(blocking) & public(waiting):
        ours, theirs = getattr(waiting, name), getattr(blocking, name)
        if not callable(theirs):
            continue
        assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters), name
        if name not in PLAIN:
            assert inspect.iscoroutinefunction(ours) or inspect.isasyncgenfunction(ours), name


def test_a_connection_is_closed_and_opened_again() -> None:
    async def main(server: FakeServer) -> None:
        server.answer = lambda request: None
        connection = await aio.connect(server.url)
        table = connection.table("t")
        assert connection.is_open()
        assert await table.row(b"r") == {}
        await connection.close()
        assert not connection.is_open()
        with pytest.raises(StoreClosedException):
            await table.row(b"r")
        await connection.open()
        assert await table.row(b"r") == {}
        await connection.close()

    with FakeServer() as server:
        asyncio.run(main(server))
