"""Read points: up to which sequence id a region's edits are visible, and which older points are in use."""

from __future__ import annotations

import threading
from collections import Counter


class ReadPoints:
    """The region's read point and those that open scanners hold. ``current`` moves in log order only."""

    __slots__ = ("_held", "_lock", "current", "key_skips", "time_range_skips")

    def __init__(self, current: int) -> None:
        self.current = current
        self.key_skips = 0  # files that point reads passed over, by key range or Bloom filter
        self.time_range_skips = 0
        self._held: Counter[int] = Counter()
        self._lock = threading.Lock()

    def hold(self) -> int:
        """Take the current read point and keep what it sees until ``release``."""
        with self._lock:
            point = self.current
            self._held[point] += 1
            return point

    def release(self, point: int) -> None:
        with self._lock:
            self._held[point] -= 1
            if self._held[point] <= 0:
                del self._held[point]

    @property
    def held(self) -> int:
        """How many readers hold one."""
        with self._lock:
            return sum(self._held.values())

    def smallest(self) -> int:
        """The oldest read point in use: nothing that it sees may be dropped."""
        with self._lock:
            return min(self._held, default=self.current)

    def in_use(self) -> list[int]:
        """Every read point in use, ascending; the last is the current one, which the next reader takes."""
        with self._lock:
            return sorted({*self._held, self.current})
