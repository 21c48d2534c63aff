"""Reads a StoreFile: opens it by its tail, answers where a row may be, hands out verified blocks.

A reader with bounds is a half-file reference: after a split both daughters read the same file, each its
own rows. Bounds clip blocks, rows and ranges; ``info`` still describes the whole file.

Invariants
  * Opening reads the footer and the trailer, never a block.
  * No byte of a block is decoded before its crc32c matched.
Threads: any; a reader keeps no state between calls but the shared cache.
"""

from __future__ import annotations

import io
from bisect import bisect_left, bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING

import google_crc32c
import pyarrow as pa
import pyarrow.ipc as ipc

from hyperbase.common.errors import CorruptHFileException
from regionserver.storage.block import Block
from regionserver.storage.bloom import BloomFilter, column_key
from regionserver.storage.store_file_format import (
    FLAG_CONTINUES,
    FLAG_SIMPLE,
    SCHEMA,
    TRAILER_KEY,
    BlockIndex,
    StoreFileInfo,
    Trailer,
    corrupt,
    decode_trailer,
)
from regionserver.storage.store_file_verify import verify_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from regionserver.storage.block_cache import BlockCache
    from regionserver.storage.filesystem import FileSystem, RandomAccessFile

_SCHEMA_MESSAGE = SCHEMA.serialize().to_pybytes()
# One thread: for one block the thread pool costs four times the decoding.
_READ_OPTIONS = ipc.IpcReadOptions(use_threads=False)
_TAIL_BYTES = 64 * 1024
_RUN_BYTES = 1024 * 1024


class BlockNotCachedError(Exception):
    """The read would have to wait for the disk, and its caller does not want that."""


class StoreFileReader:
    """Answers from one file, or from the part of it between ``start_row`` and ``stop_row``.

    Args:
        cache: where decoded blocks are kept; None keeps none.
        start_row, stop_row: included and excluded; ``b""`` is no bound.

    Attributes:
        first_block, last_block: absolute indexes, both included, of the blocks that may hold rows
            inside the bounds; ``last_block < first_block`` when there is none.
        block_count: how many these are.
        block_first_rows: of every block of the file, by absolute index, not clipped.

    Raises:
        FileNotFoundError: no such file.
        StoreFormatException: a newer version wrote it.
        CorruptHFileException: footer or trailer is damaged.
    """

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        *,
        cache: BlockCache | None = None,
        start_row: bytes = b"",
        stop_row: bytes = b"",
    ) -> None:
        self.path = path
        self.start_row = start_row
        self.stop_row = stop_row
        self._cache = cache
        self._file = fs.open_reader(path)
        try:
            trailer = _read_trailer(self._file, path)
        except BaseException:
            self._file.close()
            raise
        self._trailer = trailer
        self._index = trailer.index
        self.info: StoreFileInfo = trailer.info
        self.block_first_rows = trailer.index.first_rows
        self._blooms = [bloom for _, bloom in trailer.bloom]
        self._bloom_first_rows = [row for row, _ in trailer.bloom]
        self._set_bounds()

    def _set_bounds(self) -> None:
        info = self.info
        first_rows = self.block_first_rows
        self._low = max(info.first_row, self.start_row)
        self._high = info.last_row
        self.first_block = self._locate(self.start_row) if self.start_row else 0
        self.last_block = bisect_left(first_rows, self.stop_row) - 1 if self.stop_row else len(first_rows) - 1
        if not info.cell_count or self._low > self._high or (self.stop_row and self._low >= self.stop_row):
            self.first_block, self.last_block = 0, -1
        self.block_count = self.last_block - self.first_block + 1

    @property
    def index(self) -> BlockIndex:
        """What is known of every block of the file without reading it, by absolute index."""
        return self._index

    def may_contain(self, row: bytes) -> bool:
        """False: the row is certainly not here, by key range or Bloom filter."""
        if row < self._low or row > self._high or (self.stop_row and row >= self.stop_row):
            return False
        blooms = self._blooms
        if not blooms:
            return self.block_count > 0
        if len(blooms) == 1:
            return blooms[0].may_contain(row)
        return self._bloom_of(row).may_contain(row)

    def may_contain_cell(self, row: bytes, qualifier: bytes) -> bool:
        """False: neither a cell of the column nor a family marker of the row is here."""
        if self.info.bloom != "ROWCOL":
            return self.may_contain(row)
        if row < self._low or row > self._high or (self.stop_row and row >= self.stop_row):
            return False
        if not self._blooms:
            return self.block_count > 0
        bloom = self._bloom_of(row)
        if bloom.may_contain(column_key(row, qualifier)):
            return True
        return self.info.family_marker_count > 0 and bloom.may_contain(column_key(row, b""))

    def _bloom_of(self, row: bytes) -> BloomFilter:
        return self._blooms[max(0, bisect_right(self._bloom_first_rows, row) - 1)]

    def find_block(self, row: bytes) -> int:
        """The first block inside the bounds that may hold ``row`` or, if none does, rows after it.

        A row before the first block gets the first, a row after the last the last.
        """
        return min(max(self._locate(row), self.first_block), self.last_block)

    def _locate(self, row: bytes) -> int:
        first_rows = self.block_first_rows
        place = bisect_left(first_rows, row)
        if place < len(first_rows) and first_rows[place] == row and not self.continues(place):
            return place
        return max(place - 1, 0)

    def continues(self, index: int) -> bool:
        """Whether the first row of the block began in the block before; False after the last block."""
        flags = self._index.flags
        return index < len(flags) and bool(flags[index] & FLAG_CONTINUES)

    def block(self, index: int, cache: bool = True, *, load: bool = True) -> Block:
        """The decoded block, clipped to the bounds; from the cache, and kept there if ``cache``.

        Raises:
            BlockNotCachedError: it is not in the cache, and ``load`` is not wanted.
            IndexError: the index is outside ``first_block..last_block``.
            CorruptHFileException: the block is damaged.
        """
        shared = self._cache
        if shared is None:
            if not load:
                raise BlockNotCachedError(self.path)
            return self._decode(index)
        key: tuple[object, ...] = (self.path, index)
        if self._cuts(index):
            key = (self.path, index, self.start_row, self.stop_row)
        found = shared.get(key)
        if found is None:
            if not load:
                raise BlockNotCachedError(self.path)
            found = self._decode(index)
            if cache:
                shared.put(key, found, found.nbytes)
        return found

    def starts_in_cache(self, row: bytes) -> bool:
        """The block where a scan from ``row`` begins is in the cache, or the file ends before it."""
        if not self.block_count or row > self._high:
            return True
        try:
            self.block(self.find_block(row), load=False)
        except BlockNotCachedError:
            return False
        return True

    def batch(self, index: int) -> pa.RecordBatch:
        """The block's cells as Arrow columns, verified and clipped to the bounds; not cached."""
        self._check_bounds(index)
        (batch,) = self._read_run(index, index + 1)
        return self._clip(batch) if self._cuts(index) else batch

    def batches(
        self, first: int, last: int, columns: tuple[int, ...] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """As ``batch`` for ``first..last``, both included, with one read per ``_RUN_BYTES`` of blocks.

        ``columns``: only these of ``SCHEMA``, ascending, the row first; the others are not decompressed.
        """
        begin = first
        while begin <= last:
            end = self._run_end(begin, last)
            for index, batch in enumerate(self._read_run(begin, end, columns), begin):
                yield self._clip(batch) if self._cuts(index) else batch
            begin = end

    def middle_row(self) -> bytes | None:
        """First row of the middle block inside the bounds: where to split. None without blocks."""
        if self.block_count <= 0:
            return None
        row = self.block_first_rows[self.first_block + self.block_count // 2]
        return max(row, self._low)

    def verify(self) -> None:
        """Read the whole file, whatever the bounds, and check all that the index and trailer claim.

        Raises:
            CorruptHFileException: naming the first block that is damaged, out of order or miscounted.
        """
        verify_blocks(self.path, self._trailer, lambda index: self._read_run(index, index + 1)[0])

    def close(self) -> None:
        """Give the file handle back; blocks handed out stay valid."""
        self._file.close()

    def _cuts(self, index: int) -> bool:
        """Whether the bounds may cut the block."""
        return (index == self.first_block and bool(self.start_row)) or (
            index == self.last_block and bool(self.stop_row)
        )

    def _clip(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = batch.column(0).to_pylist()
        begin = bisect_left(rows, self.start_row)
        end = bisect_left(rows, self.stop_row) if self.stop_row else len(rows)
        return batch.slice(begin, max(0, end - begin))

    def _decode(self, index: int) -> Block:
        batch = self.batch(index)
        entry = self._index
        shape = entry.shape_ids[index]
        flags = entry.flags[index]
        return Block(
            batch,
            index,
            simple=bool(flags & FLAG_SIMPLE),
            uniform=entry.shapes[shape] if shape >= 0 else None,
            continues=bool(flags & FLAG_CONTINUES),
            min_timestamp=entry.min_timestamps[index],
            max_timestamp=entry.max_timestamps[index],
            max_sequence_id=entry.max_sequence_ids[index],
        )

    def _check_bounds(self, index: int) -> None:
        if not self.first_block <= index <= self.last_block:
            raise IndexError(
                f"block {index} of StoreFile {self.path} is outside {self.first_block}..{self.last_block}"
            )

    def _run_end(self, begin: int, last: int) -> int:
        """The block after the last one to read together with ``begin``."""
        self._check_bounds(begin)
        self._check_bounds(last)
        stop = self._index.offsets[begin] + _RUN_BYTES
        return max(begin + 1, min(bisect_left(self._index.offsets, stop, begin), last + 1))

    def _read_run(self, begin: int, end: int, columns: tuple[int, ...] | None = None) -> list[pa.RecordBatch]:
        """Verified blocks ``begin <= i < end``: they follow each other in the file."""
        entry = self._index
        start = entry.offsets[begin]
        data = self._file.read_at(start, entry.offsets[end - 1] + entry.lengths[end - 1] - start)
        for index in range(begin, end):
            offset = entry.offsets[index] - start
            block = data if end - begin == 1 else data[offset : offset + entry.lengths[index]]
            self._check_block(index, block)
        index = begin
        batches = []
        try:
            stream = ipc.open_stream(_SCHEMA_MESSAGE + data, options=_read_options(columns))
            for index in range(begin, end):  # noqa: B007 - named in the error below
                batches.append(stream.read_next_batch())
        except (pa.ArrowException, OSError, StopIteration) as error:
            raise self._damaged(index, "it is no Arrow record batch") from error
        for index, batch in enumerate(batches, begin):
            if batch.num_rows != entry.cell_counts[index]:
                raise self._damaged(index, f"it holds {batch.num_rows} cells, not {entry.cell_counts[index]}")
        return batches

    def _check_block(self, index: int, data: bytes) -> None:
        length = self._index.lengths[index]
        if len(data) != length:
            raise self._damaged(index, f"{len(data)} of its {length} bytes are left")
        if google_crc32c.value(data) != self._index.crcs[index]:
            raise self._damaged(index, "its checksum does not match")

    def _damaged(self, index: int, what: str) -> CorruptHFileException:
        return corrupt(self.path, what, block=index, offset=self._index.offsets[index])


@lru_cache
def _read_options(columns: tuple[int, ...] | None) -> ipc.IpcReadOptions:
    if columns is None:
        return _READ_OPTIONS
    return ipc.IpcReadOptions(use_threads=False, included_fields=list(columns))


class _Tail(io.RawIOBase):
    """The file as Arrow wants it, with its tail already in memory."""

    def __init__(self, file: RandomAccessFile) -> None:
        super().__init__()
        self._file = file
        self._size = file.size
        self._position = 0
        self._tail_at = max(0, self._size - _TAIL_BYTES)
        self._tail = file.read_at(self._tail_at, self._size - self._tail_at)
        self.failure: OSError | None = None

    def size(self) -> int:
        return self._size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._position, self._size)[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, length: int = -1) -> bytes:
        left = max(0, self._size - self._position)
        length = left if length < 0 else min(length, left)
        at = self._position - self._tail_at
        if at >= 0:
            data = self._tail[at : at + length]
        else:
            try:
                data = self._file.read_at(self._position, length)
            except OSError as error:
                self.failure = error
                raise
        self._position += len(data)
        return data


def _read_trailer(file: RandomAccessFile, path: str) -> Trailer:
    tail = _Tail(file)
    try:
        reader = ipc.open_file(tail, options=_READ_OPTIONS)
        count = reader.num_record_batches
        batch, metadata = reader.get_batch_with_custom_metadata(count - 1)
        text = None if metadata is None else metadata.get(TRAILER_KEY.encode())
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        KeyError,
        IndexError,
        OverflowError,
        MemoryError,
    ) as error:
        if tail.failure is not None:  # the disk failed, which says nothing about the file
            raise tail.failure from error
        raise corrupt(path, f"its {file.size} bytes are no complete Arrow IPC file") from error
    if text is None:
        raise corrupt(path, "its last record batch carries no StoreFile trailer")
    trailer = decode_trailer(text, path, file.size)
    if batch.num_rows or count != trailer.info.block_count + 1:
        raise CorruptHFileException(
            f"StoreFile {path} is damaged: its footer lists {count} record batches, "
            f"not {trailer.info.block_count + 1}. Restore the file from a copy or a replica."
        )
    return trailer
