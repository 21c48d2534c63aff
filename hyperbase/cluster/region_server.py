"""A region server: one process of a cluster that serves the regions which the master gives it.

Start: listen → ZooKeeper, until a master has started the cluster → the root → a log of its own → engine →
accept → register. Answers wait for the lease (``gate``), so nothing is said before the server is registered.

End, told by a signal, by the master, or because the cluster ends: no new calls, those in flight finish,
regions are flushed and closed, the log is archived and its directory removed, last goes the znode: nothing is
left to replay. With its lease or its log lost the process ends at once: the master has its log replayed
elsewhere.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import hyperbase
from hyperbase.cluster.gate import LeaseGate
from hyperbase.cluster.joining import connected
from hyperbase.cluster.member import Member
from hyperbase.cluster.registry import ClusterRegistry
from hyperbase.cluster.root import OwnLog, SharedRoot
from hyperbase.common.authorization import allow_all
from hyperbase.common.config import ServerConfig
from hyperbase.common.errors import (
    HBaseIOException,
    LeaseLostException,
    LeaseSuspendedException,
    PleaseHoldException,
    ServerStoppedException,
)
from hyperbase.common.process.life import in_thread
from hyperbase.common.zookeeper.coordination import ZooKeeperCoordination
from hyperbase.common.zookeeper.lease import Lease
from regionserver.region.engine import Engine
from regionserver.server.orders import Orders
from regionserver.server.region_commands import RegionCommands
from regionserver.server.served_tables import ServedTable
from regionserver.server.serving import Serving
from regionserver.storage.filesystem import FileSystem

logger = logging.getLogger(__name__)

WAITING_TOLD_S = 10.0  # how often a server says that it waits for the cluster to start
_LOOK_AGAIN_S = 0.2


class RegionServer(Member):
    """See the module."""

    def __init__(
        self, config: ServerConfig, request_stop: Callable[[str], None], end: Callable[[str], NoReturn]
    ) -> None:
        super().__init__(config, request_stop, end)
        self.gate = LeaseGate(end, self._log_problem)
        self.rpc.gate = self.gate
        self._log: OwnLog | None = None
        self._engine: Engine | None = None
        self._serving: Serving | None = None
        self._commands: RegionCommands | None = None
        self._lease: Lease | None = None
        self._watchdog: asyncio.Task[None] | None = None

    # -- start -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, join the cluster, serve. Who connects meanwhile waits.

        Raises:
            OSError: the address cannot be bound.
            ServerStartError: nor that of /health, or the root is not to be used.
            HBaseIOException: ZooKeeper does not answer, or the log cannot be begun.
            ServerStoppedException: ``give_up`` was called.
        """
        await self._listen()
        try:
            await self._listen_for_health()
            await in_thread(self._join)
            self._serve()
            await self.rpc.begin(str(self.name))
            await in_thread(self._register)
        except BaseException:
            await self._release(clean=False)
            raise
        self._watchdog = asyncio.ensure_future(self._watch_over())

    def _join(self) -> None:
        """In a thread: everything that waits for others or for the disk."""
        config = self.config
        self._session = session = connected(config, self.location, self._stopping)
        self._coordination = coordination = ZooKeeperCoordination(
            session,
            self.location.root,
            writer=f"regionserver:{self.name.port}",
            tick_s=config.zookeeper_tick_s,
        )
        cluster_id = self._wait_for_cluster(coordination)
        self._registry = ClusterRegistry(coordination)
        self._root = SharedRoot.join(config.data_dir, cluster_id, self.location, coordination.servers)
        try:
            self._begin_log(self._root.fs)
        except HBaseIOException:
            raise
        except OSError as error:
            raise HBaseIOException(
                error.errno or errno.EIO,
                f"no log can be begun in {config.data_dir}: {error.strerror or error}",
            ) from error

    def _begin_log(self, fs: FileSystem) -> None:
        """The engine with a log of its own, before anybody knows of this server."""
        config = self.config
        self._log = OwnLog(fs, self.name)
        self._engine = Engine(
            fs,
            config.store,
            root=config.data_dir,
            wal_directory=self._log.directory,
            archive_directory=self._log.archive_directory,
            deletes_files=False,
            check_owner=self.gate.check_owner,
        )
        self._engine.start()

    def _wait_for_cluster(self, coordination: ZooKeeperCoordination) -> str:
        """The cluster's id, once a master has started it."""
        told = float("-inf")
        while not self._stopping.wait(0 if told < 0 else _LOOK_AGAIN_S):
            try:
                cluster_id = coordination.cluster_id()
                if coordination.cluster_is_up():
                    return cluster_id
                reason = f"the cluster at {self.location} is down"
            except PleaseHoldException as error:
                reason = str(error)
            if time.monotonic() - told >= WAITING_TOLD_S:
                logger.info("waiting for the cluster to start zookeeper=%s reason=%s", self.location, reason)
                told = time.monotonic()
        raise ServerStoppedException("the server was stopped before its cluster had started")

    def _serve(self) -> None:
        """Put the services together."""
        assert self._engine is not None
        assert self._registry is not None
        assert self._coordination is not None
        config, engine, name = self.config, self._engine, str(self.name)
        self._serving = serving = Serving(
            config, self.rpc, engine, name, lambda table: ServedTable(engine, name, table)
        )
        self._commands = RegionCommands(
            engine,
            name,
            Orders(_active_epoch(self._coordination)),
            serving.completions,
            allow_all,
            limit=config.max_server_requests,
            shut_down=lambda: self._request_stop("the master told so"),
            metrics=serving.metrics,
        )
        self.rpc.add_handlers(self._commands.handlers())
        self.rpc.add_handlers(self._registry.handlers())

    def _register(self) -> None:
        """In a thread: the znode, and with it the lease."""
        assert self._coordination is not None
        assert self._log is not None
        lease = self._coordination.lease_server(
            self.name, info_port=self.info_port, version=hyperbase.__version__
        )
        if not self._log.is_there:
            raise LeaseLostException(
                f"{self._log.directory} was set aside before {self.name} had registered: start again"
            )
        self._lease = lease
        lease.add_listener(lambda _: self._on_loop(self.rpc.reopen))
        self.gate.take(lease)
        lease.wait(self.config.zookeeper_session_timeout_s)
        self._on_loop(self.rpc.reopen)
        self._cluster_up = self._coordination.watch_cluster_up(self._cluster_changed)

    # -- while it serves ---------------------------------------------------------------------------------

    async def _watch_over(self) -> None:
        """A server whose log failed, or was set aside, acknowledges nothing any more: others recover it."""
        while True:
            await asyncio.sleep(_LOOK_AGAIN_S)
            if self._lease is not None and self._lease.lost:
                self._end(self._lease.lost)
            problem = self._log_problem()
            if problem:
                self._end(problem)

    def _log_problem(self) -> str:
        """Why the log takes nothing any more; empty while it does."""
        wal = self._engine.wal if self._engine is not None else None
        if wal is None:
            return ""
        if wal.failed is not None:
            return f"its log failed: {wal.failed}"
        return "its log directory was set aside" if wal.taken else ""

    def _status(self) -> tuple[Mapping[str, Any], bool]:
        state = self.gate.state
        engine = self._engine
        facts = {
            "role": "regionserver",
            "name": str(self.name),
            "state": state,
            "regions": 0 if engine is None else len(engine.regions),
            "uptime_s": round(time.time() - self.startcode / 1000, 3),
            "version": hyperbase.__version__,
            "pid": os.getpid(),
        }
        return facts, state == "held"

    # -- end ---------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Drain, flush and close the regions, leave the cluster.

        Raises:
            OSError, HBaseIOException: something could not be flushed; the master has the log replayed.
        """
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._serving is not None:
            self._serving.end_leases()
        await self.rpc.stop(self.config.drain_timeout_s)
        await self._release(clean=True)

    async def _release(self, *, clean: bool) -> None:
        self.rpc.close_listener()
        self._health.close()
        await in_thread(lambda: self._let_go(clean=clean))

    def _let_go(self, *, clean: bool) -> None:
        """In a thread. What cannot be flushed stays in the log, and the log where it is."""
        error: OSError | None = None
        if self._cluster_up is not None:
            self._cluster_up.close()
        self._stop_threads(wait=False)
        try:
            if self._engine is not None:
                self._close_engine(self._engine, clean=clean)
                assert self._log is not None
                self._log.remove()
        except OSError as failure:
            error = failure
        finally:
            self._stop_threads(wait=True)
        self.gate.shut()
        if self._log is not None:
            self._log.release()
        if self._registry is not None:
            self._registry.close()
        if self._coordination is not None:
            self._coordination.close()  # the znode goes, then the session
        elif self._session is not None:
            self._session.close()
        if self._root is not None:
            self._root.leave()
        if error is not None:
            raise error

    def _close_engine(self, engine: Engine, *, clean: bool) -> None:
        if not clean and not engine.regions:
            engine.close()
            return
        if self._lease is not None:
            try:
                self._lease.wait(self.config.zookeeper_session_timeout_s)
            except LeaseSuspendedException as error:
                logger.warning("stopping without its lease: regions stay unflushed error=%s", error)
        engine.close()

    def _stop_threads(self, *, wait: bool) -> None:
        for threads in (self._commands, self._serving):
            if threads is not None:
                threads.stop(wait=wait)


def _active_epoch(coordination: ZooKeeperCoordination) -> int:
    """Of the master that is active now; 0: there is none."""
    try:
        return coordination.active_master_info()[1]
    except PleaseHoldException:
        return 0
    except HBaseIOException as error:
        logger.warning("the active master is not known error=%s", error)
        return 0
