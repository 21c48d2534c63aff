"""REGISTRY of a region server: what ZooKeeper says, from memory, and nothing waits for it."""

from __future__ import annotations

from functools import partial

import pytest

from hyperbase.cluster.registry import ClusterRegistry
from hyperbase.common.coordination import registry_answer
from hyperbase.common.errors import PleaseHoldException
from hyperbase.common.region_info import RegionState
from hyperbase.common.server_name import ServerName
from tests.cluster.conftest import Join
from tests.support.waiting import wait_for
from tests.support.zookeeper_server import CutProxy, ZooKeeperServer

ONE, TWO = ServerName("a", 16020, 1), ServerName("b", 16020, 2)
MASTER = ServerName("m", 16000, 3)


def test_it_follows_the_cluster(join: Join) -> None:
    master = join()
    registry = ClusterRegistry(join())
    answer = partial(registry_answer, registry)
    with pytest.raises(PleaseHoldException, match="not heard from ZooKeeper"):
        answer()
    master.publish_cluster_id("id")
    master.become_master(MASTER)
    master.set_meta_location(ONE)
    one, two = join(), join()
    one.register_server(ONE)
    two.register_server(TWO)
    expected = {
        "cluster_id": "id",
        "master": str(MASTER),
        "meta": str(ONE),
        "servers": [str(ONE), str(TWO)],
    }
    wait_for(lambda: registry._facts is not None and answer() == expected)
    assert registry.active_master() == MASTER
    assert registry.cluster_id() == "id"
    master.set_meta_location(TWO)
    wait_for(lambda: registry.meta_location() == TWO)
    one.remove_server(ONE)
    wait_for(lambda: registry.servers() == [TWO])
    master.resign()
    wait_for(lambda: answer()["master"] == "")  # regions are served without one
    with pytest.raises(PleaseHoldException, match="no master"):
        registry.active_master()
    master.set_meta_location(TWO, RegionState.OPENING)
    wait_for(lambda: registry._known().meta is None)
    with pytest.raises(PleaseHoldException, match="hbase:meta is not served"):
        registry.meta_location()
    assert answer()["meta"] == ""
    registry.close()


def test_it_answers_what_it_knew_while_zookeeper_is_away(join: Join, zookeeper: ZooKeeperServer) -> None:
    master = join()
    master.publish_cluster_id("id")
    master.set_meta_location(ONE)
    proxy = CutProxy(zookeeper.port)
    registry = ClusterRegistry(join(quorum=proxy.quorum))
    wait_for(lambda: registry._facts is not None)
    proxy.cut()
    assert str(registry.meta_location()) == str(ONE)
    master.set_meta_location(TWO)
    assert str(registry.meta_location()) == str(ONE)
    proxy.heal()
    wait_for(lambda: str(registry.meta_location()) == str(TWO))
    registry.close()
    proxy.close()
