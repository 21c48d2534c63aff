"""Connections that are cut at any byte: nothing acknowledged is lost, nothing is applied twice.

The table splits and its regions merge meanwhile, so retries meet other regions than the first attempts did.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import hyperbase
from hyperbase import Append, Connection, Increment, Put
from hyperbase.common.errors import HBaseIOException
from tests.support.aio_backend import AioClient, connect_aio
from tests.support.bad_network import CuttingProxy
from tests.support.served import served_connection

CLIENTS: dict[str, Callable[..., Connection]] = {"blocking": hyperbase.connect, "asyncio": connect_aio}
SETTINGS: dict[str, Any] = {
    "operation_timeout_s": 60.0,
    "retry_delay_ms": 1,
    "retry_delay_max_ms": 20,
    "max_retries": 1000,
}
ROUNDS = 60
THREADS = 4


@pytest.fixture
def near() -> Iterator[Connection]:
    """A connection that nothing cuts."""
    with served_connection() as connection:
        connection.create_table("t", {"f": {"max_versions": 1000}}, splits=[b"m"])
        yield connection


@pytest.fixture(params=[(client, seed) for client in CLIENTS for seed in (1, 2)], ids=str)
def proxied(request: pytest.FixtureRequest, near: Connection) -> Iterator[tuple[Connection, CuttingProxy]]:
    """The same server's, through a proxy that cuts."""
    client, seed = request.param
    port = int(near._backend.server.url.rpartition(":")[2])  # type: ignore[union-attr]
    proxy = CuttingProxy(port, seed, 0.05)
    proxy.calm = True
    with CLIENTS[client](f"hyperbase://127.0.0.1:{proxy.port}", **SETTINGS) as connection:
        # hbase:meta names the server's own port: lead the client to the proxy instead.
        route(connection, port, proxy.port)
        proxy.calm = False
        yield connection, proxy
        proxy.calm = True
    proxy.close()


def route(connection: Connection, port: int, through: int) -> None:
    """Every connection to the server's port goes through another one."""
    backend: Any = connection._backend
    driver = backend.connection.driver if isinstance(backend, AioClient) else backend.driver
    name = "pool" if hasattr(driver, "pool") else "link"
    real = getattr(driver, name)
    setattr(driver, name, lambda address: real(address.replace(f":{port}", f":{through}")))
    if name == "link":
        ready = driver.ready_link
        driver.ready_link = lambda address: ready(address.replace(f":{port}", f":{through}"))


def change_regions(near: Connection, end: threading.Event) -> None:
    """Split the table and merge its regions, again and again."""
    chance = random.Random(7)
    while not end.wait(0.02):
        try:
            regions = near.admin.regions("t")
            if len(regions) > 3:
                first = chance.randrange(len(regions) - 1)
                near.admin.merge_regions(regions[first], regions[first + 1])
            else:
                near.admin.split("t", b"%c" % chance.randrange(98, 122))
        except HBaseIOException:
            pass  # a key at a bound, or a region that still has references


def work(table: hyperbase.Table, number: int) -> None:
    """All kinds of mutations, each of which would show if it were applied twice, or not at all."""
    chance = random.Random(number)
    letters = b"abcdefghijklmnopqrstuvwxyz"
    for step in range(ROUNDS):
        table.counter_inc(b"hit", b"f:n")
        table.append(Append(b"log%d" % number, {b"f:log": b"%02d," % step}))
        table.put(b"put%d" % number, {b"f:q": b"%d" % step})
        with table.batch() as batch:
            for letter in letters:
                batch.put(b"%c-%d" % (letter, number), {b"f:q": b"%d" % step})
        rows = [b"%c-count" % chance.choice(letters) for _ in range(5)]
        for outcome in table.run_batch([Increment(row, {b"f:n": 1}) for row in rows]):
            assert not isinstance(outcome, Exception), outcome


def test_every_mutation_is_applied_once(near: Connection, proxied: tuple[Connection, CuttingProxy]) -> None:
    connection, proxy = proxied
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(connection.table("t"), number)
        except BaseException as error:
            failures.append(error)

    end = threading.Event()
    changer = threading.Thread(target=change_regions, args=(near, end))
    changer.start()
    workers = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(240)
    end.set()
    changer.join(60)
    assert not failures
    assert proxy.cuts > 50
    table = near.table("t")
    assert table.counter_get(b"hit", b"f:n") == THREADS * ROUNDS
    counts = [table.counter_get(row, b"f:n") for row, _ in list(table.scan()) if row.endswith(b"-count")]
    assert sum(counts) == THREADS * ROUNDS * 5
    for number in range(THREADS):
        log = table.row(b"log%d" % number)[b"f:log"]
        assert log == b"".join(b"%02d," % step for step in range(ROUNDS))
        history = table.cells(b"put%d" % number, b"f:q")
        assert history == [b"%d" % step for step in reversed(range(ROUNDS))]  # no older one came back
        for letter in b"abcxyz":
            history = table.cells(b"%c-%d" % (letter, number), b"f:q")
            assert history == [b"%d" % step for step in reversed(range(ROUNDS))]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("batch", [None, 2])
def test_scans_show_every_row_once(
    near: Connection, proxied: tuple[Connection, CuttingProxy], reverse: bool, batch: int | None
) -> None:
    connection, proxy = proxied
    table = near.table("t")
    with table.batch() as writes:
        for number in range(3000):
            row = b"%c%05d" % (97 + number % 26, number)
            writes.put(row, {b"f:%d" % column: b"v" * 50 for column in range(5)})
    end = threading.Event()
    changer = threading.Thread(target=change_regions, args=(near, end))
    changer.start()
    try:
        expected = sorted((row for row, _ in table.scan()), reverse=reverse)
        far = connection.table("t")
        for _ in range(8):
            found: dict[bytes, int] = {}
            for row, data in far.scan(reverse=reverse, scan_batching=batch):
                found[row] = found.get(row, 0) + len(data)
            assert list(found) == expected
            assert set(found.values()) == {5}
            rows = far.scan_arrow(columns=[b"f:1"], reverse=reverse).read_all()["row"].to_pylist()
            assert rows == expected
    finally:
        end.set()
        changer.join(60)
    assert proxy.cuts


def test_puts_of_puts_objects_too(near: Connection, proxied: tuple[Connection, CuttingProxy]) -> None:
    table = proxied[0].table("t")
    with hyperbase.BufferedMutator(table, write_buffer_bytes=2000) as mutator:
        for number in range(500):
            mutator.mutate(Put(b"%c%03d" % (97 + number % 26, number)).add(b"f:q", b"%d" % number))
    assert len(list(near.table("t").scan())) == 500
