"""Block cache: decoded blocks of all StoreFiles of an engine, kept while they are useful.

Segmented LRU: a block enters on probation and is protected from its second use on. A scan that touches
each block once can therefore only push out other blocks on probation, never the hot set.

Invariants
  * ``size_bytes`` is the sum of what ``put`` charged and never exceeds ``limit_bytes``.
  * A key is a tuple whose first element is the file's id, so that a deleted file's blocks leave at once.
Threads: any; one lock, held for a few dictionary operations.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regionserver.storage.block import Block

BlockKey = tuple[object, ...]

# Share of the cache that blocks used more than once may fill.
_PROTECTED_PERCENT = 80
# A block above this share of the cache is not kept: one huge value must not empty it.
_LARGEST_BLOCK_PERCENT = 12


@dataclass(frozen=True, slots=True)
class BlockCacheStats:
    """Counters since the cache was made; sizes in bytes."""

    hits: int
    misses: int
    evictions: int
    block_count: int
    size_bytes: int
    limit_bytes: int


class BlockCache:
    """Decoded blocks by key, at most ``limit_bytes`` of them."""

    def __init__(self, limit_bytes: int) -> None:
        if limit_bytes < 0:
            raise ValueError(f"limit_bytes must not be negative: {limit_bytes}")
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self.hits = 0
        self.misses = 0
        self.evictions = 0
        self._protected_limit = limit_bytes * _PROTECTED_PERCENT // 100
        self._largest_block = limit_bytes * _LARGEST_BLOCK_PERCENT // 100
        self._protected_bytes = 0
        self._probation: OrderedDict[BlockKey, tuple[Block, int]] = OrderedDict()
        self._protected: OrderedDict[BlockKey, tuple[Block, int]] = OrderedDict()
        self._files: dict[object, set[BlockKey]] = {}
        self._lock = threading.Lock()

    def get(self, key: BlockKey) -> Block | None:
        """The block, now among the most recently used; ``None`` when it is not here."""
        with self._lock:
            entry = self._protected.get(key)
            if entry is not None:
                self._protected.move_to_end(key)
                self.hits += 1
                return entry[0]
            entry = self._probation.pop(key, None)
            if entry is None:
                self.misses += 1
                return None
            self.hits += 1
            self._protected[key] = entry
            self._protected_bytes += entry[1]
            if self._protected_bytes > self._protected_limit:
                self._demote()
            return entry[0]

    def put(self, key: BlockKey, block: Block, nbytes: int) -> None:
        """Keep the block, charged ``nbytes``; older blocks leave to make room. Replaces the key's block."""
        with self._lock:
            self._remove(key)
            if nbytes > self._largest_block:
                return
            self._probation[key] = (block, nbytes)
            self._files.setdefault(key[0], set()).add(key)
            self.size_bytes += nbytes
            while self.size_bytes > self.limit_bytes:
                self._remove(next(iter(self._probation or self._protected)))
                self.evictions += 1

    def evict_file(self, file_id: object) -> None:
        """Forget every block of a file; not counted as evictions."""
        with self._lock:
            for key in list(self._files.get(file_id, ())):
                self._remove(key)

    def clear(self) -> None:
        """Forget every block."""
        with self._lock:
            self._probation.clear()
            self._protected.clear()
            self._files.clear()
            self.size_bytes = self._protected_bytes = 0

    def stats(self) -> BlockCacheStats:
        """One consistent view of the counters."""
        with self._lock:
            count = len(self._probation) + len(self._protected)
            return BlockCacheStats(
                self.hits, self.misses, self.evictions, count, self.size_bytes, self.limit_bytes
            )

    def __len__(self) -> int:
        return len(self._probation) + len(self._protected)

    def _demote(self) -> None:
        """Move the least recently used protected blocks back on probation, as its newest."""
        while self._protected_bytes > self._protected_limit and len(self._protected) > 1:
            key, entry = self._protected.popitem(last=False)
            self._protected_bytes -= entry[1]
            self._probation[key] = entry

    def _remove(self, key: BlockKey) -> None:
        entry = self._probation.pop(key, None)
        if entry is None:
            entry = self._protected.pop(key, None)
            if entry is None:
                return
            self._protected_bytes -= entry[1]
        self.size_bytes -= entry[1]
        keys = self._files[key[0]]
        keys.discard(key)
        if not keys:
            del self._files[key[0]]
