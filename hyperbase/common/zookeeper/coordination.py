"""Coordination in ZooKeeper: who is alive, who is the active master, where hbase:meta is.

A role hands in a session of its own and gets leases: a region server from ``lease_server``, a master from
``become_master``. A client needs nothing but the questions.

Invariants
  * A znode under rs/ goes in one of three ways: with its session, by its own server after the lease was
    released, or by ``remove_znode_of``, which every recovery calls first. The third leaves a mark under
    removed/ in the same transaction: a master that dies in the middle of a recovery does not make the next
    one believe that the session had expired. Where there is no znode the mark alone is left: a server that
    was about to register finds it and ends, since its log may have been set aside.
  * A master's epoch is the czxid of its lock znode. What a master writes here goes through the session that
    holds the lock, and ZooKeeper refuses writes of sessions that ended.
  * Masters watch children and existence, never data: each heartbeat writes the data.
Threads: every method may be called from any.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from hyperbase.common.errors import (
    HBaseIOException,
    IllegalArgumentException,
    IllegalStateException,
    LeaseLostException,
    PleaseHoldException,
)
from hyperbase.common.region_info import RegionState
from hyperbase.common.server_name import ServerName
from hyperbase.common.zookeeper.lease import Lease, ZnodeGoneError, ZnodeStat, boottime
from hyperbase.common.zookeeper.session import ZnodeExistsError, ZooKeeperSession
from hyperbase.common.zookeeper.znodes import (
    MasterInfo,
    MetaLocation,
    RegionServerInfo,
    ZnodePaths,
    cluster_id_value,
    read_cluster_id,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")

_NEVER_REGISTERED = b"0"  # a mark's value where there was no znode to remove
LOOK_AGAIN_S = 5.0  # watches tell at once; this is for one that got lost
DEFAULT_TICK_S = 2.0


@dataclass(frozen=True, slots=True)
class RemovedServer:
    """What ``remove_znode_of`` found: wait, then recover.

    ``wait_s`` is how long, from now on, the server's lease may still last: 0 if its session had ended. A
    proof of its death (its log's lock was got, its supervisor saw it end) makes the waiting needless.
    """

    server: ServerName
    wait_s: float


class Watch:
    """Tells a listener of a fact whenever it has changed, from a thread of its own, until it is closed."""

    def __init__(self, session: ZooKeeperSession, look: Callable[[Callable[[object], None]], None]) -> None:
        self._session = session
        self._look = look
        self._changed = threading.Event()
        self._closed = False
        session.add_listener(self._changed.set)
        self._thread = threading.Thread(target=self._run, name="hyperbase-zk-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No more is told."""
        self._closed = True
        self._session.remove_listener(self._changed.set)
        self._changed.set()
        if self._thread is not threading.current_thread():
            self._thread.join(1)

    def _wake(self, _: object) -> None:
        self._changed.set()

    def _run(self) -> None:
        while not self._closed and not self._session.lost:
            self._changed.clear()
            try:
                self._look(self._wake)
            except PleaseHoldException:
                pass  # the session tells when it is connected again
            except Exception:
                if self._session.lost:
                    return
                logger.exception("a watch or its listener failed")
            self._changed.wait(LOOK_AGAIN_S)


class ZooKeeperCoordination:
    """``Coordination`` of a cluster.

    Args:
        session: started; a role's own, since its end is the role's end.
        root: the znode under which the cluster keeps its own.
        writer: who writes, ``master:16000``; stands in each value, as in HBase.
        tick_s: ZooKeeper's tick (``zookeeper.tick_time_ms``); never less than the ensemble's.
    """

    def __init__(
        self,
        session: ZooKeeperSession,
        root: str,
        *,
        writer: str = "client:0",
        tick_s: float = DEFAULT_TICK_S,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self.session = session
        self.paths = ZnodePaths(root)
        self._writer = writer
        self._tick_s = tick_s
        self._clock = clock
        self._lock = threading.RLock()
        self._server_leases: dict[ServerName, Lease] = {}
        self._master_lease: Lease | None = None
        self._standby_lease: Lease | None = None

    # -- the cluster

    def prepare(self) -> None:
        """Make the znodes under which roles stand, where they are missing."""
        paths = self.paths
        for path in (paths.servers, paths.backup_masters, paths.removed):
            self.session.ensure(path, world_readable=paths.world_readable)

    def cluster_id(self) -> str:
        """The store's identity, the same for its whole life.

        Raises:
            PleaseHoldException: no master has published it yet.
        """
        found = self.session.get(self.paths.cluster_id)
        if found is None:
            raise PleaseHoldException(f"no cluster has started at {self._here()} yet: wait and retry")
        return read_cluster_id(found[0])

    def publish_cluster_id(self, cluster_id: str) -> bool:
        """Say whose ZooKeeper root this is. True: nobody had, so ZooKeeper is new, or lost its data: sessions
        may have vanished with their servers alive, so wait the longest session timeout before any recovery.

        Raises:
            IllegalStateException: another cluster has this root.
        """
        path = self.paths.cluster_id
        try:
            self.session.create(path, cluster_id_value(self._writer, cluster_id), world_readable=True)
            return True
        except ZnodeExistsError:
            other = self.cluster_id()
            if other != cluster_id:
                raise IllegalStateException(
                    f"{self._here()} is the root of cluster {other}, not of {cluster_id}: "
                    "two clusters must not share one. Give this one a root of its own."
                ) from None
            return False

    def set_cluster_up(self, since: str) -> None:
        """The cluster is to run: servers that find no such flag end by themselves. HBase's date as text."""
        with contextlib.suppress(ZnodeExistsError):
            self.session.create(self.paths.running, cluster_id_value(self._writer, since))

    def set_cluster_down(self) -> None:
        """The cluster is to end, all of it and cleanly."""
        self.session.delete(self.paths.running)

    def cluster_is_up(self) -> bool:
        """Whether the cluster is to run."""
        return self.session.exists(self.paths.running)

    def watch_cluster_up(self, listener: Callable[[bool], None]) -> Watch:
        """Tell ``listener`` now, and whenever the flag changes."""

        def look(wake: Callable[[object], None]) -> bool:
            return self.session.exists(self.paths.running, watch=wake)

        return self._watch(look, listener)

    # -- region servers

    def lease_server(self, server: ServerName, *, info_port: int = 0, version: str = "") -> Lease:
        """A region server is up: its znode, and the lease that says how long it may answer.

        Raises:
            IllegalStateException: another process has this very name.
            IllegalArgumentException: the negotiated session timeout leaves no lease.
            LeaseLostException: a recovery of this server has begun, before it was registered.
        """
        info = RegionServerInfo(info_port, version, round(self.session.timeout_s * 1000))
        with self._lock:
            if server in self._server_leases:
                return self._server_leases[server]
            path, value = self.paths.server(server), info.to_bytes(self._writer)
            stat = self._create_own(path, value, server)
            if self.session.exists(self.paths.removed_server(server)):
                self.session.delete(path)
                raise LeaseLostException(
                    f"{server} was taken for dead before it had registered, and its log was set aside: "
                    "start again"
                )
            lease = self._lease(path, value, stat)
            self._server_leases[server] = lease
            return lease

    def register_server(self, server: ServerName) -> None:
        """A region server is up; it stays registered as long as its session lives."""
        self.lease_server(server)

    def remove_server(self, server: ServerName) -> None:
        """A region server of this session ends: first its lease, last its znode."""
        with self._lock:
            lease = self._server_leases.pop(server, None)
        self._end(lease, self.paths.server(server))

    def servers(self) -> list[ServerName]:
        """The region servers that are alive."""
        return self._servers(self.session.children(self.paths.servers))

    def watch_servers(self, listener: Callable[[list[ServerName]], None]) -> Watch:
        """Tell ``listener`` now, and whenever a server comes or goes."""

        def look(wake: Callable[[object], None]) -> list[ServerName]:
            return self._servers(self.session.children(self.paths.servers, watch=wake))

        return self._watch(look, listener)

    def remove_znode_of(self, server: ServerName) -> RemovedServer:
        """What every recovery does first, whatever triggered it, and again when it is resumed.

        From here on the server's heartbeats fail, so its lease is never held after ``wait_s``.
        """
        path, mark = self.paths.server(server), self.paths.removed_server(server)
        longest_s = self.session.timeout_s
        found = self.session.get(path)
        while found is not None:
            theirs = _timeout_of(found[0])
            longest_s = max(longest_s, theirs)
            value = b"%d" % round(longest_s * 1000)
            if self.session.replace(mark, value, path):
                logger.info("znode removed server=%s wait_s=%.1f", server, longest_s)
                return RemovedServer(server, longest_s)
            if self.session.get(mark) is not None and self.session.get(path) is not None:
                # The mark was there before the znode was: it says how long to wait now.
                with contextlib.suppress(ZnodeGoneError):
                    self.session.set(mark, value)
                    self.session.delete(path)
            self.session.ensure(self.paths.removed)
            found = self.session.get(path)
        marked = self.session.get(mark)
        if marked is None:
            return self._remove_absent(server)
        if marked[0] == _NEVER_REGISTERED:
            return RemovedServer(server, 0.0)
        # It was removed, no matter when: clocks of two machines do not tell how long ago.
        return RemovedServer(server, max(longest_s, int(marked[0] or b"0") / 1000))

    def _remove_absent(self, server: ServerName) -> RemovedServer:
        """A server without znode: its session has ended, or it has not registered yet, and must not now."""
        self.session.ensure(self.paths.removed)
        with contextlib.suppress(ZnodeExistsError):
            self.session.create(self.paths.removed_server(server), _NEVER_REGISTERED)
        if self.session.exists(self.paths.server(server)):
            return self.remove_znode_of(server)  # it did, before the mark was there
        return RemovedServer(server, 0.0)

    def forget_removed(self, server: ServerName) -> None:
        """The recovery is done, or the server's death is proved."""
        self.session.delete(self.paths.removed_server(server))

    def removed_servers(self) -> list[ServerName]:
        """Servers whose recovery was begun and not finished."""
        return self._servers(self.session.children(self.paths.removed))

    # -- masters

    def become_master(self, server: ServerName, *, info_port: int = 0) -> bool:
        """Be the active master if there is none; False: another one is, and this one stands by."""
        value = MasterInfo(server, info_port).to_bytes(self._writer)
        with self._lock:
            if self._master_lease is not None:
                return not self._master_lease.lost
            try:
                stat = self.session.create(self.paths.master, value, ephemeral=True, world_readable=True)
            except ZnodeExistsError:
                self._stand_by(server, value)
                return False
            standby, self._standby_lease = self._standby_lease, None
            known = standby.known if standby is not None else float("-inf")
            self._master_lease = self._lease(self.paths.master, value, stat, known=known)
        logger.info("active master server=%s epoch=%d", server, stat.czxid)
        if standby is not None:
            standby.release()
            self.session.delete(self.paths.backup_master(server))
        return True

    def wait_to_be_master(self, server: ServerName, *, stop: threading.Event, info_port: int = 0) -> bool:
        """Stand by until this is the active master; False: ``stop`` was set first, or the session ended."""
        changed = threading.Event()

        def wake(_: object) -> None:
            changed.set()

        self.session.add_listener(changed.set)
        try:
            while not stop.is_set() and not self.session.lost:
                changed.clear()
                try:
                    if self.become_master(server, info_port=info_port):
                        return True
                    if not self.session.exists(self.paths.master, watch=wake):
                        continue
                except PleaseHoldException:
                    pass
                end = self._clock() + LOOK_AGAIN_S
                while not changed.is_set() and not stop.is_set() and self._clock() < end:
                    changed.wait(0.2)
            return False
        finally:
            self.session.remove_listener(changed.set)

    def resign(self) -> None:
        """The active master of this session ends: first its lease, last its lock."""
        with self._lock:
            lease, self._master_lease = self._master_lease, None
        self._end(lease, self.paths.master)

    @property
    def master_lease(self) -> Lease:
        """The lease of this session's active master; ``czxid`` is its epoch.

        Raises:
            IllegalStateException: this is not the active master.
        """
        lease = self._master_lease
        if lease is None:
            raise IllegalStateException("this process is not the active master")
        return lease

    def active_master(self) -> ServerName:
        """Raises PleaseHoldException while there is none."""
        return self.active_master_info()[0].server

    def active_master_info(self) -> tuple[MasterInfo, int]:
        """What the active master says of itself, and its epoch. PleaseHoldException: there is none."""
        found = self.session.get(self.paths.master)
        if found is None:
            raise PleaseHoldException("no master is active yet: wait and retry")
        return MasterInfo.from_bytes(found[0]), found[1].czxid

    def backup_masters(self) -> list[ServerName]:
        """The masters that wait."""
        return self._servers(self.session.children(self.paths.backup_masters))

    # -- hbase:meta

    def set_meta_location(self, server: ServerName | None, state: RegionState = RegionState.OPEN) -> None:
        """hbase:meta is served there, or nowhere."""
        if server is None:
            self.session.delete(self.paths.meta)
            return
        value = MetaLocation(server, state).to_bytes(self._writer)
        while True:
            try:
                return self.session.set(self.paths.meta, value)
            except ZnodeGoneError:
                try:
                    self.session.create(self.paths.meta, value, world_readable=True)
                    return None
                except ZnodeExistsError:
                    continue

    def meta_place(self) -> MetaLocation | None:
        """What stands there, also while it is not open; ``None``: nothing."""
        found = self.session.get(self.paths.meta)
        return MetaLocation.from_bytes(found[0]) if found is not None else None

    def meta_location(self) -> ServerName:
        """Raises PleaseHoldException while it is served nowhere."""
        location = self.meta_place()
        if location is None or location.state is not RegionState.OPEN:
            raise PleaseHoldException("hbase:meta is not served yet: wait and retry")
        return location.server

    def close(self) -> None:
        """End what this session holds, then the session."""
        try:
            self.resign()
            for server in list(self._server_leases):
                self.remove_server(server)
        except HBaseIOException as error:
            logger.warning("left to the end of the session error=%s", error)
        finally:
            if self._standby_lease is not None:
                self._standby_lease.release()
            self.session.close()

    # -- helpers

    def _here(self) -> str:
        return f"{self.paths.root} of ZooKeeper {self.session.quorum}"

    def _create_own(self, path: str, value: bytes, server: ServerName) -> ZnodeStat:
        try:
            return self.session.create(path, value, ephemeral=True)
        except ZnodeExistsError:
            raise IllegalStateException(
                f"another process is registered as {server} at {self._here()}: start codes tell processes "
                "on one address apart. Start again."
            ) from None
        except ZnodeGoneError:
            raise PleaseHoldException(
                f"no cluster has started at {self._here()} yet: wait and retry"
            ) from None

    def _end(self, lease: Lease | None, path: str) -> None:
        """Release, then delete. Without a connection the end of the session deletes it, or its expiry."""
        if lease is None:
            return
        own = not lease.lost
        lease.release()
        if own and self.session.connected:
            self.session.delete(path)

    def _lease(self, path: str, value: bytes, stat: ZnodeStat, known: float = float("-inf")) -> Lease:
        return Lease(
            self.session,
            path,
            value,
            czxid=stat.czxid,
            tick_s=self._tick_s,
            known=known,
            clock=self._clock,
        ).start()

    def _stand_by(self, server: ServerName, value: bytes) -> None:
        """Beat while waiting too: ZooKeeper then knows of the session when it becomes the master's."""
        if self._standby_lease is None:
            path = self.paths.backup_master(server)
            self._standby_lease = self._lease(path, value, self._create_own(path, value, server))

    def _servers(self, names: list[str]) -> list[ServerName]:
        servers = []
        for name in names:
            try:
                servers.append(ServerName.parse(name))
            except IllegalArgumentException:
                logger.warning("not a server name in ZooKeeper, passed over name=%r", name)
        return sorted(servers)

    def _watch(self, look: Callable[[Callable[[object], None]], T], listener: Callable[[T], None]) -> Watch:
        told: list[T] = []

        def look_and_tell(wake: Callable[[object], None]) -> None:
            seen = look(wake)
            if told != [seen]:
                listener(seen)
                told[:] = [seen]

        return Watch(self.session, look_and_tell)


def _timeout_of(value: bytes) -> float:
    try:
        return RegionServerInfo.from_bytes(value).session_timeout_ms / 1000
    except IllegalArgumentException:
        return 0.0
