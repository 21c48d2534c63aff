"""Who makes mutations durable: the event loop itself, or the log's thread.

Handing a group of mutations to a thread and back costs two switches between threads, as much as a sync on a
good disk. So the loop syncs by itself what one turn has brought, if nobody is kept waiting by that: only
mutations came in this turn, and the last syncs were quick. Whoever sends meanwhile makes the next group.
Otherwise the log's thread syncs, and the loop goes on answering.

Threads: the event loop's only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from hyperbase.common.errors import HBaseIOException
from hyperbase.common.rpc.server import RpcServer
from regionserver.region.commit import Commit
from regionserver.server.work import Completions
from regionserver.storage.wal import WriteAheadLog

logger = logging.getLogger(__name__)

QUICK_S = 0.0008  # a sync that keeps the loop no longer than this is none to avoid


class Syncs:
    """See the module."""

    def __init__(
        self, wal: WriteAheadLog, loop: asyncio.AbstractEventLoop, completions: Completions, rpc: RpcServer
    ) -> None:
        self._wal = wal
        self._loop = loop
        self._completions = completions
        self._rpc = rpc
        self._commits = 0  # of this turn
        self._calls_seen = 0
        self._syncs_seen = 0
        self._seconds_seen = 0.0
        self._sync_s = 0.0  # how long the last syncs took
        self._scheduled = False

    def when_durable(self, commit: Commit, callback: Callable[[Commit], None]) -> None:
        """Call ``callback(commit)`` once the commit is durable, or failed."""
        if not commit.logged or not commit.watch(callback):
            commit.add_done_callback(callback)
            return
        self._commits += 1
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._settle)

    def _settle(self) -> None:
        """At the end of a turn: everything that came in it was submitted."""
        self._scheduled = False
        calls, self._calls_seen = self._rpc.calls_begun - self._calls_seen, self._rpc.calls_begun
        commits, self._commits = self._commits, 0
        self._measure()
        if calls > commits or self._sync_s > QUICK_S:
            self._wal.request_sync()
            return
        self._completions.hold()
        try:
            if not self._wal.sync_if_free():
                self._wal.request_sync()
        except HBaseIOException as error:  # the commits were told, and so are their callers
            logger.error("log sync failed: %s", error)
        finally:
            self._completions.drain()

    def _measure(self) -> None:
        """Take in how long the syncs since the last look took; half of the figure is what was before."""
        metrics = self._wal.metrics
        syncs = metrics.syncs - self._syncs_seen
        if syncs > 0:
            took = (metrics.sync_seconds - self._seconds_seen) / syncs
            self._sync_s = (self._sync_s + took) / 2
            self._syncs_seen, self._seconds_seen = metrics.syncs, metrics.sync_seconds
