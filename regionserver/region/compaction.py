"""Compaction: StoreFiles of one Store become one, in key-aligned chunks of bounded memory.

Each input is read block by block, always from the input whose next block begins lowest. When a chunk's
worth of bytes is at hand, every cell below the lowest row still unread is complete: those cells are
merged and written, the rest waits. So memory is about four times ``chunk_bytes``, whatever the sizes of
the files; only a single row larger than a chunk takes more.

Nothing here touches the inputs or names the output in the Store: that is the caller's next manifest.
The output appears under its path, synced, as the last step, or not at all.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import msgpack
import pyarrow as pa

from hyperbase.common.errors import CompactionCancelledException, IllegalArgumentException
from regionserver.region.matcher import StorePolicy
from regionserver.region.vector_merge import merge_tables
from regionserver.storage.filesystem import FileSystem
from regionserver.storage.store_file import StoreFileInfo, StoreFileReader, StoreFileWriter

# 2 MiB, thousands of cells, spread the cost of a chunk's kernels well enough (4 and 8 MiB measured no
# faster) and keep a worker below 150 MB, of which the interpreter with Arrow takes 75.
CHUNK_BYTES = 2 * 1024 * 1024
_SLEEP_SLICE_S = 0.1


@dataclass(frozen=True, slots=True)
class CompactionInput:
    """One StoreFile, or the part of it from ``start_row`` (included) to ``stop_row``; ``b""`` is no bound."""

    path: str
    start_row: bytes = b""
    stop_row: bytes = b""


@dataclass(frozen=True, slots=True)
class CompactionJob:
    """All a worker needs to know. ``root`` is the store's directory; unused when a file system is given."""

    root: str
    inputs: tuple[CompactionInput, ...]
    output: str
    family: bytes
    policy: StorePolicy
    block_size: int = 65536
    compression: str = "NONE"
    bloom: str = "ROW"
    throttle_bytes_per_s: int = 0  # uncompressed bytes read a second; 0 is unlimited
    chunk_bytes: int = CHUNK_BYTES
    table: str | None = None  # noted in the file for people who look at it

    def __post_init__(self) -> None:
        if not self.inputs:
            raise IllegalArgumentException(f"the compaction into {self.output} has no input files")
        if self.chunk_bytes <= 0:
            raise IllegalArgumentException(f"chunk_bytes must be positive: {self.chunk_bytes}")

    def to_bytes(self) -> bytes:
        """The job as msgpack, for another process of the same version."""
        packed: bytes = msgpack.packb(asdict(self))
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> CompactionJob:
        """Read what ``to_bytes`` wrote."""
        fields: dict[str, Any] = msgpack.unpackb(data)
        fields["inputs"] = tuple(CompactionInput(**each) for each in fields["inputs"])
        fields["policy"] = StorePolicy(**fields["policy"])
        return cls(**fields)


def run_compaction(
    job: CompactionJob, fs: FileSystem, *, cancelled: Callable[[], bool] | None = None
) -> StoreFileInfo | None:
    """Write the compacted file; ``None`` when no cell survives, and then there is no file.

    Args:
        cancelled: asked between chunks.

    Raises:
        CompactionCancelledException: ``cancelled`` said so; no output is left.
        CorruptHFileException: an input is damaged. FileNotFoundError: an input is gone.
        FileExistsError: the output's name is taken. OSError: the disk failed or is full.
    """
    pace = _Pace(job.throttle_bytes_per_s, cancelled or _never, job.output)
    writer: StoreFileWriter | None = None
    readers: list[StoreFileReader] = []
    try:
        for each in job.inputs:
            readers.append(StoreFileReader(fs, each.path, start_row=each.start_row, stop_row=each.stop_row))
        policy = replace(job.policy, earliest_put_timestamp=_earliest_put(readers, job.policy))
        for tables, size in _chunks(readers, job.chunk_bytes):
            merged = merge_tables(tables, policy)
            if merged.num_rows:
                writer = writer or _open_writer(job, fs)
                writer.append(merged)
            del tables, merged  # before the next chunk is read
            pace.after(size)
        return None if writer is None else writer.finish()
    except BaseException:
        if writer is not None:
            writer.abort()
        raise
    finally:
        for reader in readers:
            reader.close()


def _earliest_put(readers: list[StoreFileReader], policy: StorePolicy) -> int:
    """Tombstones older than every put of the inputs have nothing left to mask."""
    return max(policy.earliest_put_timestamp, min(reader.info.min_put_timestamp for reader in readers))


def _open_writer(job: CompactionJob, fs: FileSystem) -> StoreFileWriter:
    return StoreFileWriter(
        fs,
        job.output,
        family=job.family,
        block_size=job.block_size,
        compression=job.compression,
        bloom=job.bloom,
        table=job.table,
    )


def _never() -> bool:
    return False


class _Pace:
    """Keeps the average below the limit, and stops when told to."""

    def __init__(self, bytes_per_s: int, cancelled: Callable[[], bool], output: str) -> None:
        self._bytes_per_s = bytes_per_s
        self._cancelled = cancelled
        self._output = output
        self._due = time.monotonic()

    def after(self, size: int) -> None:
        """Sleep off ``size`` bytes."""
        if self._bytes_per_s:
            self._due = max(self._due, time.monotonic() - 1.0) + size / self._bytes_per_s
        while True:
            if self._cancelled():
                raise CompactionCancelledException(f"the compaction into {self._output} was cancelled")
            left = self._due - time.monotonic() if self._bytes_per_s else 0.0
            if left <= 0:
                return
            time.sleep(min(left, _SLEEP_SLICE_S))


# --- key-aligned chunks -------------------------------------------------------------------------------


class _Input:
    """One file on its way through: batches read and not yet merged, and the place of the next block."""

    def __init__(self, reader: StoreFileReader, step_bytes: int) -> None:
        self._reader = reader
        self._next = reader.first_block
        blocks = max(1, reader.info.block_count)
        self._step = max(1, step_bytes * blocks // max(1, reader.info.raw_bytes))
        self._pending: list[pa.RecordBatch] = []

    @property
    def next_row(self) -> bytes | None:
        """No row still unread is below this one; ``None`` at the end of the file."""
        if self._next > self._reader.last_block:
            return None
        return self._reader.block_first_rows[self._next]

    def read(self) -> int:
        """Read some blocks; returns their bytes in memory."""
        last = min(self._next + self._step - 1, self._reader.last_block)
        size = 0
        for batch in self._reader.batches(self._next, last):
            if batch.num_rows:
                self._pending.append(batch)
                size += batch.nbytes
        self._next = last + 1
        return size

    def take(self, stop_row: bytes | None) -> tuple[pa.Table | None, int]:
        """The cells of rows below ``stop_row``, and their bytes; the others stay pending."""
        taken: list[pa.RecordBatch] = []
        left: list[pa.RecordBatch] = []
        for batch in self._pending:
            end = batch.num_rows if stop_row is None else _cells_below(batch, stop_row)
            if end:
                taken.append(batch.slice(0, end))
            if end < batch.num_rows:
                left.append(batch.slice(end))
        self._pending = left
        if not taken:
            return None, 0
        return pa.Table.from_batches(taken), sum(batch.nbytes for batch in taken)


def _chunks(readers: list[StoreFileReader], chunk_bytes: int) -> Iterator[tuple[list[pa.Table], int]]:
    """Tables that together hold all cells of some rows, and their bytes; rows ascend from chunk to chunk."""
    inputs = [_Input(reader, chunk_bytes // (4 * len(readers))) for reader in readers]
    unread = [(row, number) for number, each in enumerate(inputs) if (row := each.next_row) is not None]
    heapq.heapify(unread)
    held = 0
    while unread:
        row, number = unread[0]
        held += inputs[number].read()
        following = inputs[number].next_row
        if following is None:
            heapq.heappop(unread)
        else:
            heapq.heapreplace(unread, (following, number))
        if unread and (held < chunk_bytes or unread[0][0] == row):
            continue  # a row larger than a chunk is read to its end
        tables = []
        size = 0
        for each in inputs:
            table, taken = each.take(unread[0][0] if unread else None)
            if table is not None:
                tables.append(table)
                size += taken
        held -= size
        if tables:
            yield tables, size


def _cells_below(batch: pa.RecordBatch, row: bytes) -> int:
    """How many cells, from the first one on, belong to rows below ``row``."""
    rows = batch.column(0)
    low, high = 0, int(batch.num_rows)
    if rows[high - 1].as_py() < row:
        return high
    while low < high:
        middle = (low + high) // 2
        if rows[middle].as_py() < row:
            low = middle + 1
        else:
            high = middle
    return low
