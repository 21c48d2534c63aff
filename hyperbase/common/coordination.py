"""Coordination: who is alive, who is the active master, where hbase:meta is.

Servers register here, clients and servers ask. One process that holds all roles needs no more than
``LocalCoordination``; a cluster's implementation keeps the same facts in ZooKeeper.
Threads: every method may be called from any.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from hyperbase.common.errors import PleaseHoldException
from hyperbase.common.server_name import ServerName


class Places(Protocol):
    """What clients ask of it."""

    def cluster_id(self) -> str:
        """The store's identity, the same for its whole life."""

    def servers(self) -> list[ServerName]:
        """The region servers that are alive."""

    def active_master(self) -> ServerName:
        """Raises PleaseHoldException while there is none."""

    def meta_location(self) -> ServerName:
        """Raises PleaseHoldException while it is served nowhere."""


class Coordination(Places, Protocol):
    """What roles ask of it, too."""

    def register_server(self, server: ServerName) -> None:
        """A region server is up; it stays registered as long as it lives."""

    def remove_server(self, server: ServerName) -> None:
        """A region server ends."""

    def become_master(self, server: ServerName) -> bool:
        """Be the active master if there is none; False: another one is."""

    def set_meta_location(self, server: ServerName | None) -> None:
        """hbase:meta is served there, or nowhere."""


class LocalCoordination:
    """The coordination of a process that holds all roles: facts in memory."""

    def __init__(self, cluster_id: str) -> None:
        self._cluster_id = cluster_id
        self._lock = threading.Lock()
        self._servers: list[ServerName] = []
        self._master: ServerName | None = None
        self._meta: ServerName | None = None

    def cluster_id(self) -> str:
        return self._cluster_id

    def register_server(self, server: ServerName) -> None:
        with self._lock:
            if server not in self._servers:
                self._servers.append(server)

    def remove_server(self, server: ServerName) -> None:
        with self._lock:
            if server in self._servers:
                self._servers.remove(server)
            if self._meta == server:
                self._meta = None
            if self._master == server:
                self._master = None

    def servers(self) -> list[ServerName]:
        with self._lock:
            return list(self._servers)

    def become_master(self, server: ServerName) -> bool:
        with self._lock:
            if self._master is None:
                self._master = server
            return self._master == server

    def active_master(self) -> ServerName:
        master = self._master
        if master is None:
            raise PleaseHoldException("no master is active yet: wait and retry")
        return master

    def set_meta_location(self, server: ServerName | None) -> None:
        with self._lock:
            self._meta = server

    def meta_location(self) -> ServerName:
        meta = self._meta
        if meta is None:
            raise PleaseHoldException("hbase:meta is not served yet: wait and retry")
        return meta


def registry_answer(coordination: Places) -> dict[str, Any]:
    """What REGISTRY answers: all that a client needs to find the rest. Without a master reads go on."""
    return {
        "cluster_id": coordination.cluster_id(),
        "master": _name(coordination.active_master),
        "meta": _name(coordination.meta_location),
        "servers": [str(server) for server in coordination.servers()],
    }


def _name(of: Callable[[], ServerName]) -> str:
    """The server's, or nothing while there is none."""
    try:
        return str(of())
    except PleaseHoldException:
        return ""
