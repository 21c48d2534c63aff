"""A master: stands by until it holds the lock in ZooKeeper, then leads the cluster.

Start: listen → the root, which the first master makes → ZooKeeper → stand by, or lead. A master that stands
by answers where things are (REGISTRY) and refers everything else to the active one. With its lease or its
session lost the process ends at once; another master goes on with what it had begun.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import hyperbase
from hyperbase.cluster.joining import connected
from hyperbase.cluster.member import Member
from hyperbase.cluster.registry import ClusterRegistry
from hyperbase.cluster.root import LOCK_FILE, SharedRoot, make_root
from hyperbase.common.authorization import allow_all
from hyperbase.common.config import ServerConfig
from hyperbase.common.errors import HBaseIOException, MasterNotRunningException
from hyperbase.common.process.life import in_thread
from hyperbase.common.zookeeper.coordination import ZooKeeperCoordination
from hyperbase.common.zookeeper.lease import LeaseState
from master.active import ActiveMaster, claim_identity
from master.service import MasterService
from regionserver.server.work import Completions, WorkPool

logger = logging.getLogger(__name__)

ADMIN_THREADS = 32  # a call for a change waits in one until it is done
SHUTDOWN_WAIT_S = 30.0  # for region servers, when the cluster ends


class _ActiveOnly:
    """The active master's backend; while there is none here, every call is referred to the active master."""

    def __init__(self, master: Master) -> None:
        self._master = master

    def __getattr__(self, name: str) -> Any:
        active = self._master.active
        if active is None:
            raise MasterNotRunningException(
                f"{self._master.name} is not the active master: ask that one, or wait"
            )
        active.check()
        return getattr(active.backend, name)


class Master(Member):
    """See the module."""

    def __init__(
        self, config: ServerConfig, request_stop: Callable[[str], None], end: Callable[[str], NoReturn]
    ) -> None:
        super().__init__(config, request_stop, end)
        self.active: ActiveMaster | None = None
        self._admin: WorkPool | None = None
        self._leading: threading.Thread | None = None

    # -- start -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, join the cluster or begin it; stand by.

        Raises:
            OSError: the address cannot be bound.
            ServerStartError: nor that of /health, or the root is not to be used.
            HBaseIOException: ZooKeeper does not answer, or is another cluster's.
            ServerStoppedException: ``give_up`` was called.
        """
        await self._listen()
        try:
            await self._listen_for_health()
            await in_thread(self._join)
            self._serve()
            await self.rpc.begin(str(self.name))
        except BaseException:
            await self._release()
            raise
        self._leading = threading.Thread(target=self._lead, name="master-lead", daemon=True)
        self._leading.start()

    def _join(self) -> None:
        """In a thread: everything that waits for others or for the disk."""
        config = self.config
        fs = make_root(config.data_dir)
        cluster_id = claim_identity(fs)
        fs.create_if_absent(LOCK_FILE, b"")
        self._session = session = connected(config, self.location, self._stopping)
        self._coordination = coordination = ZooKeeperCoordination(
            session, self.location.root, writer=f"master:{self.name.port}", tick_s=config.zookeeper_tick_s
        )
        coordination.prepare()
        self._root = SharedRoot.join(config.data_dir, cluster_id, self.location, coordination.servers)
        self._registry = ClusterRegistry(coordination)

    def _serve(self) -> None:
        assert self._registry is not None
        completions = Completions(asyncio.get_running_loop())
        self._admin = WorkPool("admin", ADMIN_THREADS, self.config.max_admin_requests, completions)
        service = MasterService(_ActiveOnly(self), self._registry, self._admin, allow_all)
        self.rpc.add_handlers(service.handlers())
        self.rpc.add_handlers(self._registry.handlers())

    # -- standing by, and leading ------------------------------------------------------------------------

    def _lead(self) -> None:
        """A thread's whole life."""
        coordination = self._coordination
        assert coordination is not None
        assert self._root is not None
        try:
            logger.info("master stands by server=%s", self.name)
            if not coordination.wait_to_be_master(self.name, stop=self._stopping, info_port=self.info_port):
                if not self._stopping.is_set():
                    self._end("its ZooKeeper session has ended")
                return
            coordination.master_lease.add_listener(self._lease_changed)
            active = ActiveMaster(
                self.name,
                self._root.fs,
                self.config.store,
                coordination,
                self._end,
                hyperbase.__version__,
            )
            active.start()
            self.active = active
            self._cluster_up = coordination.watch_cluster_up(self._cluster_changed)
        except MasterNotRunningException as error:
            if not self._stopping.is_set():
                self._end(f"another master is active: {error}")
        except (HBaseIOException, OSError) as error:
            self._end(f"it cannot lead the cluster: {error}")
        except Exception:
            logger.exception("it cannot lead the cluster")
            self._end("it cannot lead the cluster: see the log")

    def _lease_changed(self, state: LeaseState) -> None:
        if state is LeaseState.LOST and not self._stopping.is_set():
            self._end("its lease as the active master is lost")

    def _status(self) -> tuple[Mapping[str, Any], bool]:
        session = self._session
        leads = self.active is not None
        facts = {
            "role": "master",
            "name": str(self.name),
            "state": "active" if leads else "standby" if self._leading is not None else "starting",
            "uptime_s": round(time.time() - self.startcode / 1000, 3),
            "version": hyperbase.__version__,
            "pid": os.getpid(),
        }
        return facts, session is not None and session.connected

    # -- end ---------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Leave the cluster; when the whole of it ends, after its region servers."""
        self._stopping.set()
        await in_thread(self._wait_for_servers)
        await self.rpc.stop(self.config.drain_timeout_s)
        await self._release()

    def _wait_for_servers(self) -> None:
        """In a thread."""
        coordination, active = self._coordination, self.active
        if coordination is None or active is None:
            return
        try:
            end = time.monotonic() + SHUTDOWN_WAIT_S
            while not coordination.cluster_is_up() and coordination.servers() and time.monotonic() < end:
                time.sleep(0.1)
        except HBaseIOException as error:
            logger.warning("the cluster's end is not known error=%s", error)

    async def _release(self) -> None:
        self.rpc.close_listener()
        self._health.close()
        await in_thread(self._let_go)

    def _let_go(self) -> None:
        """In a thread."""
        if self._cluster_up is not None:
            self._cluster_up.close()
        if self._admin is not None:
            self._admin.stop(wait=False)
        if self.active is not None:
            self.active.stop()
        if self._leading is not None:
            self._leading.join(5)
        if self._registry is not None:
            self._registry.close()
        if self._coordination is not None:
            self._coordination.close()
        elif self._session is not None:
            self._session.close()
        if self._root is not None:
            self._root.leave()
