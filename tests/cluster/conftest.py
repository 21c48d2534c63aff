"""A real ZooKeeper for the tests of the cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hyperbase.common.zookeeper.coordination import ZooKeeperCoordination
from hyperbase.common.zookeeper.session import ZooKeeperSession
from tests.support.zookeeper_server import ZooKeeperServer

TICK_S = 0.5
Join = Callable[..., ZooKeeperCoordination]


@pytest.fixture(scope="session")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperServer]:
    """One server for all; who stops or kills it starts it again."""
    with ZooKeeperServer(tmp_path_factory.mktemp("zookeeper"), tick_ms=round(TICK_S * 1000)) as server:
        yield server


@pytest.fixture
def root(request: pytest.FixtureRequest) -> str:
    """A cluster of its own for each test."""
    return f"/{request.node.name.translate({ord('['): '-', ord(']'): None})}"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def join(zookeeper: ZooKeeperServer, root: str) -> Iterator[Join]:
    """``join()``: a member of the cluster with a session of its own."""
    members: list[ZooKeeperCoordination] = []

    def new_member(
        *, quorum: str = "", timeout_s: float = 10.0, auth: str = "", tick_s: float = TICK_S
    ) -> ZooKeeperCoordination:
        session = ZooKeeperSession(quorum or zookeeper.quorum, timeout_s=timeout_s, auth=auth).start(30)
        member = ZooKeeperCoordination(session, root, writer="test:1", tick_s=tick_s)
        members.append(member)
        member.prepare()
        return member

    yield new_member
    for member in members:
        member.close()
