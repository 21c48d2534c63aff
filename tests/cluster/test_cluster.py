"""Whole clusters of real processes: what clients notice when parts of them die, stop and come back."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import hyperbase
from hyperbase import ColumnFamilyDescriptor, Connection, Get, Put, TableDescriptor
from hyperbase.common.errors import NoSuchColumnFamilyException
from tests.support.cluster import Cluster
from tests.support.waiting import wait_for

SPLITS = [b"%d" % number for number in range(1, 10)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def connection(cluster: Cluster) -> Iterator[Connection]:
    cluster.wait_until_ready()
    with cluster.connect(retry_delay_max_ms=200, keepalive_interval_s=1.0, keepalive_timeout_s=3.0) as found:
        yield found


@pytest.fixture
def table(connection: Connection, request: pytest.FixtureRequest) -> Iterator[hyperbase.Table]:
    """Ten regions, over all servers."""
    name = request.node.name.partition("[")[0]
    connection.admin.create_table(TableDescriptor(name, (ColumnFamilyDescriptor(b"f"),)), SPLITS)
    yield connection.table(name)
    connection.admin.disable_table(name)
    connection.admin.drop_table(name)


class Writer:
    """Puts rows all over a table and reads one now and then; ``written`` are those that were acknowledged."""

    def __init__(self, table: hyperbase.Table) -> None:
        self.written: list[bytes] = []
        self.error: Exception | None = None
        self._table = table
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        number = 0
        try:
            while not self._stop.is_set():
                key = b"%d-%06d" % (number % 10, number)
                self._table.put(key, {b"f:q": b"%d" % number})
                self.written.append(key)
                number += 1
                if number % 50 == 0:
                    assert self._table.row(key) == {b"f:q": b"%d" % (number - 1)}
        except Exception as error:
            self.error = error

    def goes_on(self, rows: int = 100) -> None:
        """Return when so many more rows were written."""
        goal = len(self.written) + rows
        wait_for(lambda: len(self.written) >= goal or self.error is not None, lambda: self.written[-1:], 60)
        if self.error is not None:
            raise self.error

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        if self.error is not None:
            raise self.error


@contextmanager
def writing(table: hyperbase.Table) -> Iterator[Writer]:
    """While rows are written; in the end all that were acknowledged are there, in order, once."""
    writer = Writer(table)
    writer.start()
    try:
        writer.goes_on()
        yield writer
        writer.goes_on()
    finally:
        writer.stop()
    keys = [row for row, _ in table.scan()]
    assert keys == sorted(set(keys))
    assert set(writer.written) <= set(keys)


def test_regions_are_spread_and_writes_go_everywhere(table: hyperbase.Table, connection: Connection) -> None:
    name = table.name.decode()
    assert len({server for _, server in connection.admin.region_locations(name)}) == 3
    with writing(table):
        pass


@pytest.mark.parametrize("signal", ["kill", "terminate"])
def test_a_region_server_goes(
    cluster: Cluster, table: hyperbase.Table, connection: Connection, signal: str
) -> None:
    with writing(table) as writer:
        label = cluster.server_of(connection, table.name.decode(), b"5")
        getattr(cluster, signal)(label)
        writer.goes_on()


def test_the_server_of_hbase_meta_dies(
    cluster: Cluster, table: hyperbase.Table, connection: Connection
) -> None:
    with writing(table) as writer:
        for _, name in connection.admin.region_locations("hbase:meta"):
            port = int(name.split(",")[1])
            cluster.kill(next(p.label for p in cluster.view().processes if p.address.endswith(f":{port}")))
        writer.goes_on()


def test_the_active_master_dies(cluster: Cluster, table: hyperbase.Table, connection: Connection) -> None:
    with writing(table) as writer:
        active = cluster.active_master()
        cluster.kill(active)
        writer.goes_on()
        connection.admin.flush(table.name.decode())  # by the next one
        assert cluster.active_master() != active


def test_a_stopped_region_server_is_replaced_and_comes_back(
    cluster: Cluster, table: hyperbase.Table, connection: Connection
) -> None:
    label = cluster.server_of(connection, table.name.decode(), b"5")
    with writing(table) as writer:
        before = cluster.pid(label)
        cluster.pause(label)
        writer.goes_on(500)  # all regions: those of the stopped one are elsewhere
        cluster.resume(label)
        wait_for(lambda: cluster.pid(label) not in (0, before), cluster.tell, 60)  # it has lost its lease


def test_zookeeper_is_away_for_a_while(cluster: Cluster, table: hyperbase.Table) -> None:
    with writing(table) as writer:
        cluster.zookeeper.kill()
        cluster.zookeeper.start()
        writer.goes_on()


def test_a_scan_goes_on_over_the_death_of_a_server(
    cluster: Cluster, table: hyperbase.Table, connection: Connection
) -> None:
    rows = [b"%d-%04d" % (number % 10, number) for number in range(2000)]
    with table.batch(batch_size=500) as batch:
        for row in rows:
            batch.put(row, {b"f:q": b"v" * 500})
    label = cluster.server_of(connection, table.name.decode(), b"5")
    seen = []
    for number, (row, _) in enumerate(table.scan(batch_size=10)):
        seen.append(row)
        if number == 100:
            cluster.kill(label)
    assert seen == sorted(rows)


def test_arrow_goes_to_all_servers_while_one_dies(
    cluster: Cluster, table: hyperbase.Table, connection: Connection
) -> None:
    import pyarrow as pa

    keys = [b"%d-%04d" % (number % 10, number) for number in range(5000)]
    cluster.kill(cluster.server_of(connection, table.name.decode(), b"5"))
    data = pa.table({"row": keys, "f:q": keys})
    assert table.put_arrow(data, timestamp=7) == 5000
    assert sorted(table.scan_arrow().read_all().column("row").to_pylist()) == sorted(keys)


def test_after_a_clean_stop_it_is_a_store_like_any_other(tmp_path: Path) -> None:
    with Cluster(tmp_path, masters=1, region_servers=2) as cluster:
        with cluster.connect() as connection:
            connection.create_table("t", {"f": {}})
            connection.table("t").put(b"r", {b"f:q": b"v"})
        cluster.stop()
        with hyperbase.connect(cluster.layout.data) as store:
            assert store.table("t").row(b"r") == {b"f:q": b"v"}


COUNTERS = [b"%d-counter" % number for number in range(10)]


def test_increments_of_threads_are_applied_once_while_servers_die(
    cluster: Cluster, table: hyperbase.Table, connection: Connection
) -> None:
    done: list[bytes] = []
    stop = threading.Event()

    def count() -> None:
        for row in itertools.cycle(COUNTERS):
            if stop.is_set():
                return
            table.counter_inc(row, b"f:n")
            done.append(row)

    with ThreadPoolExecutor(4) as threads:
        counting = [threads.submit(count) for _ in range(4)]
        try:
            for row in (b"5", b"1"):
                wait_for_more(done)
                cluster.kill(cluster.server_of(connection, table.name.decode(), row))
            wait_for_more(done)
        finally:
            stop.set()
        for one in counting:
            one.result(60)
    assert {row: table.counter_get(row, b"f:n") for row in COUNTERS} == Counter(done)


def test_increments_of_tasks_are_applied_once_while_servers_die(
    cluster: Cluster, table: hyperbase.Table, connection: Connection
) -> None:
    done: list[bytes] = []
    stop = threading.Event()

    async def count_all() -> None:
        async with hyperbase.aio.connect(cluster.url, retry_delay_max_ms=200) as db:
            counters = db.table(table.name)

            async def count(row: bytes) -> None:
                while not stop.is_set():
                    await counters.counter_inc(row, b"f:n")
                    done.append(row)

            await asyncio.gather(*map(count, COUNTERS * 3))

    thread = threading.Thread(target=asyncio.run, args=(count_all(),))
    thread.start()
    try:
        for row in (b"5", b"1"):
            wait_for_more(done)
            cluster.kill(cluster.server_of(connection, table.name.decode(), row))
        wait_for_more(done)
    finally:
        stop.set()
        thread.join(60)
    assert {row: table.counter_get(row, b"f:n") for row in COUNTERS} == Counter(done)


def wait_for_more(done: list[bytes], rows: int = 300) -> None:
    goal = len(done) + rows
    wait_for(lambda: len(done) >= goal, lambda: len(done), 60)


def test_a_batch_says_of_each_row_what_became_of_it(
    cluster: Cluster, table: hyperbase.Table, connection: Connection
) -> None:
    """One region's server is dead, one row is wrong; the others are written."""
    cluster.kill(cluster.server_of(connection, table.name.decode(), b"5"))
    puts = [Put(b"%d-batch" % number).add(b"f:q", b"v") for number in range(10)]
    outcomes = table.run_batch([*puts, Put(b"5-wrong").add(b"nofamily:q", b"v"), Get(b"7-batch")])
    assert outcomes[:10] == [None] * 10
    assert isinstance(outcomes[10], NoSuchColumnFamilyException)
    assert len(table.rows([put.row for put in puts])) == 10


def test_scans_see_every_row_once_while_regions_split_and_merge(
    table: hyperbase.Table, connection: Connection
) -> None:
    name = table.name.decode()
    rows = sorted(b"%d-%04d" % (number % 10, number) for number in range(3000))
    with table.batch(batch_size=500) as batch:
        for row in rows:
            batch.put(row, {b"f:q": b"v" * 100})
    stop = threading.Event()
    changes: list[str] = []

    def change() -> None:
        while not stop.is_set():
            connection.admin.split(name, b"5-1500")
            changes.append("split")
            low, high = [info for info in connection.admin.regions(name) if info.start_key[:1] == b"5"]
            connection.admin.merge_regions(low.encoded_name, high.encoded_name)
            changes.append("merge")

    with ThreadPoolExecutor(1) as threads:
        changing = threads.submit(change)
        try:
            scans = 0
            while len(changes) < 4 or scans < 5:
                assert not changing.done() or changing.result()
                assert [row for row, _ in table.scan(batch_size=50)] == rows
                assert [row for row, _ in table.scan(batch_size=50, reverse=True)] == rows[::-1]
                scans += 1
        finally:
            stop.set()
        changing.result(60)
