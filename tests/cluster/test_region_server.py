"""Region servers of a cluster: real processes, a real ZooKeeper, and a small master that commands them."""

from __future__ import annotations

import resource
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import hyperbase
from hyperbase import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.common.errors import (
    ConnectionLostException,
    HBaseIOException,
    StaleMasterException,
)
from hyperbase.common.model import Durability, Scan
from hyperbase.common.region_info import RegionInfo
from hyperbase.common.wire.command_codec import Order, ServerReport
from hyperbase.common.wire.messages import Method
from regionserver.region.check import report_store
from tests.cluster.conftest import Join
from tests.support.region_servers import CLUSTER_ID, RegionServerProcess, SmallMaster
from tests.support.service import hyperbase_command
from tests.support.waiting import wait_for
from tests.support.wire_client import WireClient
from tests.support.zookeeper_server import CutProxy, ZooKeeperServer

TABLE = TableDescriptor("t", [ColumnFamilyDescriptor("f")])
REGION = RegionInfo("t", b"", b"", 1)
SYNC = int(Durability.SYNC_WAL)
Start = Callable[..., RegionServerProcess]


@pytest.fixture
def master(join: Join, directory: Path) -> SmallMaster:
    return SmallMaster(join(), directory / "root")


@pytest.fixture
def start(zookeeper: ZooKeeperServer, root: str, directory: Path, master: SmallMaster) -> Iterator[Start]:
    """``start()``: a region server of the cluster."""
    servers: list[RegionServerProcess] = []

    def start_one(*, quorum: str = "", wait: bool = True, **more: Any) -> RegionServerProcess:
        url = f"zk://{quorum or zookeeper.quorum}{root}"
        server = RegionServerProcess(directory / "root", url, wait=wait, **more)
        servers.append(server)
        return server

    yield start_one
    for server in servers:
        server.kill()


class Writer(threading.Thread):
    """Puts rows one after the other over a connection of its own; ``acked`` are those that were answered."""

    def __init__(self, port: int, region: RegionInfo) -> None:
        super().__init__(daemon=True)
        self.acked: list[bytes] = []
        self.sent = 0
        self.error: Exception | None = None
        self._region = region
        self._client = WireClient(port)
        self._stopped = False
        self.start()

    def run(self) -> None:
        try:
            while not self._stopped:
                row = b"row%08d" % self.sent
                self.sent += 1
                put(self._client, self._region, row)
                self.acked.append(row)
        except HBaseIOException as error:
            self.error = error

    def stop(self) -> None:
        self._stopped = True
        self.join(60)
        self._client.close()


def put(client: WireClient, region: RegionInfo, *rows: bytes) -> None:
    values = tuple((row, 0, (b"v",)) for row in rows)
    ((_, kind, payload),) = client.call(
        Method.PUT_ROWS, [(region.id16, ((b"f:q",),), values, None)], None, SYNC
    )
    assert kind == 0, payload


def rows_of(url: str) -> list[bytes]:
    with hyperbase.connect(url) as connection:
        return [result.row for result in connection.table("t").scan_results(Scan())]


def test_regions_are_opened_and_served_to_ordinary_clients(master: SmallMaster, start: Start) -> None:
    one, two = start(), start()
    assert set(master.coordination.servers()) == {one.name, two.name}
    master.open_meta(one.name)
    infos = master.create(TABLE, [b"b", b"c"], [one.name, two.name])
    with hyperbase.connect(f"hyperbase://127.0.0.1:{two.port}") as connection:
        table = connection.table("t")
        with table.batch() as batch:
            for row in (b"a1", b"b1", b"c1", b"c2"):
                batch.put(row, {b"f:q": row})
        assert table.row(b"b1") == {b"f:q": b"b1"}
        assert [row for row, _ in table.scan()] == [b"a1", b"b1", b"c1", b"c2"]
        loaded = pa.table({"row": [b"a3", b"b3", b"c3"], "f:q": [b"1", b"2", b"3"]})
        assert table.put_arrow(loaded, "row") == 3
        assert table.row(b"b3") == {b"f:q": b"2"}
    report: ServerReport = master.command(one.name, "report")
    assert [held.info for held in report.regions if held.info.table == "t"] == [infos[0], infos[2]]
    assert report.metrics["regionCount"] == 2
    facts = one.health()
    assert (facts["role"], facts["name"], facts["state"]) == ("regionserver", str(one.name), "held")
    assert facts["regions"] == 3
    assert not master.fs.exists(f"oldWALs/{one.name}")


def test_what_a_killed_server_acknowledged_is_served_by_the_next(master: SmallMaster, start: Start) -> None:
    one, two = start(), start()
    master.open_meta(one.name)
    (info,) = master.create(TABLE, [], [one.name])
    writer = Writer(one.port, info)
    wait_for(lambda: len(writer.acked) > 100)
    one.kill()
    writer.stop()
    assert isinstance(writer.error, ConnectionLostException)
    log = master.recover(one.name)
    master.open_meta(two.name, (log,))
    master.assign(two.name, [info], TABLE, (log,))
    found = rows_of(f"hyperbase://127.0.0.1:{two.port}")
    assert found[: len(writer.acked)] == writer.acked
    assert len(found) - len(writer.acked) <= 1
    # It needs the log no more: the regions were flushed before they were served.
    master.fs.delete_tree(log)
    two.kill()
    three = start()
    log = master.recover(two.name)
    master.open_meta(three.name, (log,))
    master.assign(three.name, [info], TABLE, (log,))
    assert rows_of(f"hyperbase://127.0.0.1:{three.port}") == found


def test_a_server_that_wakes_up_too_late_answers_nothing_and_ends(master: SmallMaster, start: Start) -> None:
    server = start()
    (outcome,) = master.open(server.name, [REGION], TABLE)
    assert outcome == 1
    writer = Writer(server.port, REGION)
    wait_for(lambda: len(writer.acked) > 50)
    with WireClient(server.port) as other:
        server.signal(signal.SIGSTOP)
        acked = len(writer.acked)
        call_id = other.send(Method.ROW, REGION.id16, b"row00000001")
        wait_for(lambda: server.name not in master.coordination.servers())
        late = len(writer.acked)  # answers that were on their way when it stopped
        server.signal(signal.SIGCONT)
        assert server.wait() == 4
        with pytest.raises(ConnectionLostException):
            other.answer(call_id)
    writer.stop()
    assert len(writer.acked) == late <= acked + 1
    assert "ERROR hyperbase.cluster.run: ended at once, others take over" in server.log
    log = master.recover(server.name)
    heir = start()
    (opened,) = master.open(heir.name, [REGION], TABLE, (log,))
    assert isinstance(opened, int)
    with WireClient(heir.port) as client:
        for row in writer.acked:
            assert client.call(Method.ROW, REGION.id16, row)


def test_a_server_cut_off_from_zookeeper_answers_late_and_loses_nothing(
    master: SmallMaster, start: Start, zookeeper: ZooKeeperServer
) -> None:
    proxy = CutProxy(zookeeper.port)
    # The lease ends a tick before ZooKeeper lets the session expire: that is the time to look at it.
    server = start(quorum=proxy.quorum, tick_s=3, timeout_s=8)
    master.open(server.name, [REGION], TABLE)
    with WireClient(server.port) as client:
        put(client, REGION, b"before")
        proxy.cut()
        wait_for(lambda: server.health()["state"] == "suspended")
        values = ((b"meanwhile", 0, (b"v",)),)
        call_id = client.send(Method.PUT_ROWS, [(REGION.id16, ((b"f:q",),), values, None)], None, SYNC)
        client.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.receive()
        with pytest.raises(TimeoutError):  # HELLO waits too
            WireClient(server.port, wait_s=0.5)
        client.socket.settimeout(30)
        proxy.heal()
        assert client.answer(call_id)[0][1] == 0
        assert client.call(Method.ROW, REGION.id16, b"meanwhile")
    wait_for(lambda: server.health()["state"] == "held")
    proxy.close()


def test_masters_that_were_replaced_are_refused_from_the_start(
    master: SmallMaster, start: Start, join: Join
) -> None:
    server = start()
    with pytest.raises(StaleMasterException):
        master.command(server.name, "report", order=Order(master.epoch - 1, 10**6))
    master.open(server.name, [REGION], TABLE)
    old = master.epoch
    master.coordination.resign()
    new = SmallMaster(join(), master.root)
    assert new.epoch > old
    report: ServerReport = new.command(server.name, "report")
    assert report.regions[0].last_order == Order(old, 2)
    with pytest.raises(StaleMasterException):
        master.command(server.name, "close_regions", [REGION.id16], order=Order(old, 99))


def test_a_clean_end_leaves_nothing_to_replay(master: SmallMaster, start: Start) -> None:
    one, two = start(), start()
    master.open_meta(one.name)
    (info,) = master.create(TABLE, [], [one.name])
    writer = Writer(one.port, info)
    wait_for(lambda: len(writer.acked) > 50)
    one.signal(signal.SIGTERM)
    assert one.wait() == 0, one.log
    writer.stop()
    assert one.name not in master.coordination.servers()
    assert not master.fs.exists(f"WALs/{one.name}")
    assert master.fs.list(f"oldWALs/{one.name}")
    master.open_meta(two.name)
    master.assign(two.name, [info], TABLE)
    found = rows_of(f"hyperbase://127.0.0.1:{two.port}")
    assert found[: len(writer.acked)] == writer.acked
    master.command(two.name, "shut_down")
    assert two.wait() == 0
    assert not master.fs.exists(f"WALs/{two.name}")
    report = report_store(str(master.root))
    assert (report.problems, report.segment_count > 1) == ([], True)
    assert rows_of(str(master.root)) == found  # a store like any other


def test_a_stop_while_zookeeper_is_cut_off_leaves_the_log_to_others(
    master: SmallMaster, start: Start, zookeeper: ZooKeeperServer
) -> None:
    proxy = CutProxy(zookeeper.port)
    server = start(quorum=proxy.quorum, timeout_s=4)
    master.open(server.name, [REGION], TABLE)
    with WireClient(server.port) as client:
        put(client, REGION, b"a")
    proxy.cut()
    wait_for(lambda: server.health()["state"] == "suspended")
    server.signal(signal.SIGTERM)
    wait_for(lambda: server.name not in master.coordination.servers())
    proxy.heal()  # it hears that it is too late
    assert server.wait() == 4
    log = master.recover(server.name)
    heir = start()
    (opened,) = master.open(heir.name, [REGION], TABLE, (log,))
    assert opened == 2
    proxy.close()


def test_servers_end_with_their_cluster(master: SmallMaster, start: Start) -> None:
    one = start()
    master.open(one.name, [REGION], TABLE)
    master.coordination.set_cluster_down()
    assert one.wait() == 0
    assert 'stopping reason="the cluster ends"' in one.log
    waiting = start(wait=False)
    wait_for(lambda: "waiting for the cluster to start" in waiting.log)
    master.coordination.set_cluster_up("later")
    waiting.wait_until_ready()
    waiting.signal(signal.SIGTERM)
    assert waiting.wait() == 0


def test_a_server_whose_log_was_set_aside_ends(master: SmallMaster, start: Start) -> None:
    server = start()
    master.open(server.name, [REGION], TABLE)
    assert not master.fs.fence_log(f"WALs/{server.name}", f"WALs/{server.name}-splitting")
    with WireClient(server.port) as client:
        put(client, REGION, b"a")
        with pytest.raises(HBaseIOException):
            master.command(server.name, "roll_wal")
    assert server.wait() == 4
    assert "its log directory was set aside" in server.log


def test_a_server_whose_log_fails_says_nothing_and_ends(master: SmallMaster, start: Start) -> None:
    """What it was asked to write may be in its log or not: who replays that decides; no client gives up."""
    server = start()
    master.open(server.name, [REGION], TABLE)
    with WireClient(server.port) as client:
        put(client, REGION, b"a")
        _, most = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (0, most))
        with pytest.raises(ConnectionLostException):
            put(client, REGION, b"b")
    assert server.wait() == 4
    log = master.recover(server.name)
    heir = start()
    assert isinstance(master.open(heir.name, [REGION], TABLE, (log,))[0], int)
    with WireClient(heir.port) as client:
        assert client.call(Method.ROW, REGION.id16, b"a")


def test_what_keeps_a_server_from_starting_is_said_in_one_line(
    master: SmallMaster, zookeeper: ZooKeeperServer, root: str, directory: Path
) -> None:
    url = f"zk://{zookeeper.quorum}{root}"
    (directory / "empty").mkdir()
    (directory / "other").mkdir()
    (directory / "other" / "LOCK").touch()
    (directory / "other" / "hyperbase.json").write_text('{"format": 1, "cluster_id": "another"}')
    for words, reason in (
        (("--data", "root"), "a region server needs to know its cluster: --zookeeper"),
        (("--data", "nowhere", "--zookeeper", url), "nowhere is no directory"),
        (("--data", "empty", "--zookeeper", url), "is not the root of a cluster: it has no LOCK"),
        (
            ("--data", "other", "--zookeeper", url),
            f"is the root of cluster another, but ZooKeeper's is {CLUSTER_ID}",
        ),
        (("--data", "root", "--zookeeper", "zk://"), "a ZooKeeper server has no name"),
    ):
        command = ("regionserver", "--port", "0", "--info-port", "0", *words)
        done = hyperbase_command(*command, cwd=directory, HYPERBASE_SERVER_ZOOKEEPER_SESSION_TIMEOUT_S="5")
        assert done.returncode == 2, done.stderr
        assert reason in done.stderr.splitlines()[-1]
