"""What every implementation of the client API is tested through: a ``connection`` and its ``clock``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hyperbase import Connection
from tests.support.aio_backend import aio_connection
from tests.support.cluster import Cluster
from tests.support.cluster_contract import SETTINGS, cluster_connection, empty
from tests.support.engine import Bench, Clock, memory_connection
from tests.support.served import served_connection


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The store's clock; a test may only move it ahead."""
    return Clock()


OPENERS = {"embedded": memory_connection, "server": served_connection, "asyncio": aio_connection}
CLUSTER = "cluster"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three region servers and a master, for all tests."""
    directory = tmp_path_factory.mktemp("cluster")
    with Cluster(directory, masters=1, region_servers=3, settings=SETTINGS) as found:
        yield found


@pytest.fixture(scope="module", params=[*OPENERS, CLUSTER])
def connection(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Connection]:
    """A store for a module's tests; each test makes tables of its own."""
    if request.param == CLUSTER:
        opened = cluster_connection(request.getfixturevalue("cluster"))
    else:
        opened = OPENERS[request.param](clock=clock)
    yield opened
    if request.param == CLUSTER:
        empty(opened)
    opened.close()


LOOK_INSIDE = {"store_of", "regions_of", "minor"}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that move the clock or look inside the store are not for the processes of a cluster."""
    items[:] = [item for item in items if not _is_of_one_process(item)]


def _is_of_one_process(item: pytest.Item) -> bool:
    chosen, function = getattr(item, "callspec", None), getattr(item, "function", None)
    if chosen is None or function is None or chosen.params.get("connection") != CLUSTER:
        return False
    code = function.__code__
    inside = {*code.co_names, *(value for value in chosen.params.values() if isinstance(value, str))}
    return "clock" in code.co_varnames or not LOOK_INSIDE.isdisjoint(inside)


@pytest.fixture
def bench(connection: Connection) -> Bench:
    """A fresh table with one family ``f`` of HBase's defaults."""
    return Bench(connection)
