"""The services of one region server, put together around an engine: what answers which call, and by whom.

It knows no catalogue and no other server: who opens regions, and who may load whole tables, is handed in.
Everything belongs to the event loop's thread but the threads of the pools.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hyperbase.common.authorization import Authorizer, allow_all
from hyperbase.common.config import ServerConfig
from hyperbase.common.rpc.server import RpcServer
from regionserver.region.engine import Engine
from regionserver.server.arrow_puts import ArrowPutService, Loader
from regionserver.server.arrow_service import ArrowService
from regionserver.server.region_service import RegionService
from regionserver.server.scans import ScanService
from regionserver.server.streams import StreamTable
from regionserver.server.syncs import Syncs
from regionserver.server.work import Completions, WorkPool

WAITING_PIECES = 10_000  # of reads and scans; each holds little
WAITING_UPLOADS = 64
BLOCKED_WRITES = 256  # that wait for memory; more are refused


class Serving:
    """See the module. The engine is started; made in the event loop's thread.

    Args:
        name: the server's, ``host,port,startcode``.
        loader: the table that an Arrow upload goes into.
    """

    def __init__(
        self,
        config: ServerConfig,
        rpc: RpcServer,
        engine: Engine,
        name: str,
        loader: Callable[[str], Loader],
        authorize: Authorizer = allow_all,
    ) -> None:
        self._config = config
        self._rpc = rpc
        self._engine = engine
        self.completions = completions = Completions(asyncio.get_running_loop())
        reads = WorkPool("read", config.handler_threads, WAITING_PIECES, completions)
        writes = WorkPool("write", config.handler_threads, BLOCKED_WRITES, completions)
        uploads = WorkPool("upload", config.handler_threads, WAITING_UPLOADS, completions)
        meta_reads = WorkPool("meta", 1, config.max_meta_requests, completions)
        self._pools = [reads, writes, uploads, meta_reads]
        self._streams = streams = StreamTable(
            reads,
            meta_reads,
            completions,
            lease_s=config.scanner_lease_s,
            max_streams=config.max_scanners,
            max_streams_per_connection=config.max_scanners_per_connection,
        )
        assert engine.wal is not None
        syncs = Syncs(engine.wal, asyncio.get_running_loop(), completions, rpc)
        regions = RegionService(engine, name, completions, reads, writes, authorize, streams, syncs)
        scans = ScanService(regions.readable, streams)
        arrow = ArrowService(regions.readable, streams, reads)
        self._arrow_puts = ArrowPutService(loader, uploads, completions, authorize)
        for service in (regions, scans, arrow, self._arrow_puts):
            rpc.add_handlers(service.handlers())
        self._sweeper = asyncio.ensure_future(self._end_idle())

    async def _end_idle(self) -> None:
        """End scanners and uploads whose clients say nothing any more."""
        interval = min(1.0, self._config.scanner_lease_s / 4)
        while True:
            await asyncio.sleep(interval)
            self._streams.end_idle(self._rpc.now())
            self._arrow_puts.end_idle(self._rpc.now(), self._config.scanner_lease_s)

    def metrics(self) -> dict[str, float]:
        """Numbers of the server's own, under HBase's names where it has them."""
        regions = list(self._engine.regions.values())
        return {
            "numOpenConnections": len(self._rpc.connections),
            "numActiveHandler": sum(self._rpc.in_flight),
            "numOpenScanners": len(self._streams),
            # What scanners keep flushes and compactions from dropping.
            "numHeldReadPoints": sum(region.read_points.held for region in regions),
            "exceptions.callQueueTooBig": self._rpc.refused_calls,
        }

    def end_leases(self) -> None:
        """Nobody looks after scanners any more: the server stops. On the loop's thread."""
        self._sweeper.cancel()

    def stop(self, *, wait: bool) -> None:
        """Drop what waits for a thread; ``wait`` until what is under way has ended."""
        for pool in self._pools:
            pool.stop(wait=wait)
