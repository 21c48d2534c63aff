"""Writes a StoreFile: cuts sorted cells into blocks, one Arrow record batch each, and indexes them.

Blocks are cut by bytes of keys and values, between rows when a row begins in the block; a row larger
than a block spans several, and a value larger than a block has one of its own.

Invariants
  * A block is written only when the cell after it is known (or none follows), because its flags say
    whether its last row and column go on.
  * The file appears under its name only in ``finish()``, synced.
Threads: one owner.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as ipc

from hyperbase.common.errors import IllegalArgumentException, IllegalStateException
from hyperbase.common.model import CellType
from regionserver.storage.bloom import BloomBuilder
from regionserver.storage.store_file_format import (
    BLOOM_TYPES,
    COMPRESSIONS,
    FLAG_CONTINUES,
    FLAG_SIMPLE,
    FORMAT_VERSION,
    QUALIFIER,
    ROW,
    SCHEMA,
    SEQUENCE_ID,
    TAGS,
    TIMESTAMP,
    TRAILER_KEY,
    TYPE,
    BlockIndex,
    Ints,
    StoreFileInfo,
    Trailer,
    encode_trailer,
)
from regionserver.storage.store_file_totals import (
    Bools,
    ChunkView,
    FileTotals,
    concat,
    family_markers,
    numbers,
    offsets_of,
    raw_ends,
    wide_deletes,
)

if TYPE_CHECKING:
    from regionserver.storage.filesystem import FileSystem

# Small appends are gathered up to this many bytes: Arrow's cost per call is spread over some blocks.
_GATHER_BYTES = 256 * 1024
# A larger append is taken in parts: temporaries stay small and Arrow's 32-bit offsets cannot overflow.
_LARGEST_CHUNK_BYTES = 128 * 1024 * 1024
_FLUSH_BYTES = 2 * 1024 * 1024
_LARGEST_SHAPE = 256  # qualifiers of a uniform row worth listing in the index
_MOST_SHAPES = 1024


class StoreFileWriter:
    """Writes one file at ``path``; ``finish()`` makes it visible, ``abort()`` leaves nothing.

    Args:
        family: the column family; text in the Arrow metadata, exact bytes in the trailer.
        block_size: bytes of keys and values of one block.
        compression: "NONE", "LZ4" or "ZSTD".
        bloom: "NONE", "ROW" or "ROWCOL".
        table: noted in the Arrow metadata for people who look at the file.
    """

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        *,
        family: bytes,
        block_size: int = 65536,
        compression: str = "NONE",
        bloom: str = "ROW",
        table: str | None = None,
    ) -> None:
        if block_size <= 0:
            raise IllegalArgumentException(f"block_size must be positive: {block_size}")
        for kind, value, known in (("compression", compression, COMPRESSIONS), ("bloom", bloom, BLOOM_TYPES)):
            if value not in known:
                raise IllegalArgumentException(f"unknown {kind} {value!r}: use one of {', '.join(known)}")
        self.path = path
        self._family = family
        self._block_size = block_size
        self._compression = compression
        self._bloom_type = bloom
        self._bloom = BloomBuilder()
        self._totals = FileTotals()
        self._index = BlockIndex([], [], [], [], [], [], [], [], [], [], [])
        self._shapes: dict[tuple[bytes, ...], int] = {}
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0
        self._last_appended: bytes | None = None  # row of the last cell append() took
        self._last_written: tuple[bytes, bytes] | None = None  # row and qualifier of the last cell in a block
        self._output = _BlockOutput(fs, path, _arrow_schema(family, table), compression)
        self._open = True

    def append(self, batch: pa.RecordBatch) -> None:
        """Take cells in store order, all after the cells appended before.

        Raises:
            IllegalArgumentException: the schema is not ``SCHEMA`` or rows go backwards; the file must be
                aborted then.
        """
        self._check_open()
        if not batch.num_rows:
            return
        batch = _conform(batch)
        first_row = batch.column(ROW)[0].as_py()
        if self._last_appended is not None and first_row < self._last_appended:
            raise _backwards(self.path, self._last_appended, first_row)
        self._last_appended = batch.column(ROW)[batch.num_rows - 1].as_py()
        self._gather(batch)

    def finish(self) -> StoreFileInfo:
        """Write the trailer and make the file durable and visible."""
        self._check_open()
        self._write_pending(final=True)
        info = StoreFileInfo(
            family=self._family,
            block_count=len(self._index),
            file_bytes=0,
            compression=self._compression,
            bloom=self._bloom_type,
            format_version=FORMAT_VERSION,
            **self._totals.as_dict(),  # type: ignore[arg-type]
        )
        self._index.shapes.extend(self._shapes)
        bloom = self._bloom.finish()
        data_end = self._output.tell()
        file_bytes = self._output.finish(encode_trailer(Trailer(info, self._index, bloom, data_end)))
        self._open = False
        return info.with_file_bytes(file_bytes)

    def abort(self) -> None:
        """Drop what was written. Does nothing after ``finish()``."""
        if self._open:
            self._open = False
            self._output.abort()

    def _check_open(self) -> None:
        if not self._open:
            raise IllegalStateException(f"the writer of StoreFile {self.path} is finished")

    def _gather(self, batch: pa.RecordBatch) -> None:
        size = batch.nbytes
        if size > _LARGEST_CHUNK_BYTES and batch.num_rows > 1:
            half = batch.num_rows // 2
            self._gather(batch.slice(0, half))
            self._gather(batch.slice(half))
            return
        if size + self._pending_bytes > 2 * _LARGEST_CHUNK_BYTES:
            self._write_pending(final=False)
        self._pending.append(batch)
        self._pending_bytes += size
        if self._pending_bytes >= max(_GATHER_BYTES, 2 * self._block_size):
            self._write_pending(final=False)

    def _write_pending(self, *, final: bool) -> None:
        """Write every block whose end is certain; what is left stays pending."""
        if not self._pending:
            return
        pending = self._pending
        chunk = pending[0] if len(pending) == 1 else concat(pending)
        view = ChunkView(chunk, self._last_written)
        edges = _cut(raw_ends(chunk), view.row_starts, self._block_size, final)
        end = edges[-1]
        if end:
            self._write_blocks(view, np.array(edges))
            self._account(view, end)
        rest = chunk.slice(end)
        self._pending = [rest] if rest.num_rows else []
        self._pending_bytes = rest.nbytes if rest.num_rows else 0

    def _write_blocks(self, view: ChunkView, edges: Ints) -> None:
        chunk = view.batch
        index = self._index
        starts, ends = edges[:-1], edges[1:]
        lengths = ends - starts
        simple, continues, continued = _block_flags(view, starts, ends)
        flags = np.where(simple, FLAG_SIMPLE, 0) | np.where(continues, FLAG_CONTINUES, 0)
        whole_rows = simple & ~continues & ~continued
        rows = chunk.column(ROW).take(pa.array(starts)).to_pylist()
        for begin, length, uniform in zip(
            starts.tolist(), lengths.tolist(), whole_rows.tolist(), strict=True
        ):
            shape = self._shape_of(view, begin, begin + length) if uniform else -1
            self._output.write(chunk.slice(begin, length), index)
            index.shape_ids.append(shape)
        self._output.flush(index)
        end = int(edges[-1])
        stamps = numbers(chunk.column(TIMESTAMP))[:end]
        types = numbers(chunk.column(TYPE))[:end]
        lowest = np.minimum.reduceat(stamps, starts)
        lowest[np.logical_or.reduceat(wide_deletes(types), starts)] = 0
        index.first_rows.extend(rows)
        index.cell_counts.extend(lengths.tolist())
        index.flags.extend(flags.tolist())
        index.min_timestamps.extend(lowest.tolist())
        index.max_timestamps.extend(np.maximum.reduceat(stamps, starts).tolist())
        sequence_ids = numbers(chunk.column(SEQUENCE_ID))[:end]
        index.max_sequence_ids.extend(np.maximum.reduceat(sequence_ids, starts).tolist())

    def _shape_of(self, view: ChunkView, begin: int, end: int) -> int:
        """The id of the qualifiers every row of ``begin <= i < end`` has; -1 when rows differ."""
        low, high = np.searchsorted(view.row_starts, (begin, end)).tolist()
        width, odd = divmod(end - begin, high - low)
        if odd or width > _LARGEST_SHAPE:
            return -1
        if width > 1 and not np.array_equal(view.row_starts[low:high], np.arange(begin, end, width)):
            return -1
        column = view.batch.column(QUALIFIER).slice(begin, end - begin)
        offsets = offsets_of(column)
        sizes = np.diff(offsets)
        if not np.array_equal(sizes[width:], sizes[:-width]):
            return -1
        period = int(offsets[width] - offsets[0])
        data = column.buffers()[2]
        if period and data is not None:
            text = np.frombuffer(data, np.uint8)[int(offsets[0]) : int(offsets[-1])]
            if not np.array_equal(text[period:], text[:-period]):
                return -1
        shape = tuple(column.slice(0, width).to_pylist())
        known = self._shapes.get(shape)
        if known is None:
            if len(self._shapes) >= _MOST_SHAPES:
                return -1
            known = self._shapes[shape] = len(self._shapes)
        return known

    def _account(self, view: ChunkView, end: int) -> None:
        """Totals, Bloom filter and row order of the cells that are now in blocks."""
        rows = view.distinct_rows(end)
        if len(rows):
            first = rows[0].as_py()
            if self._last_written is not None and first < self._last_written[0]:
                raise _backwards(self.path, self._last_written[0], first)
            if pc.any(pc.greater_equal(rows.slice(0, len(rows) - 1), rows.slice(1))).as_py():
                raise IllegalArgumentException(f"StoreFile {self.path}: rows of one append go backwards")
        batch = view.batch.slice(0, end)
        markers = family_markers(numbers(batch.column(TYPE)))
        if markers.any() and np.diff(offsets_of(batch.column(QUALIFIER)))[markers].any():
            raise IllegalArgumentException(
                f"StoreFile {self.path}: a family delete has a qualifier; "
                "readers look for it under the empty one"
            )
        self._totals.add(batch, len(rows))
        if self._bloom_type != "NONE":
            columns: list[bytes] = []
            if self._bloom_type == "ROWCOL":
                new = view.columns(end)
                separator = pa.scalar(b"\0", pa.binary())
                columns = pc.binary_join_element_wise(new.column(0), new.column(1), separator).to_pylist()
            self._bloom.add(rows.to_pylist(), columns, continues=not view.new_row[0])
        self._last_written = (batch.column(ROW)[end - 1].as_py(), batch.column(QUALIFIER)[end - 1].as_py())


class _BlockOutput:
    """The Arrow file writer over a ``FileWriter``: remembers where each block lies and its checksum.

    Arrow writes a batch in some twenty pieces. They are gathered in C++, so that a flush beside busy
    threads waits for the interpreter once per ``_FLUSH_BYTES`` and not once per piece.
    """

    def __init__(self, fs: FileSystem, path: str, schema: pa.Schema, compression: str) -> None:
        self._file = fs.open_writer(path)
        self._sink = _Sink()
        self._buffered = pa.BufferedOutputStream(pa.PythonFile(self._sink, mode="w"), _FLUSH_BYTES)
        codec = None if compression == "NONE" else _codec(compression)
        options = ipc.IpcWriteOptions(compression=codec, use_threads=False)
        self._writer = ipc.new_file(self._buffered, schema, options=options)
        # Magic (8 bytes) and schema message come before the first block; Arrow writes them with it.
        self._edges = [8 + len(ipc.read_message(schema.serialize()).serialize(alignment=8))]
        self._written = 0  # bytes given to the file

    def write(self, batch: pa.RecordBatch, index: BlockIndex) -> None:
        """Add a block; its place and checksum reach ``index`` with a flush."""
        self._writer.write_batch(batch)
        self._edges.append(self._buffered.tell())
        if self._edges[-1] - self._written >= _FLUSH_BYTES:
            self.flush(index)

    def flush(self, index: BlockIndex) -> None:
        """Give gathered blocks to the file and enter them into ``index``."""
        self._buffered.flush()
        data = self._sink.take()
        if not data:
            return
        base = self._written
        edges = self._edges
        for begin, end in itertools.pairwise(edges):
            index.offsets.append(begin)
            index.lengths.append(end - begin)
            index.crcs.append(google_crc32c.value(data[begin - base : end - base]))
        self._edges = edges[-1:]
        self._file.write(data)
        self._written += len(data)

    def tell(self) -> int:
        """The offset after the last block."""
        return self._edges[-1]

    def finish(self, trailer: bytes) -> int:
        """Write trailer and Arrow footer, make the file visible; returns its size."""
        empty = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in SCHEMA], schema=SCHEMA)
        self._writer.write_batch(empty, custom_metadata={TRAILER_KEY: trailer})
        self._writer.close()
        self._buffered.flush()
        data = self._sink.take()
        self._file.write(data)
        self._written += len(data)
        self._file.commit()
        return self._written

    def abort(self) -> None:
        """Leave nothing behind."""
        self._file.abort()


class _Sink:
    """The file object Arrow writes to: keeps the pieces until they are taken."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Nothing is held back here: ``take`` empties it."""

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


def _codec(compression: str) -> pa.Codec:
    if compression == "ZSTD":
        return pa.Codec("zstd", compression_level=1)
    return pa.Codec("lz4")


def _arrow_schema(family: bytes, table: str | None) -> pa.Schema:
    metadata = {
        "hyperbase.family": family.decode("utf-8", "backslashreplace"),
        "hyperbase.format_version": str(FORMAT_VERSION),
    }
    if table is not None:
        metadata["hyperbase.table"] = table
    return SCHEMA.with_metadata(metadata)


def _conform(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch under ``SCHEMA`` exactly: nullability and metadata of the caller's do not matter."""
    if batch.schema.names != SCHEMA.names or batch.schema.types != SCHEMA.types:
        raise IllegalArgumentException(f"a StoreFile takes the columns {SCHEMA}, not {batch.schema}")
    for field, column in zip(SCHEMA, batch.columns, strict=True):
        if not field.nullable and column.null_count:
            raise IllegalArgumentException(f"column {field.name} holds nulls: every cell needs one")
    return pa.RecordBatch.from_arrays(batch.columns, schema=SCHEMA)


def _backwards(path: str, before: bytes, row: bytes) -> IllegalArgumentException:
    return IllegalArgumentException(f"StoreFile {path}: row {row!r} was appended after row {before!r}")


def _cut(ends: Ints, row_starts: Ints, block_size: int, final: bool) -> list[int]:
    """Cell indexes where blocks begin, and where the last one ends. ``[0]``: nothing to write yet."""
    count = len(ends) - 1
    edges = [0]
    begin = 0
    while begin < count:
        end = int(np.searchsorted(ends, ends[begin] + block_size, "right")) - 1
        if end <= begin:  # one value larger than a block
            end = begin + 1
        elif end < count:
            row = int(row_starts[np.searchsorted(row_starts, end, "right") - 1]) if len(row_starts) else 0
            if row > begin:
                end = row
        if end >= count and not final:
            break
        edges.append(end)
        begin = end
    return edges


def _block_flags(view: ChunkView, starts: Ints, ends: Ints) -> tuple[Bools, Bools, Bools]:
    """For each block: simple; its first row began before it; its last row goes on after it."""
    end = int(ends[-1])
    count = view.batch.num_rows
    odd = numbers(view.batch.column(TYPE))[:end] != CellType.PUT
    tags = view.batch.column(TAGS)
    if tags.null_count != count:
        odd |= pc.is_valid(tags).to_numpy(zero_copy_only=False)[:end]
    odd |= ~view.new_column[:end]
    simple = ~np.logical_or.reduceat(odd, starts)
    last = end == count
    inner = ends[:-1] if last else ends
    padding = np.zeros(1 if last else 0, np.bool_)
    simple &= ~np.concatenate((~view.new_column[inner], padding))
    continued = np.concatenate((~view.new_row[inner], padding))
    return simple, ~view.new_row[starts], continued
