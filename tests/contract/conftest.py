"""What every implementation of the client API is tested through: a ``connection`` and its ``clock``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hyperbase import Connection
from tests.support.aio_backend import aio_connection
from tests.support.engine import Bench, Clock, memory_connection
from tests.support.served import served_connection


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The store's clock; a test may only move it ahead."""
    return Clock()


OPENERS = {"embedded": memory_connection, "server": served_connection, "asyncio": aio_connection}


@pytest.fixture(scope="module", params=list(OPENERS))
def connection(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Connection]:
    """A store for a module's tests; each test makes tables of its own."""
    opened = OPENERS[request.param](clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def bench(connection: Connection) -> Bench:
    """A fresh table with one family ``f`` of HBase's defaults."""
    return Bench(connection)
