"""What the engine does by the clock: flush old MemStores, look for compactions that time makes due."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regionserver.region.engine import Engine

logger = logging.getLogger(__name__)


class Chores:
    """One daemon thread that wakes every ``interval_s`` seconds."""

    def __init__(self, engine: Engine, interval_s: float) -> None:
        self._engine = engine
        self._interval_s = interval_s
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; the first round is one interval away."""
        self._thread = threading.Thread(target=self._run, name="hyperbase-chores", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; a round under way is finished first."""
        self._stopped.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            self.round()

    def round(self) -> None:
        """Flush what has been in memory for ``flush_interval_s``; have every region looked at."""
        engine = self._engine
        limit = engine.config.flush_interval_s
        for region in list(engine.regions.values()):
            rows = region.view.active.rows
            if limit and rows and time.monotonic() - region.memstore_since >= limit:
                engine.request_flush(region)
            engine.request_compaction(region)  # expiry, the major interval and tombstones depend on time
