"""MemStore: the newest edits of a region, by row, until a flush writes them to StoreFiles.

Row-granular: ``rows[row]`` is an immutable tuple of edits, newest first, replaced in one step, so a point
read takes no lock. One MemStore serves all families of its region: a put across families is one insert.

Sorted order is kept in a ``SortedList`` of the keys, fed from a list of fresh keys: an insert costs an
append, and whoever needs the order first merges the fresh ones in.

Threads: writers hold the region's lock; ``keys_between`` takes the MemStore's own lock, because
sortedcontainers is not safe under threads. A frozen MemStore is never written again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from sortedcontainers import SortedList

from regionserver.storage.edits import ROW_OVERHEAD_BYTES, Edit, LoweredRow

# Keys wait unsorted until they are more than this many and more than a fourth of the sorted ones: a key is
# then sorted about five times in C, which is four times cheaper than one insertion into its place.
FRESH_KEYS_MIN = 1024
FRESH_KEYS_SHARE = 4
REBUILD_SHARE = 32  # with more than a 32nd of fresh keys one sort is cheaper than insertions
HOT_ROW_EDITS = 16  # a row with more edits is consolidated
HOT_ROW_SHARE = 32  # and with more than a 32nd of its oldest edit's cells: a wide row costs more to fold

Consolidate = Callable[[bytes, tuple[Edit, ...]], tuple[tuple[Edit, ...], int]]


class MemStore:
    """Edits of one region since the last flush, with exact accounting of their memory."""

    __slots__ = (
        "_fresh",
        "_keys",
        "_lock",
        "consolidate",
        "edit_count",
        "max_sequence_id",
        "rows",
        "size_bytes",
    )

    def __init__(self, consolidate: Consolidate | None = None) -> None:
        self.rows: dict[bytes, tuple[Edit, ...]] = {}
        self._keys: SortedList = SortedList()
        self._fresh: list[bytes] = []
        self._lock = threading.Lock()
        self.consolidate = consolidate
        self.size_bytes = 0
        self.edit_count = 0
        self.max_sequence_id = 0

    def insert(self, row: bytes, edit: Edit, size_bytes: int) -> None:
        """Add an edit newer than every edit of its row. The caller holds the region's lock."""
        old = self.rows.get(row)
        if old is None:
            self.rows[row] = (edit,)
            self._fresh.append(row)
            self.size_bytes += size_bytes + ROW_OVERHEAD_BYTES + len(row)
            self._maybe_merge()
        else:
            self._add_to_row(row, edit, old, size_bytes)
        self.edit_count += 1
        self.max_sequence_id = edit[0]

    def insert_rows(self, rows: Sequence[LoweredRow], sequence_id: int, now: int) -> None:
        """Add the edits of lowered rows, ids ascending from ``sequence_id``. As ``insert``, in one pass."""
        table, fresh_append = self.rows, self._fresh.append
        get, added = table.get, 0
        for row, shape_id, values, stamp, size_bytes in rows:
            edit = (sequence_id, now if stamp is None else stamp, shape_id, values)
            sequence_id += 1
            old = get(row)
            if old is None:
                table[row] = (edit,)
                fresh_append(row)
                added += size_bytes + ROW_OVERHEAD_BYTES + len(row)
            else:
                self._add_to_row(row, edit, old, size_bytes)
        self.size_bytes += added
        self.edit_count += len(rows)
        self.max_sequence_id = sequence_id - 1
        self._maybe_merge()

    def _add_to_row(self, row: bytes, edit: Edit, old: tuple[Edit, ...], size_bytes: int) -> None:
        edits = (edit, *old)
        if (
            len(edits) > HOT_ROW_EDITS
            and len(edits) > HOT_ROW_EDITS + len(old[-1][3]) // HOT_ROW_SHARE
            and self.consolidate is not None
        ):
            edits, freed = self.consolidate(row, edits)
            size_bytes -= freed
        self.rows[row] = edits
        self.size_bytes += size_bytes

    def _maybe_merge(self) -> None:
        """Keep the fresh keys few beside the sorted ones: merging then costs little for each key."""
        fresh = len(self._fresh)
        if fresh > FRESH_KEYS_MIN and fresh * FRESH_KEYS_SHARE > len(self._keys):
            with self._lock:
                self._merge_fresh()

    def _merge_fresh(self) -> None:
        # A writer may append meanwhile: take what is there and leave the list object in place.
        fresh, keys = self._fresh, self._keys
        count = len(fresh)
        if count * REBUILD_SHARE > len(keys):
            merged = list(keys)
            merged += fresh[:count]
            self._keys = SortedList(merged)  # one sort of two runs, in C
        else:
            keys.update(fresh[:count])
        del fresh[:count]

    def keys_between(
        self,
        start: bytes,
        stop: bytes,
        count: int,
        *,
        start_inclusive: bool = True,
        stop_inclusive: bool = False,
        reverse: bool = False,
    ) -> list[bytes]:
        """Up to ``count`` keys between the bounds (``start`` is the low one), from the scan's own end.

        ``b""`` is no bound.
        """
        with self._lock:
            if self._fresh:
                self._merge_fresh()
            keys = self._keys
            low = 0
            if start:
                low = keys.bisect_left(start) if start_inclusive else keys.bisect_right(start)
            high = len(keys)
            if stop:
                high = keys.bisect_right(stop) if stop_inclusive else keys.bisect_left(stop)
            if reverse:
                return list(keys.islice(max(low, high - count), high, reverse=True)) if high > low else []
            return list(keys.islice(low, min(high, low + count))) if high > low else []

    def sorted_keys(self) -> list[bytes]:
        """Every key in order (the caller knows that nobody writes any more)."""
        with self._lock:
            if self._fresh:
                self._merge_fresh()
            return list(self._keys)

    def __iter__(self) -> Iterator[tuple[bytes, tuple[Edit, ...]]]:
        rows = self.rows
        return ((key, rows[key]) for key in self.sorted_keys())

    def __len__(self) -> int:
        return len(self.rows)
