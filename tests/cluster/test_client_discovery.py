"""Clients that are given a cluster's ZooKeeper: what they find, when they ask again, what is said if not."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import hyperbase
import hyperbase.happybase as happybase
from hyperbase import Connection
from hyperbase.common.errors import (
    ConnectException,
    DoNotRetryIOException,
    IllegalArgumentException,
    PleaseHoldException,
    RetriesExhaustedException,
)
from hyperbase.common.server_name import ServerName
from hyperbase.common.wire.messages import Method
from hyperbase.common.zookeeper.coordination import ZooKeeperCoordination
from tests.cluster.conftest import Join
from tests.support.aio_backend import connect_aio
from tests.support.fake_server import FakeServer, Request, Silence, registry
from tests.support.service import environment
from tests.support.zookeeper_server import ZooKeeperServer, free_port

CLIENTS = {"blocking": hyperbase.connect, "asyncio": connect_aio}
QUICK: dict[str, Any] = {
    "operation_timeout_s": 10.0,
    "retry_delay_ms": 5,
    "retry_delay_max_ms": 100,
    "connect_timeout_s": 1.5,
}
CELL = {b"f:q": b"v"}
Connect = Callable[..., Connection]


@pytest.fixture(params=list(CLIENTS))
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Connects either client; what it opened is closed at the end."""
    with ExitStack() as opened:
        yield lambda url, **settings: opened.enter_context(
            CLIENTS[request.param](url, **{**QUICK, **settings})
        )


@pytest.fixture
def servers() -> Iterator[list[FakeServer]]:
    """Servers of a cluster; what is appended is closed too."""
    found = [FakeServer(), FakeServer()]
    yield found
    for server in found:
        server.close()


def name(server: FakeServer) -> ServerName:
    host, _, port = server.address.partition(":")
    return ServerName(host, int(port), 1)


def answer(request: Request) -> Any:
    if request.method == Method.ROW:
        return ((b"f:q",), (b"v",), 1)
    return ["t"] if request.method == Method.ADMIN else None


class Cluster:
    """What processes of a cluster would write to ZooKeeper."""

    def __init__(self, join: Join, servers: list[FakeServer], cluster_id: str = "c") -> None:
        self.join = join
        self.members: list[ZooKeeperCoordination] = []
        self.first = join()
        self.first.publish_cluster_id(cluster_id)
        self.start(*servers)

    def start(self, *servers: FakeServer) -> None:
        """They are alive; the first one is the master, the last one has hbase:meta."""
        addresses = [server.address for server in servers]
        for server in servers:
            server.answer = answer
            server.registry = registry(addresses[0], addresses[-1], addresses)
            self.members.append(self.join())
            self.members[-1].register_server(name(server))
        self.members.append(self.join())
        assert self.members[-1].become_master(name(servers[0]))
        self.first.set_meta_location(name(servers[-1]))

    def end(self) -> None:
        """All are gone, cleanly."""
        for member in self.members:
            member.close()
        self.members.clear()


@pytest.fixture
def cluster(join: Join, servers: list[FakeServer]) -> Cluster:
    return Cluster(join, servers)


@pytest.fixture
def url(zookeeper: ZooKeeperServer, root: str) -> str:
    return f"zk://{zookeeper.quorum}{root}"


def test_zookeeper_says_where_everything_is(
    cluster: Cluster, servers: list[FakeServer], url: str, connect: Connect
) -> None:
    connection = connect(url)
    assert connection.table("t").row(b"r") == CELL
    assert connection.admin.list_tables() == ["t"]
    assert len(servers[1].of(Method.ROW)) == len(servers[0].of(Method.ADMIN)) == 1
    assert not [server.of(Method.REGISTRY) for server in servers if server.of(Method.REGISTRY)]


def test_a_scheme_in_capitals(cluster: Cluster, url: str, connect: Connect) -> None:
    assert connect(url.replace("zk", "ZK", 1)).table("t").row(b"r") == CELL


def test_several_servers_of_an_ensemble_are_tried(cluster: Cluster, url: str, connect: Connect) -> None:
    both = url.replace("zk://", f"zk://127.0.0.1:{free_port()},")
    assert connect(both).table("t").row(b"r") == CELL


def test_happybase_programs_and_the_shell_take_the_url(cluster: Cluster, url: str, tmp_path: Path) -> None:
    with happybase.Connection(store=url) as connection:
        assert connection.tables() == [b"t"]
    done = subprocess.run(
        [sys.executable, "-m", "hyperbase.cli", "shell", url, "-e", "list"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "t" in done.stdout.split()


def test_zookeeper_is_not_needed_any_more(
    cluster: Cluster, zookeeper: ZooKeeperServer, servers: list[FakeServer], url: str, connect: Connect
) -> None:
    connection = connect(url)
    table = connection.table("t")
    assert table.row(b"r") == CELL
    zookeeper.kill()
    try:
        servers[0].registry = registry(*[servers[0].address] * 2, [servers[0].address])
        servers[1].close()  # its regions, and hbase:meta, go to the other one
        assert table.row(b"r") == CELL
        assert connection.admin.list_tables() == ["t"]
        assert servers[0].of(Method.REGISTRY)
    finally:
        zookeeper.start()


def test_a_cluster_that_started_again_on_other_ports(
    cluster: Cluster, servers: list[FakeServer], url: str, connect: Connect
) -> None:
    connection = connect(url)
    table = connection.table("t")
    assert table.row(b"r") == CELL
    cluster.end()
    for server in servers:
        server.close()
    servers += [FakeServer(), FakeServer()]
    cluster.start(*servers[2:])
    assert table.row(b"r") == CELL
    assert connection.admin.list_tables() == ["t"]


def test_servers_that_do_not_answer_are_passed_over(
    cluster: Cluster, servers: list[FakeServer], url: str, connect: Connect
) -> None:
    stopped = FakeServer(hello=Silence)
    servers.append(stopped)
    cluster.members[0].register_server(name(stopped))
    began = time.monotonic()
    assert connect(url).table("t").row(b"r") == CELL
    assert time.monotonic() - began < 2 * QUICK["connect_timeout_s"]


# -- what is said when there is nothing -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("zk://", "has no name"),
        ("zk://h:x/hyperbase", "not a port"),
        ("zk://h:1,h:1", "stands twice"),
        ("zk://h//a", "not a znode's path"),
    ],
)
def test_a_wrong_quorum_string(connect: Connect, wrong: str, message: str) -> None:
    with pytest.raises(IllegalArgumentException, match=message):
        connect(wrong)


def test_no_zookeeper(connect: Connect) -> None:
    began = time.monotonic()
    with pytest.raises(ConnectException, match=r"no ZooKeeper at 127.*refused.*is it running"):
        connect(f"zk://127.0.0.1:{free_port()},127.0.0.1:{free_port()}")
    assert time.monotonic() - began < 1.5
    with pytest.raises(ConnectException, match=r"no ZooKeeper at nowhere\.invalid"):
        connect("zk://nowhere.invalid")


def test_something_else_at_zookeepers_port(servers: list[FakeServer], connect: Connect) -> None:
    began = time.monotonic()
    with pytest.raises(ConnectException, match=r"no answer within 1.5 s"):
        connect(f"zk://{servers[0].address}")
    assert time.monotonic() - began < 3


def test_no_cluster_at_the_root(url: str, connect: Connect) -> None:
    with pytest.raises(PleaseHoldException, match=r"no cluster at /test_no_cluster.* of ZooKeeper 127"):
        connect(url)


def test_a_cluster_without_servers(join: Join, url: str, connect: Connect) -> None:
    join().publish_cluster_id("c")
    with pytest.raises(ConnectException, match=r"no region server of the cluster at zk://.* it has none"):
        connect(url)


def test_a_cluster_whose_servers_are_dead(join: Join, url: str, connect: Connect) -> None:
    member = join()
    member.publish_cluster_id("c")
    member.register_server(ServerName("127.0.0.1", free_port(), 1))
    with pytest.raises(ConnectException, match=r"no region server .* answers: .*refused"):
        connect(url)


def test_a_cluster_without_meta(cluster: Cluster, url: str, connect: Connect) -> None:
    cluster.first.set_meta_location(None)
    with pytest.raises(PleaseHoldException, match=r"does not serve hbase:meta at the moment: is a master"):
        connect(url)


def test_a_root_of_something_else(join: Join, url: str, root: str, connect: Connect) -> None:
    member = join()
    member.session.create(f"{root}/hbaseid", b"something")
    with pytest.raises(DoNotRetryIOException, match="no cluster of Hyperbase"):
        connect(url)


def test_a_cluster_that_is_about_to_start_is_waited_for(
    join: Join, servers: list[FakeServer], url: str, connect: Connect
) -> None:
    cluster = Cluster(join, servers)
    cluster.first.set_meta_location(None)
    pinged = servers[0]
    pinged.answers_pings = False

    def come_up(request: Request) -> Any:
        cluster.first.set_meta_location(name(servers[-1]))
        return answer(request)

    pinged.answer = come_up
    servers[1].answers_pings = False
    servers[1].answer = come_up
    assert connect(url).table("t").row(b"r") == CELL


def test_everything_away_in_the_middle(
    cluster: Cluster, servers: list[FakeServer], url: str, connect: Connect
) -> None:
    table = connect(url, operation_timeout_s=1.0).table("t")
    assert table.row(b"r") == CELL
    for server in servers:
        server.close()
    began = time.monotonic()
    with pytest.raises(RetriesExhaustedException, match="operation_timeout_s is 1"):
        table.row(b"r")
    assert time.monotonic() - began < 4
