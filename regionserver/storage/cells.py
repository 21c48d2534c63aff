"""Cells of one row of one family as plain tuples, for the paths that look at cells one by one.

``StoreCell = (qualifier, -timestamp, -type, -sequence_id, value, ttl_ms)``: sorting the tuples sorts the
cells in HBase's order (qualifier ascending; timestamp, type and sequence id descending). ``ttl_ms`` is 0
for a cell without a time to live of its own.

On disk a cell's TTL is a tag: length u16 (type and payload) | type u8 = 8 | ttl ms i64, big-endian (the
layout of HBase's cell tags).
"""

from __future__ import annotations

import struct

from hyperbase.common.model import CellType

StoreCell = tuple[bytes, int, int, int, bytes, int]

PUT = int(CellType.PUT)
DELETE = int(CellType.DELETE)
DELETE_FAMILY_VERSION = int(CellType.DELETE_FAMILY_VERSION)
DELETE_COLUMN = int(CellType.DELETE_COLUMN)
DELETE_FAMILY = int(CellType.DELETE_FAMILY)

TTL_TAG_TYPE = 8  # Persisted: numbers are never reused.
_TTL_TAG = struct.Struct(">HBq")
assert _TTL_TAG.size == 11


def encode_ttl(ttl_ms: int) -> bytes:
    """The tag bytes of a cell that lives ``ttl_ms`` milliseconds."""
    return _TTL_TAG.pack(9, TTL_TAG_TYPE, ttl_ms)


def decode_ttl(tags: bytes | None) -> int:
    """The TTL in ms that the tag bytes carry, 0 when they carry none. Unknown tags are passed over."""
    offset = 0
    while tags and offset + 3 <= len(tags):
        length = int.from_bytes(tags[offset : offset + 2], "big")
        if tags[offset + 2] == TTL_TAG_TYPE and length == 9:
            return int(_TTL_TAG.unpack_from(tags, offset)[2])
        offset += 2 + length
    return 0
