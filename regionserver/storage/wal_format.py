"""Write-ahead log, the bytes: what a segment file, its records, its trailer and its seal look like.

Segment := Header Record* Trailer? zeros*          file name "<number, 16 digits>.wal"
Header  := MAGIC b"HBWAL001" | segment u64 | created_ms u64 | salt u32 | crc32c u32            32 bytes
Record  := length u32 | crc32c u32 | salt u32 | kind u8 | flags u8 | reserved u16
           | durable_offset u64 | region 16 bytes | sequence_id u64 | payload (length bytes)   48 + length
Trailer := a Record of kind 255, region and sequence_id zero, payload = record count u64       56 bytes
Seal    := MAGIC b"HBSEAL01" | segment u64 | length u64 | crc32c u32                           28 bytes
           file name "<number>.wal.sealed", beside the segment

Big-endian. A crc covers every byte of its structure after itself; in header and seal, where it comes last,
every byte before. ``salt`` is a random number above 0 of this segment, repeated in each record: bytes of
another segment or zeros are never taken for a record. ``durable_offset`` is how much of this segment was
known to be synced when the record was appended.

What the bytes prove
  * Let the record at X be bad. If anywhere behind X stands a valid record with durable_offset > X, or
    a trailer, then X had been synced: **damage**. Otherwise X was never reported durable: a **torn tail**,
    and the log ends before X, whatever stands behind it.
  * A trailer is written and synced when all before it is durable. The next segment exists by then
    but gets its first record only after. So a segment without trailer that is followed by one with any
    record is damaged, unless a seal ends it. A missing number between two segments is damage.
  * A header is synced before the first record is written. A bad header followed by zeros alone is a segment
    that a crash left unused; followed by anything else it is damage.
  * The seal is written by the recovery that found a torn tail, after it synced the file. ``length`` is where
    the log ends for good: a record before it must be valid, nothing behind it is ever read.

See docs/formats.md for a diagram, a worked example in hex, and what versions mean.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import NamedTuple

from google_crc32c import value as crc32c

from hyperbase.common.errors import DamagedWALException, StoreFormatException

MAGIC = b"HBWAL001"
MAGIC_FAMILY = b"HBWAL"  # with a good checksum: a segment, but of another version
SEAL_MAGIC = b"HBSEAL01"

HEADER = struct.Struct(">8sQQII")
RECORD_PREFIX = struct.Struct(">II")
RECORD_BODY = struct.Struct(">IBBHQ16sQ")
TRAILER_PAYLOAD = struct.Struct(">Q")
SEAL = struct.Struct(">8sQQI")
assert HEADER.size == 32
assert RECORD_PREFIX.size == 8
assert RECORD_BODY.size == 40
assert SEAL.size == 28

RECORD_HEADER_BYTES = RECORD_PREFIX.size + RECORD_BODY.size
TRAILER_BYTES = RECORD_HEADER_BYTES + TRAILER_PAYLOAD.size
SALT_AT = RECORD_PREFIX.size  # where the salt stands in a record
MAX_PAYLOAD_BYTES = 256 << 20

# Persisted: numbers are never reused. 1 to 254 belong to the engine.
EDIT = 1
MARKER = 2
TRAILER = 255

NO_REGION = bytes(16)
SEALED_SUFFIX = ".sealed"
_NAME = re.compile(r"(\d{16})(?:-(\d+))?\.wal")


class WalRecord(NamedTuple):
    """One record as it was appended, and where it stands."""

    kind: int
    region: bytes  # 16 bytes
    sequence_id: int
    payload: bytes
    path: str
    offset: int


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The first 32 bytes of a segment."""

    segment: int
    created_ms: int  # since the epoch
    salt: int

    def encode(self) -> bytes:
        """Return the header's bytes."""
        return _with_crc(HEADER.pack(MAGIC, self.segment, self.created_ms, self.salt, 0)[:-4])


@dataclass(frozen=True, slots=True)
class ClosedSegment:
    """A segment nothing is written to any more."""

    number: int
    path: str
    size_bytes: int
    record_count: int
    max_sequence_ids: dict[bytes, int]  # region -> highest sequence id in this segment


def segment_name(number: int) -> str:
    """Return the file name of a live segment."""
    return f"{number:016d}.wal"


def archived_name(number: int, archived_ms: int) -> str:
    """Return the file name of an archived segment; it says when it was archived (ms since the epoch)."""
    return f"{number:016d}-{archived_ms}.wal"


def parse_name(name: str) -> tuple[int, int | None] | None:
    """Return (number, archived ms or None) of a segment's file name; None for any other name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return int(match[1]), int(match[2]) if match[2] else None


def decode_header(data: bytes, path: str) -> SegmentHeader | None:
    """Return the header, or None when the bytes are none (short, zeros, torn, damaged).

    Raises:
        StoreFormatException: a sound header of another version.
    """
    if len(data) < HEADER.size:
        return None
    magic, segment, created_ms, salt, crc = HEADER.unpack_from(data)
    if crc32c(data[: HEADER.size - 4]) != crc:
        return None
    if magic != MAGIC:
        if magic.startswith(MAGIC_FAMILY):
            raise StoreFormatException(
                f"{path}: log version {magic[len(MAGIC_FAMILY) :]!r} is not known here; use a newer program"
            )
        return None
    return SegmentHeader(segment, created_ms, salt)


def encode_record(
    salt: int, kind: int, durable_offset: int, region: bytes, sequence_id: int, payload: bytes
) -> bytes:
    """Return one framed record. The writer's hot path does the same by hand."""
    body = RECORD_BODY.pack(salt, kind, 0, 0, durable_offset, region, sequence_id) + payload
    return RECORD_PREFIX.pack(len(payload), crc32c(body)) + body


def encode_trailer(salt: int, durable_offset: int, record_count: int) -> bytes:
    """Return the trailer of a segment that holds ``record_count`` records before it."""
    return encode_record(salt, TRAILER, durable_offset, NO_REGION, 0, TRAILER_PAYLOAD.pack(record_count))


def encode_seal(segment: int, length: int) -> bytes:
    """Return the contents of a seal: the segment ends at byte ``length``."""
    return _with_crc(SEAL.pack(SEAL_MAGIC, segment, length, 0)[:-4])


def decode_seal(data: bytes, path: str, segment: int) -> int:
    """Return the sealed length. ``DamagedWALException`` when the bytes are no seal of this segment."""
    if len(data) == SEAL.size:
        magic, number, length, crc = SEAL.unpack(data)
        if magic == SEAL_MAGIC and number == segment and crc32c(data[: SEAL.size - 4]) == crc:
            return int(length)
    raise DamagedWALException(f"{path}: the seal of log segment {segment} is damaged (offset 0)")


def _with_crc(head: bytes) -> bytes:
    crc: int = crc32c(head)
    return head + crc.to_bytes(4, "big")
