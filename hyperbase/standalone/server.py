"""Every role in one process: master, region server and coordination around one store.

The roles are those of a cluster and know nothing of each other: the region server serves the regions that the
engine has open, the master changes the catalogue, both answer through one RPC server, and clients find their
way through hbase:meta. The directory is the same that ``hyperbase.connect`` opens in a process of its own.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import hyperbase
from hyperbase.common.authorization import allow_all
from hyperbase.common.config import ServerConfig
from hyperbase.common.coordination import LocalCoordination
from hyperbase.common.rpc.server import RpcLimits, RpcServer
from hyperbase.common.server_name import ServerName
from hyperbase.embedded import open_backend
from hyperbase.embedded.backend import EmbeddedBackend
from master.service import MasterService
from regionserver.server.arrow_puts import ArrowPutService
from regionserver.server.arrow_service import ArrowService
from regionserver.server.region_service import RegionService, priority_of
from regionserver.server.scans import ScanService
from regionserver.server.streams import StreamTable
from regionserver.server.syncs import Syncs
from regionserver.server.work import Completions, WorkPool

logger = logging.getLogger(__name__)

T = TypeVar("T")

WAITING_PIECES = 10_000  # of reads and scans; each holds little
WAITING_UPLOADS = 64
BLOCKED_WRITES = 256  # that wait for memory; more are refused
EVERY_ADDRESS = frozenset({"0.0.0.0", "::", ""})


class StandaloneServer:
    """Owns the store in ``config.data_dir`` between ``start`` and ``stop``."""

    def __init__(
        self, config: ServerConfig, open_store: Callable[[ServerConfig], EmbeddedBackend] | None = None
    ) -> None:
        self.config = config
        self._open_store = open_store or _open_directory
        self.address: tuple[str, int] = (config.bind, config.port)
        self.startcode = int(time.time() * 1000)
        self.rpc = RpcServer(_limits(config), f"hyperbase {hyperbase.__version__}", priority_of)
        self._backend: EmbeddedBackend | None = None
        self._pools: list[WorkPool] = []
        self._streams: StreamTable | None = None
        self._leases: asyncio.Task[None] | None = None

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
        name = ServerName(self._advertised_host(), self.address[1], self.startcode)
        try:
            # In a thread: a long replay must not keep signals from being handled.
            self._backend = await _in_thread(lambda: self._open_store(self.config))
            await _in_thread(lambda: self._assign(name))
        except BaseException:
            await self._release()
            raise
        self._serve(name)
        await self.rpc.begin(str(name))

    def _advertised_host(self) -> str:
        if self.config.advertised_host:
            return self.config.advertised_host
        host = self.address[0]
        return socket.gethostname() if host in EVERY_ADDRESS else host

    def _assign(self, name: ServerName) -> None:
        """Every region is served here: say so in hbase:meta."""
        assert self._backend is not None
        store = self._backend.store
        store.catalog.server = name
        store.catalog.locate(info for entry in store.tables.values() for info in entry.infos)

    def _serve(self, name: ServerName) -> None:
        """Put the roles together."""
        assert self._backend is not None
        config, loop = self.config, asyncio.get_running_loop()
        engine = self._backend.store.engine
        completions = Completions(loop)
        reads = WorkPool("read", config.handler_threads, WAITING_PIECES, completions)
        writes = WorkPool("write", config.handler_threads, BLOCKED_WRITES, completions)
        admin = WorkPool("admin", config.admin_threads, config.max_admin_requests, completions)
        uploads = WorkPool("upload", config.handler_threads, WAITING_UPLOADS, completions)
        meta_reads = WorkPool("meta", 1, config.max_meta_requests, completions)
        self._pools = [reads, writes, admin, uploads, meta_reads]
        streams = StreamTable(
            reads,
            meta_reads,
            completions,
            lease_s=config.scanner_lease_s,
            max_streams=config.max_scanners,
            max_streams_per_connection=config.max_scanners_per_connection,
        )
        coordination = LocalCoordination(self._backend.store.cluster_id)
        coordination.register_server(name)
        coordination.become_master(name)
        coordination.set_meta_location(name)
        assert engine.wal is not None
        syncs = Syncs(engine.wal, loop, completions, self.rpc)
        regions = RegionService(engine, str(name), completions, reads, writes, allow_all, streams, syncs)
        scans = ScanService(regions.readable, streams)
        arrow = ArrowService(regions.readable, streams, reads)
        arrow_puts = ArrowPutService(self._backend.table, uploads, completions, allow_all)
        master = MasterService(self._backend, coordination, admin, allow_all, self._metrics)
        for service in (regions, scans, arrow, arrow_puts, master):
            self.rpc.add_handlers(service.handlers())
        self._streams = streams
        self._leases = asyncio.ensure_future(self._watch_leases(streams, arrow_puts))

    async def _watch_leases(self, streams: StreamTable, uploads: ArrowPutService) -> None:
        interval = min(1.0, self.config.scanner_lease_s / 4)
        while True:
            await asyncio.sleep(interval)
            streams.end_idle(self.rpc.now())
            uploads.end_idle(self.rpc.now(), self.config.scanner_lease_s)

    def _held_read_points(self) -> int:
        """What scanners keep flushes and compactions from dropping."""
        if self._backend is None:
            return 0
        return sum(region.read_points.held for region in list(self._backend.store.engine.regions.values()))

    def _metrics(self) -> dict[str, float]:
        return {
            "numOpenConnections": len(self.rpc.connections),
            "numActiveHandler": sum(self.rpc.in_flight),
            "numOpenScanners": len(self._streams or ()),
            "numHeldReadPoints": self._held_read_points(),
            "exceptions.callQueueTooBig": self.rpc.refused_calls,
        }

    async def stop(self) -> None:
        """Drain: let calls in flight finish; then flush and close the store."""
        if self._leases is not None:
            self._leases.cancel()
        await self.rpc.stop(self.config.drain_timeout_s)
        await self._release()

    async def _release(self) -> None:
        def release() -> None:
            for pool in self._pools:
                pool.stop(wait=False)
            try:
                if self._backend is not None:
                    self._backend.close()  # also ends the compactions that clients have asked for
            finally:
                for pool in self._pools:
                    pool.stop(wait=True)

        self.rpc.close_listener()
        await _in_thread(release)


async def _in_thread(work: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1, thread_name_prefix="hyperbase-life") as executor:
        return await asyncio.get_running_loop().run_in_executor(executor, work)


def _open_directory(config: ServerConfig) -> EmbeddedBackend:
    return open_backend(config.data_dir, settings=config.store.as_settings())


def _limits(config: ServerConfig) -> RpcLimits:
    return RpcLimits(
        max_frame_bytes=config.max_frame_bytes,
        max_connections=config.max_connections,
        max_requests_in_flight=config.max_requests_in_flight,
        max_requests_per_connection=config.max_requests_per_connection,
        max_meta_requests=config.max_meta_requests,
        max_admin_requests=config.max_admin_requests,
        max_server_requests=config.max_server_requests,
        max_inflight_bytes=config.max_inflight_bytes,
        handshake_timeout_s=config.handshake_timeout_s,
        stall_timeout_s=config.keepalive_timeout_s,
        compression_threshold_bytes=config.compression_threshold_bytes,
    )
