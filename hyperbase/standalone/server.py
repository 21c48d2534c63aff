"""Every role in one process: master, region server and coordination around one store.

The roles are those of a cluster and know nothing of each other: the region server serves the regions that the
engine has open, the master changes the catalogue, both answer through one RPC server, and clients find their
way through hbase:meta. The directory is the same that ``hyperbase.connect`` opens in a process of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import hyperbase
from hyperbase.common.authorization import allow_all
from hyperbase.common.config import ServerConfig
from hyperbase.common.coordination import LocalCoordination
from hyperbase.common.process.life import advertised_host, in_thread
from hyperbase.common.rpc.server import RpcLimits, RpcServer
from hyperbase.common.server_name import ServerName
from hyperbase.embedded import open_backend
from hyperbase.embedded.backend import EmbeddedBackend
from master.service import MasterService
from regionserver.server.region_service import priority_of
from regionserver.server.serving import Serving
from regionserver.server.work import WorkPool


class StandaloneServer:
    """Owns the store in ``config.data_dir`` between ``start`` and ``stop``."""

    def __init__(
        self, config: ServerConfig, open_store: Callable[[ServerConfig], EmbeddedBackend] | None = None
    ) -> None:
        self.config = config
        self._open_store = open_store or _open_directory
        self.address: tuple[str, int] = (config.bind, config.port)
        self.startcode = int(time.time() * 1000)
        self.rpc = RpcServer(RpcLimits.of(config), f"hyperbase {hyperbase.__version__}", priority_of)
        self._backend: EmbeddedBackend | None = None
        self._serving: Serving | None = None
        self._admin: WorkPool | None = None

    @property
    def endpoints(self) -> dict[str, str]:
        """What clients connect to, by the name of the protocol."""
        host, port = self.address
        return {"rpc": f"hyperbase://{f'[{host}]' if ':' in host else host}:{port}"}

    @property
    def replayed_rows(self) -> int:
        """Rows that the start took from the log; 0 after a clean stop."""
        return 0 if self._backend is None else self._backend.store.engine.replayed_rows

    async def start(self) -> None:
        """Listen, open the store, serve. Who connects meanwhile waits.

        Raises:
            OSError: the address cannot be bound. HBaseIOException: the store does not open.
        """
        self.address = await self.rpc.listen(self.config.bind, self.config.port)
        name = ServerName(advertised_host(self.config, self.address[0]), self.address[1], self.startcode)
        try:
            # In a thread: a long replay must not keep signals from being handled.
            self._backend = await in_thread(lambda: self._open_store(self.config))
            await in_thread(lambda: self._assign(name))
        except BaseException:
            await self._release()
            raise
        self._serve(name)
        await self.rpc.begin(str(name))

    def _assign(self, name: ServerName) -> None:
        """Every region is served here: say so in hbase:meta."""
        assert self._backend is not None
        store = self._backend.store
        store.catalog.server = name
        store.catalog.locate(info for entry in store.tables.values() for info in entry.infos)

    def _serve(self, name: ServerName) -> None:
        """Put the roles together."""
        assert self._backend is not None
        backend, config = self._backend, self.config
        self._serving = serving = Serving(config, self.rpc, backend.store.engine, str(name), backend.table)
        self._admin = WorkPool("admin", config.admin_threads, config.max_admin_requests, serving.completions)
        coordination = LocalCoordination(backend.store.cluster_id)
        coordination.register_server(name)
        coordination.become_master(name)
        coordination.set_meta_location(name)
        master = MasterService(backend, coordination, self._admin, allow_all, serving.metrics)
        self.rpc.add_handlers(master.handlers())

    async def stop(self) -> None:
        """Drain: let calls in flight finish; then flush and close the store."""
        if self._serving is not None:
            self._serving.end_leases()
        await self.rpc.stop(self.config.drain_timeout_s)
        await self._release()

    async def _release(self) -> None:
        def stop_threads(*, wait: bool) -> None:
            for threads in (self._serving, self._admin):
                if threads is not None:
                    threads.stop(wait=wait)

        def release() -> None:
            stop_threads(wait=False)
            try:
                if self._backend is not None:
                    self._backend.close()  # also ends the compactions that clients have asked for
            finally:
                stop_threads(wait=True)

        self.rpc.close_listener()
        await in_thread(release)


def _open_directory(config: ServerConfig) -> EmbeddedBackend:
    return open_backend(config.data_dir, settings=config.store.as_settings())
