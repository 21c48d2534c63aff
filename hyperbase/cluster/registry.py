"""Where things are in a cluster, kept up to date from ZooKeeper: what REGISTRY answers, from memory.

Watched are the children of the root (the master's lock and hbase:meta's znode come and go), the servers, and
the data of hbase:meta's znode. Not the data of the master's: each of its heartbeats writes it.
Threads: one of the watch's own looks; everybody may ask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from hyperbase.common.coordination import registry_answer
from hyperbase.common.errors import IllegalArgumentException, PleaseHoldException
from hyperbase.common.region_info import RegionState
from hyperbase.common.rpc.call import Call
from hyperbase.common.rpc.server import Handler
from hyperbase.common.server_name import ServerName
from hyperbase.common.wire.messages import Method
from hyperbase.common.zookeeper.coordination import Watch, ZooKeeperCoordination
from hyperbase.common.zookeeper.znodes import MasterInfo, MetaLocation, ZnodePaths, read_cluster_id


class _Facts(NamedTuple):
    cluster_id: str
    master: ServerName | None
    meta: ServerName | None
    servers: tuple[ServerName, ...]


class ClusterRegistry:
    """See the module. Answers until ``close``; what ZooKeeper said last, while it says nothing."""

    def __init__(self, coordination: ZooKeeperCoordination) -> None:
        self._session = coordination.session
        self._paths: ZnodePaths = coordination.paths
        self._facts: _Facts | None = None
        self._watch = Watch(self._session, self._look)

    def close(self) -> None:
        """No more is asked of ZooKeeper."""
        self._watch.close()

    def handlers(self) -> dict[int, Handler]:
        """By method number."""
        return {Method.REGISTRY: self.registry}

    def registry(self, call: Call, arguments: Any) -> Any:
        """REGISTRY: where hbase:meta and the master are."""
        return registry_answer(self)

    def cluster_id(self) -> str:
        """The store's identity. Raises PleaseHoldException before ZooKeeper has said anything."""
        return self._known().cluster_id

    def servers(self) -> list[ServerName]:
        """The region servers that are alive."""
        return list(self._known().servers)

    def active_master(self) -> ServerName:
        """Raises PleaseHoldException while there is none."""
        master = self._known().master
        if master is None:
            raise PleaseHoldException("no master is active at the moment: wait and retry")
        return master

    def meta_location(self) -> ServerName:
        """Raises PleaseHoldException while hbase:meta is served nowhere."""
        meta = self._known().meta
        if meta is None:
            raise PleaseHoldException("hbase:meta is not served at the moment: wait and retry")
        return meta

    def _known(self) -> _Facts:
        facts = self._facts
        if facts is None:
            raise PleaseHoldException("this server has not heard from ZooKeeper yet: wait and retry")
        return facts

    def _look(self, wake: Callable[[object], None]) -> None:
        session, paths = self._session, self._paths
        session.children(paths.root, watch=wake)
        meta = session.get(paths.meta, watch=wake)
        servers = session.children(paths.servers, watch=wake)
        master = session.get(paths.master)
        identity = session.get(paths.cluster_id)
        if identity is not None:
            self._facts = _Facts(
                read_cluster_id(identity[0]),
                None if master is None else MasterInfo.from_bytes(master[0]).server,
                None if meta is None else _open_there(meta[0]),
                tuple(sorted(filter(None, map(_parsed, servers)))),
            )


def _open_there(value: bytes) -> ServerName | None:
    location = MetaLocation.from_bytes(value)
    return location.server if location.state is RegionState.OPEN else None


def _parsed(name: str) -> ServerName | None:
    try:
        return ServerName.parse(name)
    except IllegalArgumentException:
        return None
