"""``zk://`` URLs: what they mean, and what each mistake is told."""

from __future__ import annotations

import pytest

from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.zookeeper.location import ZooKeeperLocation


@pytest.mark.parametrize(
    ("url", "hosts", "root"),
    [
        ("zk://h1:2181,h2:2182/hbase", (("h1", 2181), ("h2", 2182)), "/hbase"),
        ("zk://h1", (("h1", 2181),), "/hyperbase"),
        ("zk://h1/", (("h1", 2181),), "/hyperbase"),
        ("zk://h1,h2/a/b/", (("h1", 2181), ("h2", 2181)), "/a/b"),
        ("zk://[::1]:99,[fe80::1]/x", (("::1", 99), ("fe80::1", 2181)), "/x"),
    ],
)
def test_urls(url: str, hosts: tuple[tuple[str, int], ...], root: str) -> None:
    location = ZooKeeperLocation.parse(url)
    assert location == ZooKeeperLocation(hosts, root)
    assert ZooKeeperLocation.parse(str(location)) == location


def test_the_quorum_is_what_zookeepers_clients_want() -> None:
    assert ZooKeeperLocation.parse("zk://a,[::1]:5").quorum == "a:2181,[::1]:5"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("hyperbase://h:1", "not a cluster's URL.*zk://host1"),
        ("zk://", "has no name"),
        ("zk:///hbase", "has no name"),
        ("zk://a,,b/x", "has no name"),
        ("zk://a, b", "has no name"),
        ("zk://a:/x", "not a port.*''"),
        ("zk://a:0", "not a port.*'0'"),
        ("zk://a:65536", "not a port"),
        ("zk://a:21x", "not a port.*'21x'"),
        ("zk://::1", "needs brackets"),
        ("zk://[::1", "not an IPv6 address"),
        ("zk://[::1]x", "not an IPv6 address"),
        ("zk://a,a:2181", "a:2181 stands twice"),
        ("zk://a/x//y", "not a znode's path"),
        ("zk://a/../x", "not a znode's path"),
        ("zk://a/x y", "not a znode's path"),
        ("zk://a/zookeeper/quota", "ZooKeeper's own"),
        ("zk://a/x?timeout=3", "'\\?' has no meaning"),
        ("zk://user@a/x", "'@' has no meaning"),
    ],
)
def test_mistakes_are_named(url: str, message: str) -> None:
    with pytest.raises(IllegalArgumentException, match=message):
        ZooKeeperLocation.parse(url)
