"""A queue of regions with one daemon thread, started by the first use, that works them off one by one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regionserver.region.region import Region

logger = logging.getLogger(__name__)


class BackgroundQueue:
    """A region waits in the queue once, however often it is submitted."""

    def __init__(self, name: str, work: Callable[[Region], None]) -> None:
        self._name = name
        self._work = work
        self._changed = threading.Condition()
        self._waiting: dict[int, Region] = {}
        self._thread: threading.Thread | None = None
        self._busy = False
        self._stopping = False

    def submit(self, region: Region) -> None:
        """Queue the region unless it waits already."""
        if id(region) in self._waiting:
            return
        with self._changed:
            if self._stopping:
                return
            self._waiting[id(region)] = region
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._waiting)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nothing is queued or under way."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout_s)

    def stop(self) -> None:
        """Drop what waits, finish what is under way."""
        with self._changed:
            self._stopping = True
            self._waiting.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._stopping:
                        return
                    self._changed.wait()
                region = self._waiting.pop(next(iter(self._waiting)))
                self._busy = True
            try:
                self._work(region)
            except Exception:  # a bug met in one region must not end the work for all
                logger.exception("%s failed region=%s", self._name, region.name)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
