"""What StoreFile writer and reader share: schema, index and trailer of one immutable file of cells.

File    := Arrow IPC file: one record batch per block, then one batch of 0 rows carrying the trailer.
Trailer := base64(magic b"HBSTORE\\x01" 8 | version u32 | crc32c u32 | length u64 | payload msgpack),
           the ``custom_metadata`` value ``hyperbase.trailer`` of that last batch. Big-endian; crc32c
           covers version, length and payload. base64 because Arrow's metadata is text for most readers.

``docs/formats.md`` is the authority on the bytes.

Invariants
  * Cells of a file are in store order; a block is a contiguous run of them.
  * The index knows offset, length and crc32c of every block: nothing of a block is used unverified.
  * Time ranges never hide a marker: family and column deletes pull ``min_timestamp`` down to 0.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import google_crc32c
import msgpack
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hyperbase.common.errors import CorruptHFileException, StoreFormatException
from regionserver.storage.bloom import BloomFilter

FORMAT_VERSION = 1

SCHEMA = pa.schema(
    [
        pa.field("row", pa.binary(), nullable=False),
        pa.field("qualifier", pa.binary(), nullable=False),
        pa.field("timestamp", pa.int64(), nullable=False),
        pa.field("type", pa.uint8(), nullable=False),
        pa.field("value", pa.binary(), nullable=False),
        pa.field("sequence_id", pa.int64(), nullable=False),
        pa.field("tags", pa.binary(), nullable=True),
    ]
)
ROW, QUALIFIER, TIMESTAMP, TYPE, VALUE, SEQUENCE_ID, TAGS = range(7)

# timestamp, type and sequence id: what a cell costs beside its row, qualifier, value and tags.
CELL_FIXED_BYTES = 17

TRAILER_KEY = "hyperbase.trailer"
TRAILER_MAGIC = b"HBSTORE\x01"
_TRAILER_HEADER = struct.Struct(">8sIIQ")
_TRAILER_CHECKED = struct.Struct(">IQ")
assert _TRAILER_HEADER.size == 24
assert _TRAILER_CHECKED.size == 12

# Persisted: numbers are never reused.
FLAG_SIMPLE = 1  # only puts without tags, every (row, qualifier) once, also across the block's edges
FLAG_CONTINUES = 2  # the block's first row began in the block before

COMPRESSIONS = ("NONE", "LZ4", "ZSTD")
BLOOM_TYPES = ("NONE", "ROW", "ROWCOL")

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StoreFileInfo:
    """What is known of a whole StoreFile without reading a block. Times in ms, sizes in bytes."""

    family: bytes
    cell_count: int
    row_count: int
    block_count: int
    first_row: bytes  # b"" in a file without cells
    last_row: bytes
    min_timestamp: int  # 0 when the file holds family or column deletes: they mask everything older
    max_timestamp: int
    min_put_timestamp: int  # MAX_TIMESTAMP when there is no put
    min_sequence_id: int
    max_sequence_id: int
    put_count: int
    delete_count: int  # markers of any kind
    family_marker_count: int  # DELETE_FAMILY and DELETE_FAMILY_VERSION
    has_ttl: bool  # at least one cell carries tags
    raw_bytes: int  # keys and values before compression
    file_bytes: int
    compression: str
    bloom: str
    format_version: int = FORMAT_VERSION

    def with_file_bytes(self, file_bytes: int) -> StoreFileInfo:
        """The same info once the size of the file is known."""
        return replace(self, file_bytes=file_bytes)


@dataclass(frozen=True, slots=True)
class BlockIndex:
    """One entry per block, column by column; ``shapes`` are the qualifier lists uniform blocks name."""

    first_rows: list[bytes]
    offsets: list[int]  # of the encapsulated IPC message in the file
    lengths: list[int]
    cell_counts: list[int]
    crcs: list[int]  # crc32c of the message, metadata and body
    flags: list[int]
    shape_ids: list[int]  # -1: not uniform
    min_timestamps: list[int]
    max_timestamps: list[int]
    max_sequence_ids: list[int]
    shapes: list[tuple[bytes, ...]]

    def __len__(self) -> int:
        return len(self.first_rows)


_INDEX_ARRAYS = (
    "offsets", "lengths", "cell_counts", "crcs", "flags", "shape_ids",
    "min_timestamps", "max_timestamps", "max_sequence_ids",
)  # fmt: skip
_INFO_FIELDS = frozenset(field.name for field in fields(StoreFileInfo)) - {"file_bytes"}


@dataclass(frozen=True, slots=True)
class Trailer:
    """Everything the last batch carries. ``bloom`` chunks cover ascending row ranges."""

    info: StoreFileInfo
    index: BlockIndex
    bloom: list[tuple[bytes, BloomFilter]]  # (first row of the chunk, its filter)
    data_end: int  # offset after the last block


def encode_trailer(trailer: Trailer) -> bytes:
    """The text value of ``TRAILER_KEY``. ``info.file_bytes`` is left out: only a reader knows it."""
    info = asdict(trailer.info)
    del info["file_bytes"]
    index = trailer.index
    payload = msgpack.packb(
        {
            "info": info,
            "first_rows": index.first_rows,
            **{name: np.array(getattr(index, name), "<i8").tobytes() for name in _INDEX_ARRAYS},
            "shapes": [list(shape) for shape in index.shapes],
            "bloom": [[row, bloom.bit_count, bloom.bits] for row, bloom in trailer.bloom],
            "data_end": trailer.data_end,
        }
    )
    checked = _TRAILER_CHECKED.pack(FORMAT_VERSION, len(payload))
    crc = google_crc32c.value(checked + payload)
    return base64.b64encode(_TRAILER_HEADER.pack(TRAILER_MAGIC, FORMAT_VERSION, crc, len(payload)) + payload)


def decode_trailer(text: bytes, path: str, file_bytes: int) -> Trailer:
    """Check and read what ``encode_trailer`` wrote.

    Raises:
        StoreFormatException: a newer version wrote the file.
        CorruptHFileException: the trailer is damaged.
    """
    try:
        raw = base64.b64decode(text, validate=True)
        magic, version, crc, length = _TRAILER_HEADER.unpack_from(raw)
    except (binascii.Error, struct.error) as error:
        raise corrupt(path, "its trailer is damaged") from error
    payload = raw[_TRAILER_HEADER.size :]
    if magic != TRAILER_MAGIC or length != len(payload):
        raise corrupt(path, "its trailer is damaged")
    if google_crc32c.value(_TRAILER_CHECKED.pack(version, length) + payload) != crc:
        raise corrupt(path, "the checksum of its trailer does not match")
    if version > FORMAT_VERSION:
        raise StoreFormatException(
            f"StoreFile {path} has format version {version}; this program reads up to {FORMAT_VERSION}: "
            "open it with the version of Hyperbase that wrote it"
        )
    try:
        return _parse_payload(msgpack.unpackb(payload), file_bytes)
    except (KeyError, TypeError, ValueError) as error:
        raise corrupt(path, "its trailer cannot be read") from error


def _parse_payload(data: dict[str, Any], file_bytes: int) -> Trailer:
    known = {name: value for name, value in data["info"].items() if name in _INFO_FIELDS}
    info = StoreFileInfo(**known, file_bytes=file_bytes)
    arrays: dict[str, list[int]] = {name: np.frombuffer(data[name], "<i8").tolist() for name in _INDEX_ARRAYS}
    index = BlockIndex(
        first_rows=data["first_rows"],
        shapes=[tuple(shape) for shape in data["shapes"]],
        **arrays,
    )
    lengths = {len(index.first_rows), *(len(column) for column in arrays.values())}
    if lengths != {info.block_count}:
        raise ValueError("block index columns differ in length")
    bloom = [(row, BloomFilter(bits, count)) for row, count, bits in data["bloom"]]
    return Trailer(info, index, bloom, data["data_end"])


def corrupt(
    path: str, what: str, *, block: int | None = None, offset: int | None = None
) -> CorruptHFileException:
    """The error that names file, block and offset."""
    place = "" if block is None else f" at block {block}, offset {offset}"
    return CorruptHFileException(
        f"StoreFile {path} is damaged{place}: {what}. Restore the file from a copy or a replica."
    )
